"""The world of the fault suite: BLADE servers, a warehouse and a catalog as processes, and their faults."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from tests.faults.invariant import Audit
from tests.faults.postgres import Postgres
from tests.faults.tables import STEPS, Row, read_rows, write_tables
from tests.faults.tally import Losses, Scenario
from tests.faults.watching import Watcher

from blade.v1.job_pb2 import ItemError, Job
from blade.v1.source_pb2 import Source
from blade_client import BladeClient
from blade_client.errors import Precondition
from blade_sandbox.check import catalog_items, warehouse_rows
from blade_sandbox.sandbox import HTTP_PATH, TOKEN, Ports, Sandbox
from blade_sandbox.server_process import ServerFailedError, ServerProcess
from blade_server import model
from blade_server.errors import StorageUnavailable
from blade_server.storage.jobs.show import JobStore

LEASE_S = 2.0
SETTINGS = {
    "BLADE_LEASE_S": str(LEASE_S),
    "BLADE_LEASE_BEAT_S": "0.4",
    "BLADE_RETRY_BASE_S": "0.05",
    "BLADE_CATALOG_TIMEOUT_S": "2",
    "BLADE_CATALOG_PATIENCE_S": "5",
    "BLADE_UPLOAD_WORKERS": "4",
    "BLADE_DRAIN_TIMEOUT_S": "5",
    "BLADE_DATABASE_POOL_SIZE": "12",
}
_SERVING = re.compile(r'^\{(?=.*"port": (?P<port>\d+))(?=.*"http_port": (?P<http_port>[1-9]\d*))?.*\}$', re.MULTILINE)
_APPEND = ("--append", "--idempotency-keys=0")
"""Every upload stays as another copy: what is sent twice is seen."""


class Replica:
    """One BLADE server. It can be started again, on another port, after it was killed or stopped."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.part = ServerProcess(f"server {name}", log, _SERVING)
        self.settings: Mapping[str, str] | None = None
        self.up = False
        self.frozen = False

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.part.found['port']}"

    def launch(self, environment: Mapping[str, str], settings: Mapping[str, str]) -> None:
        """Starts it; `wait_ready` tells when it serves."""
        # Not the ports it had: while it was away, somebody else may have got them.
        ports = {"BLADE_PORT": "0", "BLADE_HTTP_PORT": "0"}
        self.settings = dict(settings)
        self.part.launch(["serve", "--json"], {**environment, **ports, **settings})

    @property
    def launched(self) -> bool:
        """Whether its process was started and neither stopped nor killed by us."""
        return self.part._process is not None

    @property
    def ended(self) -> bool:
        """Whether its process has ended by itself."""
        return self.part._process is not None and self.part._process.poll() is not None

    def wait_ready(self) -> None:
        """Returns once it serves."""
        self.part.wait_ready()
        self.up = True

    def output(self) -> str:
        return self.part.log.read_text(errors="replace")


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


