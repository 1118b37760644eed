"""Syncs over a table that changes, and the comparison that they are measured by: made without BLADE's own code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
import requests
from sqlalchemy import text
from tests.support.access import called
from tests.support.engine import TABLE, EngineWorld
from tests.support.waiting import wait_until

from blade_server.app.policies import job_policy, source_policy
from blade_server.catalog import Catalog
from blade_server.core.audit.recorder import Recorder
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.sync_jobs import Asked
from blade_server.core.syncs.syncs import Syncs
from blade_server.model import Job, JobKind
from blade_server.model.sync import ChangeKind, Deletes, Guards, ItemChange, SyncSpec, SyncState
from blade_server.model.sync_report import SyncCounts, SyncMode
from blade_server.storage.audit import AuditStore
from blade_server.storage.sources import SourceStore
from blade_server.storage.sync.history import SyncHistory

NAME = "keep"
DATA_SOURCE = "BLADE:maintenance"


class SyncWorld:
    """One sync, `keep`, over the maintenance table of an EngineWorld."""

    def __init__(self, world: EngineWorld) -> None:
        self.world = world
        recorder = Recorder(AuditStore(world.database))
        sources = Sources(source_policy(world.settings), SourceStore(world.database), recorder)
        policy = job_policy(world.settings)
        jobs = Jobs.over(policy, world.database, world.store, sources, recorder=recorder, wake=world.wake)
        self.client = Catalog(world.settings.catalog_url, timeout_s=3.0)
        self.syncs = Syncs.over(
            policy,
            world.database,
            jobs.show,
            sources,
            world.catalogs(self.client, world.settings),
            recorder=recorder,
            wake=world.wake,
        )

    def sql(self, statement: str) -> None:
        """Changes the table; `{t}` is its name."""
        self.world.warehouse.run(statement.format(t=TABLE))

    def create(self, **spec: Any) -> None:
        """Stores the sync; CHANGED with deletes of any number, unless said otherwise."""
        wanted = {
            "source": "blade-maintenance",
            "mode": SyncMode.CHANGED,
            "deletes": Deletes.DELETE,
            "guards": Guards(max_delete_share=1.0),
            **spec,
        }
        self.syncs.create(NAME, SyncSpec(**wanted), by=called())

    def update(self, **spec: Any) -> None:
        """Stores another order."""
        self.syncs.update(NAME, lambda stored: replace(stored, **spec), by=called())

    def begin(self, kind: JobKind = JobKind.SYNC, **told: Any) -> Job:
        """Starts a job of the sync."""
        return self.syncs.jobs.start(NAME, kind, Asked(by=called(), reason="a test"), **told)

    def ended(self, job: Job, timeout_s: float = 60.0) -> Job:
        """The job once it is final and folded."""
        wait_until(lambda: self.world.store.get(job.job_id).status.final, timeout_s)
        wait_until(lambda: not self.world.stores.syncs.folds.unfolded(NAME), timeout_s)
        return self.world.store.get(job.job_id)

    def run(self, kind: JobKind = JobKind.SYNC, **told: Any) -> Job:
        """One job of the sync, from its start to its end."""
        return self.ended(self.begin(kind, **told))

    def plan(self, **told: Any) -> Job:
        """A plan, which is looked at for what it must not do."""
        before = self._written()
        job = self.run(JobKind.PLAN, **told)
        assert self._written() == before
        return job

    def _written(self) -> tuple[SyncState, int, int]:
        return replace(self.state, run_number=0), self.world.catalog.status()["uploads"], self.missing()

    def apply(self, plan: Job) -> Job:
        """What the plan says, done."""
        return self.ended(self.syncs.apply(NAME, plan.job_id, Asked(by=called(), reason="a test")))

    def missing(self) -> int:
        """How many items are noted as gone."""
        with self.world.database.read() as connection:
            return connection.execute(text("SELECT count(*) FROM sync_missing")).scalar_one()

    def changes(self, job: Job, kind: ChangeKind) -> list[ItemChange]:
        """The samples of a job."""
        return [change for change in SyncHistory(self.world.database).changes(job.job_id) if change.kind is kind]

    @property
    def state(self) -> SyncState:
        """What the sync knows beside its items."""
        state = self.world.stores.syncs.states.get(NAME)
        assert state is not None
        return state

    # ---------------------------------------------------------------------------------------------- comparison

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows of the table by their item id: of several with one id none, as nobody can say which is the item."""
        found: dict[str, dict[str, Any]] = {}
        columns = [name for name, *_ in self.world.warehouse.run(f"DESCRIBE TABLE {TABLE}")]
        for row in self.world.warehouse.run(f"SELECT * FROM {TABLE}"):
            values = dict(zip(columns, row, strict=True))
            if values["item_id"] is not None:
                found[values["item_id"]] = values
        return found

    def held(self) -> dict[str, dict[str, Any]]:
        """The `data` of the items in the catalog, by their ids; of several copies, the newest."""
        return {item["itemId"]: item["file"]["data"] for item in self.listed()}

    def listed(self) -> Iterator[dict[str, Any]]:
        """The items in the catalog, with their files."""
        query: dict[str, Any] = {"dataSource": DATA_SOURCE, "limit": 1000, "include": "file"}
        while True:
            page = requests.get(f"{self.world.catalog.url}/v1/items", params=query, timeout=60).json()
            yield from page["items"]
            if "next" not in page:
                return
            query["after"] = page["next"]

    def check_equal(self, *, but: Sequence[str] = ()) -> None:
        """The catalog is the table, row by row; `but` for these ids."""
        rows = {item_id: _plain(row) for item_id, row in self.rows().items() if item_id not in but}
        held = {item_id: _plain(row) for item_id, row in self.held().items() if item_id not in but}
        assert held.keys() == rows.keys(), (
            sorted(held.keys() - rows.keys())[:5],
            sorted(rows.keys() - held.keys())[:5],
        )
        wrong = [item_id for item_id in rows if rows[item_id] != held[item_id]]
        assert not wrong, (rows[wrong[0]], held[wrong[0]])


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Times aside, which JSON has no type for, and the sandbox shows as it likes."""
    return {name: value for name, value in row.items() if name in {"item_id", "tail_number", "priority", "number"}}


def counts(job: Job) -> dict[str, int]:
    """What a run did, without what it did not."""
    assert job.report is not None
    found: SyncCounts = job.report.counts
    return {name: value for name, value in asdict(found).items() if value}


@pytest.fixture
def make_sync_world(make_world: Callable[..., EngineWorld]) -> Iterator[Callable[..., SyncWorld]]:
    """`make_sync_world(rows, spec={}, **catalog_options)`: a runner, a sync, and what it is over."""
    clients: list[Catalog] = []

    def make(
        rows: Any = 300, *, spec: Mapping[str, Any] | None = None, runner: bool = True, **options: Any
    ) -> SyncWorld:
        world = make_world(rows, **options)
        syncs = SyncWorld(world)
        clients.append(syncs.client)
        syncs.create(**(spec or {}))
        if runner:
            world.runner()
        return syncs

    yield make
    for client in clients:
        client.close()
