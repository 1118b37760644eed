"""A warehouse emulator for the whole package, and the unmodified driver to speak to it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from databricks import sql
from tests.support.warehouses import lent

from blade_sandbox.warehouse import Warehouse

ROWS = 20_000


@pytest.fixture(scope="session")
def parquet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 rows of id, name, amount: small enough to be quick, large enough for several CloudFetch files."""
    path = tmp_path_factory.mktemp("tables") / "item.parquet"
    names = [f"name-{row}-{'x' * 500}" for row in range(ROWS)]
    pq.write_table(pa.table({"id": range(ROWS), "name": names, "amount": [row / 4 for row in range(ROWS)]}), path)
    return path


@pytest.fixture(scope="session")
def shared_warehouse(parquet_file: Path) -> Iterator[Warehouse]:
    with Warehouse(tables={"main.blade.item": parquet_file}) as server:
        yield server


@pytest.fixture
def warehouse(shared_warehouse: Warehouse) -> Iterator[Warehouse]:
    """The warehouse of the package, as if it were the test's own."""
    with lent(shared_warehouse) as warehouse:
        yield warehouse


Connect = Callable[..., Any]


def open_connection(server: Warehouse, **options: Any) -> Any:
    """A connection of the driver, with retries short enough for tests."""
    settings: dict[str, Any] = {
        "server_hostname": server.url,
        "http_path": server.http_path,
        "_connection_uri": server.url + server.http_path,
        "access_token": server.token,
        "enable_telemetry": False,
        "_retry_stop_after_attempts_count": 2,
        "_retry_stop_after_attempts_duration": 10,
        "_retry_delay_min": 0.1,
        "_retry_delay_max": 5,
    }
    return sql.connect(**{**settings, **options})


@pytest.fixture
def connect(warehouse: Warehouse) -> Iterator[Connect]:
    """Opens connections, and closes them after the test."""
    opened = []

    def open_one(**options: Any) -> Any:
        connection = open_connection(warehouse, **options)
        opened.append(connection)
        return connection

    yield open_one
    warehouse.faults.reset()
    for connection in opened:
        connection.close()


@pytest.fixture
def cursor(connect: Connect) -> Any:
    return connect().cursor()


@pytest.fixture
def rows(cursor: Any) -> Callable[..., list[tuple[Any, ...]]]:
    """Runs a statement and gives its rows as plain tuples."""

    def run(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        cursor.execute(statement, parameters)
        return [tuple(row) for row in cursor.fetchall()]

    return run


def control(server: Warehouse, path: str, method: str = "GET", body: Any = None, token: str | None = None) -> Any:
    """Call a control path and give its JSON."""
    request = urllib.request.Request(
        server.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token or server.token}"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())
