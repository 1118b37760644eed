"""The warehouse and the catalog of the suite, as processes that can be asked, killed and started again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from tests.support.ports import free_port

from blade_sandbox.check import catalog_items, warehouse_rows
from blade_sandbox.sandbox import HTTP_PATH, TOKEN, Ports, Sandbox

_APPEND = ("--append", "--idempotency-keys=0")
"""Every upload stays as another copy: what is sent twice is seen."""
_BEARER = {"Authorization": f"Bearer {TOKEN}"}


class FaultSandbox:
    """Both, serving."""

    def __init__(self, folder: Path, files: Mapping[str, Path]) -> None:
        ports = Ports(warehouse=free_port(), catalog=free_port())
        self.world = Sandbox(folder, tables=files, ports=ports, catalog_options=_APPEND)
        self.warehouse, self.catalog = self.world.warehouse, self.world.catalog
        self.world.launch_warehouse()
        self.world.launch_catalog()
        self.warehouse.wait_ready()
        self.catalog.wait_ready()

    def start_missing(self) -> None:
        """Starts what was killed."""
        if self.warehouse._process is None:
            self.world.launch_warehouse()
            self.warehouse.wait_ready()
        if self.catalog._process is None:
            self.world.launch_catalog()
            self.catalog.wait_ready()

    def environment(self) -> dict[str, str]:
        """What a server must be told to work with them."""
        return {
            "DATABRICKS_SERVER_HOSTNAME": self.world.warehouse_url,
            "DATABRICKS_HTTP_PATH": HTTP_PATH,
            "DATABRICKS_TOKEN": TOKEN,
            "BLADE_CATALOG_URL": self.world.catalog_url,
            "BLADE_CATALOG_TOKEN": TOKEN,
        }

    def run_sql(self, statement: str) -> None:
        """Runs a statement at the warehouse; what it changes is gone when the warehouse is killed."""
        for _ in warehouse_rows(self.world.warehouse_url, HTTP_PATH, TOKEN, statement):
            pass

    def held(self, data_source: str) -> tuple[int, int]:
        """Item ids and copies in the catalog."""
        answer = _ask("GET", f"{self.world.catalog_url}/v1/items:count", params={"dataSource": data_source})
        return answer["items"], answer["copies"]

    def items(self, data_source: str) -> list[dict[str, Any]]:
        """What the catalog holds."""
        return list(catalog_items(self.world.catalog_url, TOKEN, data_source))

    def catalog_status(self) -> dict[str, Any]:
        return dict(_ask("GET", f"{self.world.catalog_url}/sandbox/status"))

    def warehouse_status(self) -> dict[str, Any]:
        return dict(_ask("GET", f"{self.world.warehouse_url}/sandbox/status"))

    def set_catalog_faults(self, switches: Mapping[str, Any]) -> None:
        _ask("POST", f"{self.world.catalog_url}/sandbox/faults", json=switches)

    def set_warehouse_faults(self, switches: Mapping[str, Any]) -> None:
        _ask("POST", f"{self.world.warehouse_url}/sandbox/faults", json=switches)

    def clear_faults(self) -> None:
        for url in (self.world.catalog_url, self.world.warehouse_url):
            _ask("DELETE", f"{url}/sandbox/faults")


def _ask(method: str, url: str, **options: Any) -> Any:
    """Asks a part of the sandbox, as soon as it is there: one of its faults is that it is away for a while."""
    deadline_s = time.monotonic() + 15
    while True:
        try:
            answer = requests.request(method, url, headers=_BEARER, timeout=10, **options)
            answer.raise_for_status()
            return answer.json()
        except requests.ConnectionError:
            assert time.monotonic() < deadline_s, f"{url} is away for too long"
            time.sleep(0.05)
