"""kill -9 of the engine while it runs a sync, at each step and at random: nothing lost, doubled or wrongly deleted.

The catalog keeps every copy, so an item that is sent once too often is seen; and after each run its items are compared
with the table.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import pytest
from tests.faults.engine_process import EngineProcess, Moment
from tests.support.access import called
from tests.support.syncs import DATA_SOURCE, SyncWorld, counts, make_sync_world
from tests.support.waiting import wait_until

from blade_server.errors import Precondition
from blade_server.model import JobKind, Status
from blade_server.model.sync_report import SyncMode

__all__ = ["make_sync_world"]

ROWS = 400
KILLS = int(os.environ.get("BLADE_SYNC_KILLS", "100"))
QUICK = {
    "lease_s": 1.0,
    "lease_beat_s": 0.2,
    "catalog_timeout_s": 0.5,
    "catalog_settle_s": 0.5,
    "retry_base_s": 0.02,
    "upload_workers": 2,
}
_STORAGE = "blade_server.storage"
STEPS = [
    *(
        Moment(f"{_STORAGE}.engine.ledger:LedgerStore", "intend", after, nth)
        for after in (False, True)
        for nth in (1, 2)
    ),
    *(Moment("blade_server.catalog.client:Catalog", "upload", after, nth) for after in (False, True) for nth in (1, 3)),
    *(Moment("blade_server.catalog.client:Catalog", "delete", after, nth) for after in (False, True) for nth in (1, 3)),
    *(
        Moment(f"{_STORAGE}.engine.records:RecordStore", "record", after, nth)
        for after in (False, True)
        for nth in (1, 2)
    ),
    *(Moment(f"{_STORAGE}.engine.claims:ClaimStore", "finish", after) for after in (False, True)),
    *(Moment(f"{_STORAGE}.engine.claims:ClaimStore", "set_plan", after) for after in (False, True)),
    *(Moment(f"{_STORAGE}.sync.missing:MissingStore", "forget_others", after) for after in (False, True)),
    *(Moment(f"{_STORAGE}.sync.folds:FoldStore", "finish", after) for after in (False, True)),
    *(Moment(f"{_STORAGE}.sync.folds:FoldSlice", "put", after) for after in (False, True)),
]


class Engines:
    """One engine after the other over the sync of a world."""

    def __init__(self, syncs: SyncWorld) -> None:
        self.syncs = syncs
        world = syncs.world
        self._settings = {
            "DATABRICKS_SERVER_HOSTNAME": world.warehouse.url,
            "DATABRICKS_HTTP_PATH": world.warehouse.http_path,
            "DATABRICKS_TOKEN": world.warehouse.token,
            "catalog_url": world.catalog.url,
            **QUICK,
        }
        self._engine: EngineProcess | None = None
        self._engine_is_new = False
        self.kills = 0

    def start(self, moment: Moment | None = None) -> None:
        self._engine = EngineProcess(self._settings, self.syncs.world.database.url, moment)

    def replace(self, moment: Moment | None = None) -> None:
        """Another one, which is not counted as a kill: nothing runs."""
        if self._engine is not None:
            self._engine.kill()
        self.start(moment)

    def kill(self) -> None:
        if self._engine is not None:
            self._engine.kill()
            self.kills += 1
        self._engine = None

    @property
    def died(self) -> bool:
        return self._engine is not None and not self._engine.alive

    def wait(self, job, timeout_s: float = 60.0, *, fold: bool = True):
        """Until the job is final and folded; an engine that has died is followed by another."""
        deadline = time.monotonic() + timeout_s
        self._engine_is_new = False
        folds = self.syncs.world.stores.syncs.folds
        while True:
            final = self.syncs.world.store.get(job.job_id, history=False).status.final
            if self.died:
                self.kills += 1
                self._engine_is_new = True
                self.start()
            if final and not folds.unfolded("keep"):
                return self.syncs.world.store.get(job.job_id)
            if final and (self._engine_is_new or not fold):  # it died in the fold, which is left to the next job
                return self.syncs.world.store.get(job.job_id)
            assert time.monotonic() < deadline, self.syncs.world.store.get(job.job_id)
            time.sleep(0.02)


@pytest.fixture
def make_engines(make_sync_world):
    made = []

    def make(rows=ROWS, **options):
        options.setdefault("replace", False)
        spec = {"batch_size": 20, **options.pop("spec", {})}
        engines = Engines(make_sync_world(rows, runner=False, spec=spec, idempotency_keys=0, **options))
        made.append(engines)
        return engines

    yield make
    for engines in made:
        if engines._engine is not None:
            engines._engine.kill()


class Model:
    """What the catalog has to hold: how often each item was sent since it is there."""

    def __init__(self, syncs: SyncWorld) -> None:
        self.syncs = syncs
        self.sent: Counter[str] = Counter()
        self.before: dict[str, object] = {}

    def check(self) -> None:
        """The catalog is the table, and holds as many copies of each item as there were changes of it."""
        self.syncs.check_equal()
        rows = {
            item_id: tuple(sorted((k, str(v)) for k, v in row.items())) for item_id, row in self.syncs.rows().items()
        }
        for item_id in self.before.keys() - rows.keys():
            del self.sent[item_id]
        for item_id, row in rows.items():
            if self.before.get(item_id) != row:
                self.sent[item_id] += 1
        self.before = rows
        assert self.syncs.world.held() == dict(self.sent)


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_each_step(make_engines, part):
    engines = make_engines()
    syncs, model = engines.syncs, Model(engines.syncs)
    engines.start()
    assert engines.wait(syncs.begin()).status is Status.COMPLETED
    model.check()
    for number, moment in enumerate(STEPS[len(STEPS) * part // PARTS : len(STEPS) * (part + 1) // PARTS]):
        print(number, moment)
        syncs.sql(f"UPDATE {{t}} SET priority = 'P{number}' WHERE number % 4 = 1")
        syncs.sql("DELETE FROM {t} WHERE number % 4 = 2")
        syncs.sql(
            f"INSERT INTO {{t}} SELECT 'N{number}-' || number, tail_number, priority, number + 1, classification,"
            " last_modified FROM {t} WHERE number % 4 = 1"
        )
        engines.replace(moment)
        killed = engines.kills
        job = engines.wait(syncs.begin())
        assert job.status is Status.COMPLETED, (moment, job)
        quarter = ROWS // 4
        assert counts(job) == {"created": quarter, "updated": quarter, "unchanged": 2 * quarter, "deleted": quarter}, (
            moment
        )
        if engines.kills == killed:  # it may come after all else
            wait_until(lambda: engines.died, 20)
            engines.replace()
        model.check()
        engines.replace()
        last = engines.wait(syncs.begin())
        assert (last.report.counts.unchanged, last.success_count) == (ROWS, 0), (moment, last.report)
        assert syncs.state.known_items == ROWS, moment
        model.check()


FEED_STEPS = [
    *(Moment(f"{_STORAGE}.sync.missing:MissingStore", "note", after) for after in (False, True)),
    *(Moment(f"{_STORAGE}.sync.missing:MissingStore", "forget_others", after) for after in (False, True)),
    *(Moment("blade_server.catalog.client:Catalog", "delete", after, nth) for after in (False, True) for nth in (1, 3)),
    *(Moment("blade_server.catalog.client:Catalog", "upload", after) for after in (False, True)),
    *(Moment(f"{_STORAGE}.engine.claims:ClaimStore", "finish", after) for after in (False, True)),
    *(Moment(f"{_STORAGE}.engine.claims:ClaimStore", "set_plan", after) for after in (False, True)),
    Moment(f"{_STORAGE}.sync.folds:FoldStore", "finish"),
]


def test_runs_over_a_change_feed_killed_at_each_step(make_engines):
    engines = make_engines(spec={"mode": SyncMode.CHANGE_FEED})
    syncs, model = engines.syncs, Model(engines.syncs)
    syncs.sql("ALTER TABLE {t} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
    engines.start()
    assert engines.wait(syncs.begin()).status is Status.COMPLETED
    model.check()
    for number, moment in enumerate(FEED_STEPS):
        print(number, moment)
        syncs.sql(f"UPDATE {{t}} SET priority = 'P{number}' WHERE number % 4 = 1")
        syncs.sql("DELETE FROM {t} WHERE number % 4 = 2")
        syncs.sql(
            f"INSERT INTO {{t}} SELECT 'N{number}-' || number, tail_number, priority, number + 1, classification,"
            " last_modified FROM {t} WHERE number % 4 = 1"
        )
        engines.replace(moment)
        killed = engines.kills
        job = engines.wait(syncs.begin())
        assert (job.status, job.report.whole) == (Status.COMPLETED, False), (moment, job)
        assert engines.kills == killed + 1, f"{moment} never came"
        model.check()
        engines.replace()
        last = engines.wait(syncs.begin())
        assert (last.total_items, last.success_count, last.report.counts.deleted) == (0, 0, 0), (moment, last.report)
        assert (syncs.state.known_items, syncs.missing()) == (ROWS, 0), moment


REPAIR_STEPS = [
    *(Moment("blade_server.catalog.client:Catalog", "list", after) for after in (False, True)),
    *(Moment(f"{_STORAGE}.engine.ledger:LedgerStore", "intend", after) for after in (False, True)),
    *(Moment("blade_server.catalog.client:Catalog", "upload", after, nth) for after in (False, True) for nth in (1, 2)),
    *(Moment(f"{_STORAGE}.engine.records:RecordStore", "record", after, 2) for after in (False, True)),
    *(Moment(f"{_STORAGE}.engine.claims:ClaimStore", "finish", after) for after in (False, True)),
]


def test_repairs_killed_at_each_step(make_engines):
    engines = make_engines()
    syncs = engines.syncs
    engines.start()
    assert engines.wait(syncs.begin()).status is Status.COMPLETED
    gone = [f"MAINT-{number}" for number in range(0, ROWS, 8)]
    for number, moment in enumerate(REPAIR_STEPS):
        print(number, moment)
        syncs.client.delete(DATA_SOURCE, gone)
        engines.replace(moment)
        killed = engines.kills
        job = engines.wait(syncs.begin(JobKind.VERIFY, repair=True))
        assert job.status is Status.COMPLETED, (moment, job)
        assert engines.kills == killed + 1, f"{moment} never came"
        assert (job.report.counts.created, job.success_count + job.skipped_count) == (len(gone), ROWS), (moment, job)
        syncs.check_equal()
        assert syncs.world.held() == dict.fromkeys(syncs.rows(), 1), moment


def _change(syncs: SyncWorld, chance: random.Random, number: int) -> None:
    modulus, rest = chance.randint(3, 9), chance.randint(0, 8)
    chosen = f"number % {modulus} = {rest % modulus}"
    match chance.randint(0, 3):
        case 0:
            syncs.sql(f"UPDATE {{t}} SET priority = 'P{number}' WHERE {chosen}")
        case 1:
            syncs.sql(f"DELETE FROM {{t}} WHERE {chosen} AND number > 20")
        case _:
            syncs.sql(
                f"INSERT INTO {{t}} SELECT 'R{number}-' || item_id, tail_number, 'NEW', number + {number},"
                f" classification, last_modified FROM {{t}} WHERE {chosen} AND number < 300"
            )


def test_random_kills_and_cancels(make_engines):
    """Histories of changes and runs, each killed and cancelled at random; after each that completes all is equal."""
    seed = int(os.environ.get("BLADE_SYNC_SEED", str(random.SystemRandom().randrange(10**9))))
    print("seed", seed)
    chance = random.Random(seed)
    engines = make_engines()
    syncs = engines.syncs
    runs = cancelled = 0
    while engines.kills < KILLS:
        for _ in range(chance.randint(1, 3)):
            _change(syncs, chance, runs * 10_000 + chance.randint(1000, 9999))
        runs += 1
        job = syncs.begin()
        cancels = chance.random() < 0.2
        for _ in range(chance.randint(1, 4)):
            engines.start()
            time.sleep(chance.uniform(0.1, 2.0))
            if cancels and chance.random() < 0.3:
                try:
                    syncs.world.jobs.control.cancel(job.job_id, by=called("x"), reason="at random")
                    cancelled += 1
                except Precondition:
                    pass  # it has ended
            engines.kill()
        engines.start()
        done = engines.wait(job, fold=False)
        if done.status is Status.COMPLETED:
            syncs.check_equal()
        engines._engine.kill()
    engines.start()
    assert engines.wait(syncs.begin()).status is Status.COMPLETED
    syncs.check_equal()
    last = engines.wait(syncs.begin())
    assert last.success_count == 0
    assert last.report.counts.unchanged == len(syncs.rows()) == syncs.state.known_items
    print(f"{engines.kills} kills, {cancelled} cancels, {runs} runs")
