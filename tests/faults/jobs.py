"""The jobs of the suite: started, watched from their start to their end, and looked up where they are stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.faults.postgres import Postgres
from tests.faults.servers import Replica, Servers
from tests.faults.tables import STEPS, Row
from tests.faults.watching import Watcher
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import ItemError, Job
from blade.v1.source_pb2 import Source
from blade_client.errors import Precondition
from blade_server import model
from blade_server.errors import StorageUnavailable
from blade_server.storage.jobs.show import JobStore


@dataclass(kw_only=True)
class Run:
    """One job of a scenario, and who watches it. `numbers`: it takes only these rows of the table."""

    job_id: str
    table: str
    data_type: str
    watcher: Watcher
    numbers: range | None = None
    seen: int = 0

    @property
    def data_source(self) -> str:
        return f"BLADE:{self.data_type}"


class Jobs:
    """`rows`: what the tables hold."""

    def __init__(self, servers: Servers, postgres: Postgres, rows: Mapping[str, Sequence[Row]]) -> None:
        self.runs: list[Run] = []
        self.store = JobStore(postgres.database)
        self._servers = servers
        self._postgres = postgres
        self._rows = rows
        self._sources = 0

    def add_source(self, table: str = STEPS, **config: Any) -> str:
        """A source of its own over the table, so that nothing else is in its part of the catalog. Returns its name."""
        self._sources += 1
        name = f"source-{self._sources}"
        catalog, schema, short = table.split(".")
        source = Source(name=name, data_type=name, enabled=True)
        source.config.catalog, source.config.schema, source.config.table = catalog, schema, short
        for setting, value in config.items():
            setattr(source.config, setting, value)
        with self._servers.client() as client:
            client.add_source(source)
        return name

    def start(self, table: str = STEPS, *, source: str = "", numbers: range | None = None, **job: Any) -> Run:
        """Starts a job over the table, or these rows of it, and watches it from here on."""
        source = source or self.add_source(table)
        if numbers is not None:
            job["sql"] = f"SELECT * FROM {table} WHERE number BETWEEN {numbers[0]} AND {numbers[-1]}"
        with self._servers.client() as client:
            started = client.start_query_job(source=source, **{"batch_size": 100, **job})
        return self.follow(started.job_id, table, source, numbers)

    def follow(self, job_id: str, table: str, data_type: str, numbers: range | None = None) -> Run:
        """Watches a job that is there already."""
        watcher = Watcher(job_id, self._servers.targets)
        run = Run(job_id=job_id, table=table, data_type=data_type, watcher=watcher, numbers=numbers)
        self.runs.append(run)
        return run

    def get(self, run: Run) -> model.Job:
        """The job as last committed, as soon as PostgreSQL answers."""
        deadline_s = time.monotonic() + 20
        while True:
            try:
                return self.store.get(run.job_id)
            except StorageUnavailable:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)

    def shown(self, run: Run) -> tuple[Job, list[ItemError]]:
        """The job and its item errors, as a server tells them."""
        with self._servers.client() as client:
            return client.get_job(run.job_id), list(client.item_errors(run.job_id, page_size=1000))

    def rows(self, run: Run) -> list[Row]:
        """What the warehouse holds of the job."""
        rows = self._rows[run.table]
        return [row for row in rows if run.numbers is None or row["number"] in run.numbers]

    def until(self, run: Run, test: Callable[[model.Job], object], timeout_s: float = 30.0) -> model.Job:
        """The job as soon as `test` holds; fails at once if it ends first."""
        latest = [self.get(run)]

        def holds() -> bool:
            latest[0] = self.get(run)
            assert test(latest[0]) or not latest[0].status.final, latest[0]
            return bool(test(latest[0]))

        wait_until(holds, timeout_s, lambda: f"the job stands at {latest[0]}")
        return latest[0]

    def until_moving(self, run: Run, share: float = 0.0) -> model.Job:
        """The job as soon as more than this share of its items is recorded."""
        return self.until(run, lambda job: job.processed_items > share * len(self._rows[run.table]))

    def until_ended(self, run: Run, timeout_s: float = 60.0) -> model.Job:
        """The job once it is final."""
        return self.until(run, lambda job: job.status.final, timeout_s)

    def set_rate(self, run: Run, items_per_second: float = 1_000_000.0) -> None:
        """Changes the pace of a job, by default to none, unless it has ended meanwhile."""
        with suppress(Precondition), self._servers.client() as client:
            client.update_limits(run.job_id, items_per_second=items_per_second)

    def owner(self, run: Run) -> Replica:
        """The server that runs the job; waits for one."""
        found: list[Replica] = []

        def has_owner() -> bool:
            found[:] = [
                replica
                for ((owner,),) in [self._postgres.ask("SELECT owner FROM job WHERE job_id = %s", run.job_id)]
                for replica in self._servers.replicas.values()
                if owner and replica.launched and owner.split(":")[1] == str(replica.part.pid)
            ]
            return bool(found)

        self.until(run, lambda _: has_owner(), 20)
        return found[0]

    def most_deaths(self) -> int:
        """How often in a row the servers of one open job died without any progress of it, at most."""
        self._servers.supervise()
        query = "SELECT max(deaths) FROM job WHERE status IN ('PENDING', 'RUNNING')"
        return int(self._postgres.ask(query)[0][0] or 0)

    def leased_by(self, replica: Replica) -> int:
        """How many jobs another server could not take from this one now."""
        query = (
            "SELECT count(*) FROM job WHERE owner LIKE %s"
            " AND (status = 'PAUSED' OR status = 'RUNNING' AND lease_until >= now())"
        )
        return int(self._postgres.ask(query, f"%%:{replica.part.pid}:%%")[0][0])

    def owned_by(self, replica: Replica) -> int:
        """How many jobs this server runs, as the leases have it."""
        query = "SELECT count(*) FROM job WHERE owner LIKE %s AND status IN ('RUNNING', 'PAUSED')"
        return int(self._postgres.ask(query, f"%%:{replica.part.pid}:%%")[0][0])

    def claimed_by(self, run: Run, epoch: int) -> bool:
        """Whether the job was claimed so many times."""
        return bool(self._postgres.ask("SELECT 1 FROM job WHERE job_id = %s AND epoch >= %s", run.job_id, epoch))

    def forget(self) -> None:
        """Ends all jobs, however they stand, and nobody watches them any more."""
        for run in self.runs:
            run.watcher.stop()
        self.runs.clear()
        still_open = "SELECT job_id FROM job WHERE status IN ('PENDING', 'RUNNING', 'PAUSED')"
        self._postgres.ask(
            "UPDATE job SET status = 'CANCELLED', owner = NULL, lease_until = NULL, pending_action = NULL,"
            f" end_time = now(), revision = revision + 1 WHERE job_id IN ({still_open})"
        )
