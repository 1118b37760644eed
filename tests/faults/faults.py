"""What scenarios do to the servers and to the parts they need. Every fault is counted in the scenario."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Any

from tests.faults.postgres import Postgres
from tests.faults.sandbox import FaultSandbox
from tests.faults.servers import Replica, Servers
from tests.faults.tally import Scenario
from tests.support.waiting import wait_until


class Faults:
    """`abandoned_sessions`: those at the warehouse that nobody is left to close."""

    def __init__(self, servers: Servers, sandbox: FaultSandbox, postgres: Postgres) -> None:
        self.scenario = Scenario()
        self.abandoned_sessions = 0
        self._servers = servers
        self._sandbox = sandbox
        self._postgres = postgres

    def note(self, name: str, detail: object = "") -> None:
        """Counts a fault."""
        self.scenario.faults[name] += 1
        print(f"{datetime.now(UTC):%H:%M:%S.%f} {name} {detail}")  # pytest shows it when the scenario fails

    def kill(self, replica: Replica) -> None:
        """kill -9. Its sessions at the warehouse stay behind: nobody is left who could close them."""
        self.note("kill -9 of a server", replica.name)
        replica.kill()
        self.abandon_sessions()

    def abandon_sessions(self) -> None:
        """Whatever session is open now belongs to a server that was killed."""
        self.abandoned_sessions = self._sandbox.warehouse_status()["open_sessions"]

    def terminate(self, replica: Replica) -> None:
        """SIGTERM; does not wait for the end."""
        self.note("SIGTERM of a server", replica.name)
        replica.up = False
        replica.part.send(signal.SIGTERM)

    def freeze(self, replica: Replica) -> None:
        """SIGSTOP; `replica.thaw()` wakes it."""
        self.note("SIGSTOP and SIGCONT of a server", replica.name)
        replica.freeze()

    def catalog(self, **switches: Any) -> None:
        """Sets faults of the catalog; see docs/sandbox.md."""
        for name, value in switches.items():
            self.note(f"catalog: {name}", value)
        self._sandbox.set_catalog_faults(switches)

    def warehouse(self, **switches: Any) -> None:
        """Sets faults of the warehouse; see the docstring of blade_sandbox.warehouse."""
        for name, value in switches.items():
            self.note(f"warehouse: {name}", value)
        self._sandbox.set_warehouse_faults(switches)

    def clear(self) -> None:
        """Takes back what was set at the catalog and the warehouse."""
        self._sandbox.clear_faults()

    def kill_warehouse(self) -> None:
        self.note("kill -9 of the warehouse")
        self._sandbox.warehouse.kill()
        self.abandoned_sessions = 0

    def kill_catalog(self) -> None:
        self.note("kill -9 of the catalog")
        self._sandbox.catalog.kill()

    def kill_postgres(self) -> None:
        """kill -9 of PostgreSQL; returns when it is back."""
        self.note("kill -9 of PostgreSQL")
        self._postgres.kill()

    def break_connections(self) -> None:
        """Breaks off every connection of the servers to PostgreSQL."""
        self.note("connections to PostgreSQL broken off")
        self._postgres.break_off("blade%")

    def drop_listeners(self) -> None:
        """Breaks off the connection on which each server hears NOTIFY."""
        self.note("NOTIFY connections dropped")
        servers = len(self._servers.targets())
        dropped = 0

        def all_dropped() -> bool:
            nonlocal dropped
            dropped += self._postgres.break_off("blade-listener")
            return dropped >= servers

        wait_until(all_dropped)