class World:
    """Everything a scenario works with. Each fault it injects is counted in `scenario`."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self._folder = folder
        self.postgres = postgres
        self.store = JobStore(postgres.database)
        self.files = write_tables(folder)
        self._rows = {name: read_rows(file) for name, file in self.files.items()}
        ports = Ports(warehouse=_free_port(), catalog=_free_port())
        self._sandbox = Sandbox(folder, tables=self.files, ports=ports, catalog_options=_APPEND)
        self.warehouse, self.catalog = self._sandbox.warehouse, self._sandbox.catalog
        self.replicas: dict[str, Replica] = {}
        self.runs: list[Run] = []
        self.scenario = Scenario()
        self.abandoned_sessions = 0
        self._sources = 0
        self._sandbox.launch_warehouse()
        self._sandbox.launch_catalog()
        self.warehouse.wait_ready()
        self.catalog.wait_ready()

    def close(self) -> None:
        for replica in self.replicas.values():
            self._stop(replica)
        self._sandbox.stop()
        self.postgres.database.close()

    # ------------------------------------------------------------------------------------------------ servers

    def serve(self, *names: str, **settings: object) -> list[Replica]:
        """Exactly these servers, running with the suite's settings and those given on top."""
        wanted = {_variable(name): str(value) for name, value in settings.items()}
        for name in names:
            self.replicas.setdefault(name, Replica(name, self._folder / f"server-{name}.log"))
        for replica in self.replicas.values():
            if replica.name not in names or replica.settings != wanted:
                self._stop(replica)
        chosen = [self.replicas[name] for name in names]
        starting = [replica for replica in chosen if not replica.up]
        for replica in starting:
            if not replica.launched:
                replica.launch(self._environment(), wanted)
        for replica in starting:
            replica.wait_ready()
        return chosen

    def _environment(self) -> dict[str, str]:
        """The environment of a server, without what the caller's own would steer."""
        steering = ("BLADE_", "DATABRICKS_", "PG", "DATABASE_URL")
        passed_on = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
        return {
            **passed_on,
            "DATABASE_URL": self.postgres.url,
            "DATABRICKS_SERVER_HOSTNAME": self._sandbox.warehouse_url,
            "DATABRICKS_HTTP_PATH": HTTP_PATH,
            "DATABRICKS_TOKEN": TOKEN,
            "BLADE_CATALOG_URL": self._sandbox.catalog_url,
            "BLADE_CATALOG_TOKEN": TOKEN,
            **SETTINGS,
        }

    def _stop(self, replica: Replica) -> None:
        if replica.frozen:
            self.thaw(replica)
        if not replica.up:
            replica.part.kill()  # not serving yet, so that it cannot stop gracefully
            return
        replica.up = False
        code = replica.part.stop()
        assert code in (0, None), f"server {replica.name} ended with {code}:\n{replica.output()[-3000:]}"

    def _fault(self, name: str, detail: object = "") -> None:
        self.scenario.faults[name] += 1
        print(f"{datetime.now(UTC):%H:%M:%S.%f} {name} {detail}")  # pytest shows it when the scenario fails

    def kill(self, replica: Replica) -> None:
        """kill -9. Its sessions at the warehouse stay behind: nobody is left who could close them."""
        self._fault("kill -9 of a server", replica.name)
        replica.up = replica.frozen = False
        replica.part.kill()
        self.abandoned_sessions = self.warehouse_status()["open_sessions"]

    def terminate(self, replica: Replica) -> None:
        """SIGTERM; does not wait for the end."""
        self._fault("SIGTERM of a server", replica.name)
        replica.up = False
        replica.part.send(signal.SIGTERM)

    def ended(self, replica: Replica, timeout_s: float = 15.0) -> None:
        """Waits for the end of a server that was told to stop."""
        process = replica.part._process
        assert process is not None
        assert process.wait(timeout_s) == 0, replica.output()[-3000:]
        replica.part.kill()

    def restart(self, replica: Replica) -> None:
        """Starts it again; does not wait until it serves."""
        assert replica.settings is not None
        replica.launch(self._environment(), replica.settings)

    def supervise(self) -> None:
        """What a service manager does: starts again what has ended, and knows what serves. Does not wait."""
        for replica in self.replicas.values():
            if not replica.launched or replica.up:
                continue
            if replica.ended:  # PostgreSQL was away when it started, for example
                replica.part.kill()
                self.restart(replica)
            with suppress(ServerFailedError):
                replica.part.wait_ready(timeout_s=0)
                replica.up = True

    def ready(self, replica: Replica) -> None:
        """Returns once this server serves, whatever was done to it before."""
        if replica.frozen:
            self.thaw(replica)
        if not replica.launched:
            self.restart(replica)

        def is_up() -> bool:
            self.supervise()
            return replica.up

        self.wait(is_up, 60, replica.output)

    def freeze(self, replica: Replica) -> None:
        """SIGSTOP."""
        self._fault("SIGSTOP and SIGCONT of a server", replica.name)
        replica.frozen = True
        replica.part.send(signal.SIGSTOP)

    def thaw(self, replica: Replica) -> None:
        """SIGCONT."""
        replica.frozen = False
        replica.part.send(signal.SIGCONT)

    def _some_target(self) -> bool:
        self.supervise()
        return bool(self.targets())

    def targets(self) -> list[str]:
        """Addresses of the servers that should answer now."""
        return [replica.target for replica in self.replicas.values() if replica.up and not replica.frozen]

    @contextmanager
    def client(self, replica: Replica | None = None) -> Iterator[BladeClient]:
        """A client of this server, or of one that should answer; waits for one if all are being started."""
        if replica is None and not self.targets():
            self.wait(self._some_target, 60)
        with BladeClient(replica.target if replica else self.targets()[0], actor="faults") as client:
            yield client

    def owner(self, run: Run) -> Replica:
        """The server that runs the job; waits for one."""
        found: list[Replica] = []

        def has_owner() -> bool:
            found[:] = [
                replica
                for ((owner,),) in [self.postgres.ask("SELECT owner FROM job WHERE job_id = %s", run.job_id)]
                for replica in self.replicas.values()
                if owner and replica.launched and owner.split(":")[1] == str(replica.part.pid)
            ]
            return bool(found)

        self.until(run, lambda _: has_owner(), 20)
        return found[0]

    # ------------------------------------------------------------------------------------------------- faults

    def catalog_faults(self, **switches: Any) -> None:
        """Sets faults of the catalog; see docs/sandbox.md."""
        for name, value in switches.items():
            self._fault(f"catalog: {name}", value)
        self._post(f"{self._sandbox.catalog_url}/sandbox/faults", switches)

    def warehouse_faults(self, **switches: Any) -> None:
        """Sets faults of the warehouse; see the docstring of blade_sandbox.warehouse."""
        for name, value in switches.items():
            self._fault(f"warehouse: {name}", value)
        self._post(f"{self._sandbox.warehouse_url}/sandbox/faults", switches)

    @property
    def catalog_url(self) -> str:
        """Base URL of the catalog."""
        return self._sandbox.catalog_url

    def warehouse_sql(self, statement: str) -> None:
        """Runs a statement at the warehouse; what it changes is gone when the warehouse is killed."""
        for _ in warehouse_rows(self._sandbox.warehouse_url, HTTP_PATH, TOKEN, statement):
            pass

    def catalog_status(self) -> dict[str, Any]:
        return dict(self._get(f"{self._sandbox.catalog_url}/sandbox/status"))

    def warehouse_status(self) -> dict[str, Any]:
        return dict(self._get(f"{self._sandbox.warehouse_url}/sandbox/status"))

    def clear_faults(self) -> None:
        for url in (self._sandbox.catalog_url, self._sandbox.warehouse_url):
            self._request("DELETE", f"{url}/sandbox/faults")

    def _post(self, url: str, switches: Mapping[str, Any]) -> None:
        self._request("POST", url, json=switches)

    def _get(self, url: str, **params: str) -> Any:
        return self._request("GET", url, params=params)

    def _request(self, method: str, url: str, **options: Any) -> Any:
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

    def kill_warehouse(self) -> None:
        self._fault("kill -9 of the warehouse")
        self.warehouse.kill()
        self.abandoned_sessions = 0

    def start_warehouse(self) -> None:
        self._sandbox.launch_warehouse()
        self.warehouse.wait_ready()

    def kill_catalog(self) -> None:
        self._fault("kill -9 of the catalog")
        self.catalog.kill()

    def start_catalog(self) -> None:
        self._sandbox.launch_catalog()
        self.catalog.wait_ready()

    def kill_postgres(self) -> None:
        """kill -9 of PostgreSQL; returns when it is back."""
        self._fault("kill -9 of PostgreSQL")
        self.postgres.kill()

    def break_connections(self) -> None:
        """Breaks off every connection of the servers to PostgreSQL."""
        self._fault("connections to PostgreSQL broken off")
        self.postgres.break_off("blade%")

    def drop_listeners(self) -> None:
        """Breaks off the connection on which each server hears NOTIFY."""
        self._fault("NOTIFY connections dropped")
        servers = len(self.targets())
        dropped = 0

        def all_dropped() -> bool:
            nonlocal dropped
            dropped += self.postgres.break_off("blade-listener")
            return dropped >= servers

        self.wait(all_dropped)

    # --------------------------------------------------------------------------------------------------- jobs

    def add_source(self, table: str = STEPS, **config: Any) -> str:
        """A source of its own over the table, so that nothing else is in its part of the catalog. Returns its name."""
        self._sources += 1
        name = f"source-{self._sources}"
        catalog, schema, short = table.split(".")
        source = Source(name=name, data_type=name, enabled=True)
        source.config.catalog, source.config.schema, source.config.table = catalog, schema, short
        for setting, value in config.items():
            setattr(source.config, setting, value)
        with self.client() as client:
            client.add_source(source)
        return name

    def start(self, table: str = STEPS, *, source: str = "", numbers: range | None = None, **job: Any) -> Run:
        """Starts a job over the table, or these rows of it, and watches it from here on."""
        source = source or self.add_source(table)
        if numbers is not None:
            job["sql"] = f"SELECT * FROM {table} WHERE number BETWEEN {numbers[0]} AND {numbers[-1]}"
        with self.client() as client:
            started = client.start_query_job(source=source, **{"batch_size": 100, **job})
        return self.follow(started.job_id, table, source, numbers)

    def follow(self, job_id: str, table: str, data_type: str, numbers: range | None = None) -> Run:
        """Watches a job that is there already."""
        watcher = Watcher(job_id, self.targets)
        run = Run(job_id=job_id, table=table, data_type=data_type, watcher=watcher, numbers=numbers)
        self.runs.append(run)
        return run

    def job(self, run: Run) -> model.Job:
        """The job as last committed, as soon as PostgreSQL answers."""
        deadline_s = time.monotonic() + 20
        while True:
            try:
                return self.store.get(run.job_id)
            except StorageUnavailable:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)

    def held(self, run: Run) -> tuple[int, int]:
        """Item ids and copies in the catalog."""
        url = f"{self._sandbox.catalog_url}/v1/items:count"
        answer = self._get(url, dataSource=run.data_source)
        return answer["items"], answer["copies"]

    def until(self, run: Run, test: Callable[[model.Job], object], timeout_s: float = 30.0) -> model.Job:
        """The job as soon as `test` holds; fails at once if it ends first."""
        latest = [self.job(run)]

        def holds() -> bool:
            latest[0] = self.job(run)
            assert test(latest[0]) or not latest[0].status.final, latest[0]
            return bool(test(latest[0]))

        self.wait(holds, timeout_s, lambda: f"the job stands at {latest[0]}")
        return latest[0]

    def until_moving(self, run: Run, share: float = 0.0) -> model.Job:
        """The job as soon as more than this share of its items is recorded."""
        return self.until(run, lambda job: job.processed_items > share * len(self._rows[run.table]))

    def until_ended(self, run: Run, timeout_s: float = 60.0) -> model.Job:
        """The job once it is final."""
        return self.until(run, lambda job: job.status.final, timeout_s)

    def wait(self, test: Callable[[], object], timeout_s: float = 20.0, say: Callable[[], str] = lambda: "") -> None:
        """Returns as soon as `test` holds."""
        deadline_s = time.monotonic() + timeout_s
        while not test():
            assert time.monotonic() < deadline_s, f"still not so after {timeout_s} s. {say()}"
            time.sleep(0.03)

    def wait_still(self, value: Callable[[], object], seconds: float, timeout_s: float = 20.0) -> None:
        """Returns once `value` has not changed for so long."""
        latest, since_s = value(), time.monotonic()

        def is_still() -> bool:
            nonlocal latest, since_s
            if (now := value()) != latest:
                latest, since_s = now, time.monotonic()
            return time.monotonic() - since_s > seconds

        self.wait(is_still, timeout_s, lambda: f"it changed to {latest}")

    def set_rate(self, run: Run, items_per_second: float = 1_000_000.0) -> None:
        """Changes the pace of a job, by default to none, unless it has ended meanwhile."""
        with suppress(Precondition), self.client() as client:
            client.update_limits(run.job_id, items_per_second=items_per_second)

    def most_deaths(self) -> int:
        """How often in a row the servers of one open job died without any progress of it, at most."""
        self.supervise()
        query = "SELECT max(deaths) FROM job WHERE status IN ('PENDING', 'RUNNING')"
        return int(self.postgres.ask(query)[0][0] or 0)

    def leased_by(self, replica: Replica) -> int:
        """How many jobs another server could not take from this one now."""
        query = (
            "SELECT count(*) FROM job WHERE owner LIKE %s"
            " AND (status = 'PAUSED' OR status = 'RUNNING' AND lease_until >= now())"
        )
        return int(self.postgres.ask(query, f"%%:{replica.part.pid}:%%")[0][0])

    def owned_by(self, replica: Replica) -> int:
        """How many jobs this server runs, as the leases have it."""
        query = "SELECT count(*) FROM job WHERE owner LIKE %s AND status IN ('RUNNING', 'PAUSED')"
        return int(self.postgres.ask(query, f"%%:{replica.part.pid}:%%")[0][0])

    def claimed_by(self, run: Run, epoch: int) -> bool:
        """Whether the job was claimed so many times."""
        return bool(self.postgres.ask("SELECT 1 FROM job WHERE job_id = %s AND epoch >= %s", run.job_id, epoch))

    # -------------------------------------------------------------------------------------------- the verdict

    def check(self, run: Run, status: int = Job.COMPLETED, timeout_s: float = 60.0) -> Job:
        """Waits for the end of the job and checks the whole invariant."""
        self.until_ended(run, timeout_s)
        shown, errors = self.shown(run)
        assert Job.Status.Name(shown.status) == Job.Status.Name(status), shown
        rows = self.rows(run)
        audit = Audit(shown, rows, self.items(run), errors)
        losses = audit.losses()
        audit.check_counters()
        run.watcher.stop()
        self.scenario.losses += losses
        self.scenario.items += len(rows)
        problems = audit.problems + run.watcher.problems
        assert not problems, f"{run.job_id}: {'; '.join(problems)}\n{shown}"
        assert losses == Losses()
        return shown

    def shown(self, run: Run) -> tuple[Job, list[ItemError]]:
        """The job and its item errors, as a server tells them."""
        with self.client() as client:
            return client.get_job(run.job_id), list(client.item_errors(run.job_id, page_size=1000))

    def rows(self, run: Run) -> list[Row]:
        """What the warehouse holds of the job."""
        rows = self._rows[run.table]
        return rows if run.numbers is None else [row for row in rows if row["number"] in run.numbers]

    def check_union(self, runs: Sequence[Run]) -> None:
        """All jobs of one source together: their rows are in the catalog, each once and right."""
        rows = [row for run in runs for row in self.rows(run)]
        audit = Audit(Job(status=Job.COMPLETED), rows, self.items(runs[0]), [])
        losses = audit.losses()
        self.scenario.losses += losses
        problems = audit.problems + [problem for run in runs for problem in run.watcher.problems]
        assert not problems, problems

    def items(self, run: Run) -> list[dict[str, Any]]:
        """What the catalog holds of the job (of all jobs of its source that took the same rows)."""
        items = catalog_items(self._sandbox.catalog_url, TOKEN, run.data_source)
        return [item for item in items if run.numbers is None or item["file"]["data"]["number"] in run.numbers]

    def check_nothing_left(self) -> None:
        """No session at the warehouse but those of killed servers, no statement running, no job open."""

        def settled() -> bool:
            status = self.warehouse_status()
            return status["open_sessions"] <= self.abandoned_sessions and not status["running_operations"]

        self.wait(settled, 15, lambda: f"{self.warehouse_status()}, {self.abandoned_sessions} of killed servers")

    def tidy(self) -> None:
        """After a scenario, however it ended: no fault, no open job, no session."""
        for run in self.runs:
            run.watcher.stop()
        self.runs.clear()
        if self.warehouse._process is None:
            self.start_warehouse()
        if self.catalog._process is None:
            self.start_catalog()
        self.clear_faults()
        for replica in self.replicas.values():
            if replica.frozen:
                self.thaw(replica)
        still_open = "SELECT job_id FROM job WHERE status IN ('PENDING', 'RUNNING', 'PAUSED')"
        self.postgres.ask(
            "UPDATE job SET status = 'CANCELLED', owner = NULL, lease_until = NULL, pending_action = NULL,"
            f" end_time = now(), revision = revision + 1 WHERE job_id IN ({still_open})"
        )
        self._post(f"{self._sandbox.warehouse_url}/sandbox/faults", {"expire_sessions": True})
        self.abandoned_sessions = 0


def _free_port() -> int:
    """A port to come back to: one that no outgoing connection gets in the meantime."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


def _variable(name: str) -> str:
    return name.upper() if name.startswith("python") else f"BLADE_{name.upper()}"


_BEARER = {"Authorization": f"Bearer {TOKEN}"}
