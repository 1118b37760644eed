"""The world of the fault suite: servers, what they need, their jobs, the faults and the verdict, in one hand."""

from __future__ import annotations

from pathlib import Path

from tests.faults.checks import Checks
from tests.faults.faults import Faults
from tests.faults.jobs import Jobs
from tests.faults.postgres import Postgres
from tests.faults.sandbox import FaultSandbox
from tests.faults.servers import Servers
from tests.faults.tables import read_rows, write_tables
from tests.faults.tally import Scenario


class FaultWorld:
    """Everything a scenario works with."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.postgres = postgres
        files = write_tables(folder)
        self.sandbox = FaultSandbox(folder, files)
        self.servers = Servers(folder, lambda: {"DATABASE_URL": postgres.url, **self.sandbox.environment()})
        self.jobs = Jobs(self.servers, postgres, {name: read_rows(file) for name, file in files.items()})
        self.faults = Faults(self.servers, self.sandbox, postgres)
        self.checks = Checks(self.jobs, self.sandbox, self.faults)

    @property
    def scenario(self) -> Scenario:
        return self.faults.scenario

    def begin(self, scenario: Scenario) -> None:
        """What is injected and found from here on is this scenario's."""
        self.faults.scenario = scenario

    def tidy(self) -> None:
        """After a scenario, however it ended: no fault, no open job, no session."""
        self.sandbox.start_missing()
        self.sandbox.clear_faults()
        for replica in self.servers.replicas.values():
            if replica.frozen:
                replica.thaw()
        self.jobs.forget()
        self.sandbox.set_warehouse_faults({"expire_sessions": True})
        self.faults.abandoned_sessions = 0

    def close(self) -> None:
        self.servers.close()
        self.sandbox.world.stop()
        self.postgres.database.close()
