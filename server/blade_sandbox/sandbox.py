"""The whole sandbox: a warehouse, a catalog and a BLADE server, each a process of its own.

Shared by `blade sandbox`, `blade demo` and the end-to-end tests, so that all of them mean the same by
"everything together". Whoever starts a sandbox may die in any way: its processes notice and stop (see leash.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from blade_sandbox.server_process import ServerProcess

TOKEN = "sandbox-token"  # noqa: S105 - of servers on loopback that hold sample data
WAREHOUSE_ID = "test-warehouse"  # as in the customer's configuration data
HTTP_PATH = f"/sql/1.0/warehouses/{WAREHOUSE_ID}"

_STEERING = ("BLADE_", "DATABRICKS_", "PG")
_URL = re.compile(r"(?P<url>https?://[\w.\[\]:-]+:(?P<port>\d+))")
_SERVING = re.compile(
    r'^\{(?=.*"port": (?P<port>\d+))(?=.*"http_port": (?P<http_port>[1-9]\d*))?'
    r'(?=.*"admin_port": (?P<admin_port>[1-9]\d*))?.*\}$',
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where the servers listen on 127.0.0.1; 0 takes a free port."""

    warehouse: int = 0
    catalog: int = 0
    grpc: int = 0
    http: int = 0


class Sandbox:
    """A warehouse with `tables`, a catalog and a BLADE server that knows both, where nobody signs in (BLADE_AUTH=off).

    The servers can be stopped, killed and started again one by one; each comes back on its port.

    Args:
        folder: state and logs of everything; the caller removes it.
        tables: full table name -> file, as `blade sandbox warehouse --table` takes it.
        settings: further environment of the server, for example {"BLADE_LEASE_S": "3"}. The caller's own BLADE_*,
            DATABRICKS_* and DATABASE_URL are not passed on: a sandbox must never write to a real catalog.
        catalog_options: further options of `blade sandbox catalog`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tables: Mapping[str, Path],
        ports: Ports | None = None,
        settings: Mapping[str, str] | None = None,
        catalog_options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.tables = dict(tables)
        self._ports = ports or Ports()
        self._settings = dict(settings or {})
        self._catalog_options = list(catalog_options)
        self.warehouse = ServerProcess("warehouse", self._log("warehouse"), _URL)
        self.catalog = ServerProcess("catalog", self._log("catalog"), _URL)
        self.server = ServerProcess("server", self._log("server"), _SERVING)
        self.guarded_server = ServerProcess("guarded server", self._log("guarded-server"), _SERVING)

    @property
    def target(self) -> str:
        """Address of the BLADE server for gRPC, `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.server.found['port']}"

    @property
    def http_url(self) -> str:
        """Base URL of the BLADE server's HTTP port; empty if it has none."""
        port = self.server.found.get("http_port")
        return f"http://127.0.0.1:{port}" if port else ""

    @property
    def warehouse_url(self) -> str:
        """Base URL of the warehouse."""
        return str(self.warehouse.found["url"])

    @property
    def catalog_url(self) -> str:
        """Base URL of the catalog."""
        return str(self.catalog.found["url"])

    def start(self) -> None:
        """Returns when all three serve. Raises ServerFailedError if one does not; then none is left running."""
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.launch_warehouse()
            self.launch_catalog()
            self.warehouse.wait_ready()
            self.catalog.wait_ready()
            self.launch_server()
            self.server.wait_ready()
            undo.pop_all()

    def stop(self) -> None:
        """Stops the servers, then what they need. Harmless if some are stopped already."""
        self.guarded_server.stop()
        self.server.stop()
        self.warehouse.let_go()
        self.catalog.let_go()
        self.warehouse.stop()
        self.catalog.stop()

    def check(self) -> None:
        """Raises ServerFailedError if one of them has ended by itself."""
        for server in (self.warehouse, self.catalog, self.server, self.guarded_server):
            server.check()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def launch_warehouse(self) -> None:
        """Starts the warehouse; `warehouse.wait_ready()` tells when it serves."""
        tables = [f"--table={name}={file}" for name, file in self.tables.items()]
        port = self.warehouse.found.get("port", self._ports.warehouse)
        self.warehouse.launch(
            ["sandbox", "warehouse", f"--port={port}", f"--warehouse-id={WAREHOUSE_ID}", f"--token={TOKEN}", *tables],
            self._environment({}),
        )

    def launch_catalog(self) -> None:
        """Starts the catalog; `catalog.wait_ready()` tells when it serves."""
        port = self.catalog.found.get("port", self._ports.catalog)
        directory = f"--directory={self.folder / 'catalog'}"
        self.catalog.launch(
            ["sandbox", "catalog", f"--port={port}", f"--token={TOKEN}", directory, *self._catalog_options],
            self._environment({}),
        )

    def launch_server(self) -> None:
        """Starts the server, on the ports it had before; `server.wait_ready()` tells when it serves."""
        found = self.server.found
        own = {
            "BLADE_AUTH": "off",
            "BLADE_PORT": found.get("port") or str(self._ports.grpc),
            "BLADE_HTTP_PORT": found.get("http_port") or str(self._ports.http),
        }
        if admin_port := found.get("admin_port"):
            own["BLADE_ADMIN_PORT"] = admin_port
        self.server.launch(["serve", "--json"], self._environment({**self._of_a_server(), **own, **self._settings}))

    def start_guarded_server(self, admin_token_file: Path) -> str:
        """Starts a second server over the same state, on free ports, where callers sign in. Returns its address.

        It runs no jobs. `admin_token_file` holds the token of its administrator. Raises ServerFailedError.
        """
        own = {
            "BLADE_AUTH": "on",
            "BLADE_ADMIN_TOKEN_FILE": str(admin_token_file),
            "BLADE_PORT": "0",
            "BLADE_MAX_RUNNING_JOBS": "0",
        }
        environment = self._environment({**self._of_a_server(), **self._settings, **own})
        self.guarded_server.launch(["serve", "--json"], environment)
        self.guarded_server.wait_ready()
        return f"127.0.0.1:{self.guarded_server.found['port']}"

    def _of_a_server(self) -> dict[str, str]:
        return {
            "DATABRICKS_SERVER_HOSTNAME": self.warehouse_url,
            "DATABRICKS_HTTP_PATH": HTTP_PATH,
            "DATABRICKS_TOKEN": TOKEN,
            "BLADE_CATALOG_URL": self.catalog_url,
            "BLADE_CATALOG_TOKEN": TOKEN,
            "BLADE_DATA_DIR": str(self.folder / "postgres"),
        }

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        passed_on = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_STEERING) and name != "DATABASE_URL"
        }
        return {**passed_on, **own}

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"
