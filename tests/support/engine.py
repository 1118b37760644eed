"""A whole BLADE below the wire: real PostgreSQL and driver, sandbox warehouse and catalog, runners in this process.

Its fixtures are for a conftest.py to import.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from tests.support.access import AsTester, called
from tests.support.waiting import wait_until
from tests.support.warehouses import lent

from blade_sandbox.catalog import CatalogServer
from blade_sandbox.data import sample_tables
from blade_sandbox.warehouse import Warehouse as SandboxWarehouse
from blade_server.app.policies import destination_policy, engine_policy, job_policy, source_policy
from blade_server.catalog import Catalog
from blade_server.core.audit.recorder import Recorder
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.destinations.connect import connect
from blade_server.core.engine.run import EngineTools
from blade_server.core.engine.runner import Runner
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.jobs.start import StartJob
from blade_server.core.sources.rules import with_defaults
from blade_server.core.sources.sources import Sources
from blade_server.lineage import Lineage
from blade_server.model import Classification, Job, RowMapping, Source, SourceConfig
from blade_server.model.access import Caller
from blade_server.settings import Settings
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.destinations import DestinationStore
from blade_server.storage.engine.leases import Leases
from blade_server.storage.engine.stores import Stores
from blade_server.storage.jobs.control import JobControl
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.sources import SourceStore

TABLE = "main.blade.blade_maintenance_data"


def maintenance_rows(count: int) -> dict[str, list[Any]]:
    """Columns of a maintenance table whose default mapping works."""
    return {
        "item_id": [f"MAINT-{number}" for number in range(count)],
        "tail_number": [f"AF-{number % 50:03}" for number in range(count)],
        "priority": ["HIGH" if number % 2 else "LOW" for number in range(count)],
        "number": list(range(count)),
        "classification": ["UNCLASS"] * count,
        "last_modified": [datetime(2024, 1, 10, 10, tzinfo=UTC)] * count,
    }


class EngineWorld:
    """What a test of the job engine works with. `settings` may be replaced before a runner is made."""

    def __init__(self, folder: Path, url: str, **catalog_options: Any) -> None:
        self._folder = folder
        self.warehouse = SandboxWarehouse(tables={})
        self._own_warehouse = False
        self.catalog = CatalogServer(directory=folder / "catalog", **catalog_options)
        self.database = Database(url)
        self.runners_own = Database(url, pool_size=4)
        self.store, self.new_jobs = JobStore(self.database), NewJobs(self.database, max_open=10)
        self.control = JobControl(self.database)
        self.stores = Stores.over(self.database, self.runners_own)
        self.leases, self.claims = Leases(self.database), self.stores.claims
        self.ledgers, self.records = self.stores.ledgers, self.stores.records
        self.runners: list[Runner] = []
        self.clients: list[Catalog | Catalogs] = []
        self.settings: Settings

    def start(self, rows: Mapping[str, Sequence[Any]] | pa.Table) -> None:
        """Serves these rows as the maintenance table and starts the catalog."""
        table = rows if isinstance(rows, pa.Table) else pa.table(dict(rows))
        pq.write_table(table, self._folder / "rows.parquet")
        self.serve({TABLE: self._folder / "rows.parquet"})

    def serve(self, tables: Mapping[str, Path]) -> None:
        """Serves these tables, from Parquet files, and starts the catalog."""
        self.warehouse = SandboxWarehouse(tables=tables)
        self.warehouse.start()
        self._own_warehouse = True
        self._open()

    def read(self, warehouse: SandboxWarehouse) -> None:
        """Reads from a warehouse that runs already and goes on afterwards, and starts the catalog."""
        self.warehouse = warehouse
        self._open()

    def _open(self) -> None:
        self.catalog.start()
        self.settings = self.configured()
        recorder = Recorder(AuditStore(self.database))
        sources = Sources(source_policy(self.settings), SourceStore(self.database), recorder)
        policy = job_policy(self.settings)
        jobs = Jobs.over(policy, self.database, self.store, sources, recorder=recorder, wake=self._wake)
        self.sources, self.jobs = AsTester(sources), AsTester(jobs)

    def configured(self, **changes: Any) -> Settings:
        """Settings for this world: quick retries, quick leases."""
        values = {
            "DATABRICKS_SERVER_HOSTNAME": self.warehouse.url,
            "DATABRICKS_HTTP_PATH": self.warehouse.http_path,
            "DATABRICKS_TOKEN": self.warehouse.token,
            "catalog_url": self.catalog.url,
            "catalog_timeout_s": 3.0,
            "catalog_settle_s": 3.0,
            "retry_base_s": 0.05,
            "lease_s": 3.0,
            "lease_beat_s": 0.5,
            "upload_workers": 4,
            **changes,
        }
        return Settings(**values)

    def add_source(self, name: str = "blade-maintenance", **changes: Any) -> Source:
        """Stores a source over the maintenance table."""
        config = SourceConfig(
            catalog="main",
            schema="blade",
            table="blade_maintenance_data",
            items_per_second=changes.pop("items_per_second", 0.0),
            max_running_jobs=changes.pop("max_running_jobs", 0),
        )
        source = Source(
            name=name,
            display_name="",
            data_type=changes.pop("data_type", "maintenance"),
            enabled=True,
            config=config,
            mapping=RowMapping(item_id=changes.pop("item_id", ""), classification=Classification()),
        )
        return self.store_source(source)

    def store_source(self, source: Source) -> Source:
        """As AddSource stores a source over a table with a column last_modified, without its test of the connection."""
        known = with_defaults(source)
        mapping = replace(known.mapping, last_modified="last_modified")
        return SourceStore(self.database).add(replace(known, mapping=mapping), by=called())

    def runner(self, settings: Settings | None = None, lineage: Lineage | None = None) -> Runner:
        """Another server's job engine, running."""
        settings = settings or self.settings
        client = Catalog(settings.catalog_url, timeout_s=settings.catalog_timeout_s, settle_s=settings.catalog_settle_s)
        catalogs = self.catalogs(client, settings)
        runner = Runner(EngineTools.of(engine_policy(settings), self.stores, catalogs, lineage))
        runner.start()
        self.runners.append(runner)
        self.clients += [client, catalogs]
        return runner

    def catalogs(self, client: Catalog, settings: Settings) -> Catalogs:
        """All destinations, and the client of the server's own."""
        find = DestinationStore(self.database).get
        return Catalogs(client, find=find, connect=partial(connect, destination_policy(settings)))

    def begin(self, **request: Any) -> Job:
        """Starts a job over the maintenance source."""
        return self.jobs.start(StartJob(**{"source": "blade-maintenance", **request}), by=called("tester"))

    def cancel(self, job_id: str, *, by: Caller, reason: str = "") -> Job:
        """Asks for the end and waits until no upload can start any more, as CancelJob does."""
        self.jobs.control.cancel(job_id, by=by, reason=reason)
        for seconds in self.jobs.control.cancelling(job_id, by=by):
            time.sleep(seconds)
        return self.store.get(job_id, history=False)

    def _wake(self) -> None:
        for runner in self.runners:
            runner.wake()

    def wake(self) -> None:
        """Rings the runners, as the listener does when somebody changed a job."""
        self._wake()

    def held(self, data_source: str = "BLADE:maintenance") -> dict[str, int]:
        """Item ids in the catalog, and how many copies of each."""
        copies: dict[str, int] = {}
        query: dict[str, Any] = {"dataSource": data_source, "limit": 1000}
        while True:
            page = requests.get(f"{self.catalog.url}/v1/items", params=query, timeout=60).json()
            copies.update({item["itemId"]: item["copies"] for item in page["items"]})
            if "next" not in page:
                return copies
            query["after"] = page["next"]

    def catalog_status(self) -> dict[str, Any]:
        """What the catalog has counted."""
        return dict(requests.get(f"{self.catalog.url}/sandbox/status", timeout=60).json())

    def warehouse_faults(self, **switches: Any) -> None:
        """Sets faults of the warehouse."""
        headers = {"Authorization": f"Bearer {self.warehouse.token}"}
        url = f"{self.warehouse.url}/sandbox/faults"
        requests.post(url, json=switches, headers=headers, timeout=60).raise_for_status()

    def close(self) -> None:
        """Stops everything."""
        for runner in self.runners:
            runner.stop(5)
        for client in self.clients:
            client.close()
        self.catalog.stop()
        if self._own_warehouse:
            self.warehouse.stop()
        self.database.close()
        self.runners_own.close()


