"""What every peer sends: the catalog's form for a batch of rows, as a user of `requests` writes it."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import requests
from databricks import sql

METADATA = orjson.dumps({"job": "a-job", "source": "bench", "warehouse": "bench"})


def connect(warehouse: str, http_path: str, token: str) -> Any:
    return sql.connect(
        warehouse,
        http_path,
        access_token=token,
        _connection_uri=warehouse + http_path,
        enable_telemetry=False,
        session_configuration={"TIMEZONE": "UTC"},
    )


def form(rows: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    fields: list[tuple[str, Any]] = []
    for row in rows:
        modified = row["last_modified"].isoformat().replace("+00:00", "Z")
        data = {**row, "last_modified": modified, "cost": str(row["cost"])}
        file = {
            "itemId": row["item_id"],
            "dataType": "bench",
            "data": data,
            "classification": row["classification"],
            "lastModified": modified,
            "metadata": {"job": "a-job", "source": "bench", "warehouse": "bench"},
        }
        fields += [
            ("file", ("blade_item.json", orjson.dumps(file), "application/json")),
            ("dataSource", (None, b"BLADE:bench")),
            ("classification", (None, row["classification"])),
            ("metadata", (None, METADATA)),
            ("timestamp", (None, modified)),
        ]
    return fields


def post(session: requests.Session, sink: str, rows: list[dict[str, Any]], *, single: bool = False) -> None:
    answer = session.post(f"{sink}/v1/items" + ("" if single else ":batch"), files=form(rows), timeout=60)
    answer.raise_for_status()
    results = [answer.json()] if single else answer.json()["results"]
    if len(results) != len(rows) or any(result.get("status", 201) not in {200, 201} for result in results):
        sys.exit("the sink did not take all items")
