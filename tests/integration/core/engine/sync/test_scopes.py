"""Two syncs over one data type in one destination: rows move from the scope of one into that of the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.access import called
from tests.support.syncs import SyncWorld, counts
from tests.support.waiting import wait_until

from blade_server.core.engine.ledger import Mark
from blade_server.core.syncs.sync_jobs import Asked
from blade_server.errors import NotFound
from blade_server.model import Job, JobKind, Status
from blade_server.model.sync import Deletes, Guards, SyncSpec

LOW = {"scope": "low ones", "filter": "priority = 'LOW'"}
HIGH = {"scope": "high ones", "filter": "priority = 'HIGH'"}
MOVED = "MAINT-4"
OUTCOME = """
    UPDATE job_block SET outcomes = set_byte(outcomes, 0, %s) FROM job
    WHERE job.job_id = job_block.job_id AND NOT folded AND contents IS NOT NULL AND item_ids IS NOT NULL
"""


@pytest.fixture
def syncs(make_sync_world: Callable[..., SyncWorld]) -> SyncWorld:
    syncs = make_sync_world(60, spec=LOW)
    shared = {"source": "blade-maintenance", "deletes": Deletes.DELETE, "guards": Guards(max_delete_share=1.0)}
    syncs.syncs.create("high", SyncSpec(**shared, **HIGH), by=called())
    assert counts(syncs.run()) == counts(high(syncs)) == {"created": 30}
    return syncs


def high(syncs: SyncWorld, **told: Any) -> Job:
    """A run of the other sync, folded."""
    job = syncs.syncs.jobs.start("high", JobKind.SYNC, Asked(by=called(), reason="a test"), **told)
    wait_until(lambda: syncs.world.store.get(job.job_id).status.final)
    wait_until(lambda: not syncs.world.stores.syncs.folds.unfolded("high"))
    ended = syncs.world.store.get(job.job_id)
    assert ended.status is Status.COMPLETED, ended
    return ended


def test_an_item_that_the_other_one_has_sent_is_not_deleted_and_forgotten(syncs: SyncWorld) -> None:
    syncs.sql(f"UPDATE {{t}} SET priority = 'HIGH' WHERE item_id = '{MOVED}'")
    assert counts(high(syncs)) == {"created": 1, "unchanged": 30}
    assert counts(syncs.plan()) == {"unchanged": 29}
    assert counts(syncs.run()) == {"unchanged": 29}
    syncs.check_equal()
    with pytest.raises(NotFound):
        syncs.syncs.item("keep", MOVED, by=called())
    syncs.sql(f"UPDATE {{t}} SET priority = 'LOW' WHERE item_id = '{MOVED}'")
    assert counts(syncs.run()) == {"created": 1, "unchanged": 29}
    assert counts(high(syncs)) == {"unchanged": 30}
    syncs.check_equal()
    syncs.sql(f"DELETE FROM {{t}} WHERE item_id = '{MOVED}'")
    assert counts(high(syncs)) == {"unchanged": 30}
    assert counts(syncs.run()) == {"unchanged": 29, "deleted": 1}
    syncs.check_equal()


def test_what_a_run_of_the_other_one_sent_counts_before_it_is_folded(syncs: SyncWorld) -> None:
    syncs.sql(f"UPDATE {{t}} SET priority = 'HIGH' WHERE item_id = '{MOVED}'")
    job = high(syncs)
    with syncs.world.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sync_block WHERE sync = 'high'")
        connection.exec_driver_sql(f"UPDATE job SET folded = false WHERE job_id = '{job.job_id}'")
    assert counts(syncs.run()) == {"unchanged": 29}
    syncs.check_equal()


NOT_THERE = {
    "refused": (OUTCOME, Mark.ERROR.value),
    "handed back": (OUTCOME, Mark.UNSENT.value),
    "by a sync that had the name before": ("UPDATE sync SET create_time = now() WHERE name = 'high'",),
}


@pytest.mark.parametrize("statement", NOT_THERE.values(), ids=NOT_THERE.keys())
def test_what_the_other_one_has_not_sent_is_deleted(syncs: SyncWorld, statement: tuple[Any, ...]) -> None:
    syncs.sql(f"UPDATE {{t}} SET priority = 'HIGH' WHERE item_id = '{MOVED}'")
    job = high(syncs)
    with syncs.world.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sync_block WHERE sync = 'high'")
        connection.exec_driver_sql(f"UPDATE job SET folded = false WHERE job_id = '{job.job_id}'")
        connection.exec_driver_sql(statement[0], statement[1:])
    assert counts(syncs.run()) == {"unchanged": 29, "deleted": 1}


def test_what_only_this_one_has_is_deleted_before_the_other_one_sends_it(syncs: SyncWorld) -> None:
    syncs.sql(f"UPDATE {{t}} SET priority = 'HIGH' WHERE item_id = '{MOVED}'")
    assert counts(syncs.run()) == {"unchanged": 29, "deleted": 1}
    assert counts(high(syncs)) == {"created": 1, "unchanged": 30}
    syncs.check_equal()