@pytest.fixture(scope="session")
def _sample_warehouse() -> Iterator[SandboxWarehouse]:
    with SandboxWarehouse(tables=sample_tables()) as warehouse:
        yield warehouse


@pytest.fixture
def sample_warehouse(_sample_warehouse: SandboxWarehouse) -> Iterator[SandboxWarehouse]:
    """With the sample tables; a test of it changes none."""
    with lent(_sample_warehouse) as warehouse:
        yield warehouse


@pytest.fixture
def make_world(tmp_path: Path, postgres_url: str) -> Iterator[Callable[..., EngineWorld]]:
    """`make_world(rows, **catalog_options)`: a world with one source over these rows, and no runner yet."""
    worlds: list[EngineWorld] = []

    def make(rows: Any = 1000, *, source: Mapping[str, Any] | None = None, **catalog_options: Any) -> EngineWorld:
        world = EngineWorld(tmp_path, postgres_url, **catalog_options)
        worlds.append(world)
        world.start(maintenance_rows(rows) if isinstance(rows, int) else rows)
        world.add_source(**(source or {}))
        return world

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def ended() -> Callable[..., Job]:
    """`ended(world, job)`: the job once it is final."""

    def wait(world: EngineWorld, job: Job, timeout_s: float = 100.0) -> Job:
        wait_until(lambda: world.store.get(job.job_id).status.final, timeout_s)
        return world.store.get(job.job_id)

    return wait


@pytest.fixture
def reaches() -> Callable[..., Job]:
    """`reaches(world, job, test)`: the job once `test(job)` is true; fails at once if the job ends first otherwise."""

    def wait(world: EngineWorld, job: Job, test: Callable[[Job], object], timeout_s: float = 100.0) -> Job:
        latest = [job]

        def holds() -> bool:
            latest[0] = world.store.get(job.job_id)
            assert test(latest[0]) or not latest[0].status.final, latest[0]
            return bool(test(latest[0]))

        wait_until(holds, timeout_s)
        return latest[0]

    return wait
