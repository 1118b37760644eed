"""A run reads one ahead while it compares: pauses, cancels and failures in the middle leave nothing, and no thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from tests.support.access import called
from tests.support.engine import maintenance_rows
from tests.support.syncs import SyncWorld, counts
from tests.support.waiting import wait_until

from blade_server.model import Status

pytestmark = pytest.mark.slow

ROWS = 25_000
"""Three chunks."""


@pytest.fixture
def syncs(make_sync_world: Callable[..., SyncWorld]) -> SyncWorld:
    rows = maintenance_rows(ROWS)
    rows["item_id"][ROWS - 1] = rows["item_id"][5]
    return make_sync_world(rows, source={"items_per_second": 8000.0})


def until_moving(syncs: SyncWorld, job_id: str) -> None:
    wait_until(lambda: 0 < syncs.world.store.get(job_id).processed_items < ROWS - 1)


def transforming() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("transform")]


def test_a_pause_in_the_middle(syncs: SyncWorld) -> None:
    control, store = syncs.world.jobs.control, syncs.world.store
    job = syncs.begin()
    until_moving(syncs, job.job_id)
    control.pause(job.job_id, by=called())
    wait_until(lambda: store.get(job.job_id).status is Status.PAUSED)
    at = store.get(job.job_id).processed_items
    assert len(transforming()) <= 1
    control.resume(job.job_id, by=called())
    wait_until(lambda: store.get(job.job_id).processed_items > at)
    syncs.sql("UPDATE {t} SET tail_number = 'AF-1' WHERE item_id = 'MAINT-7'")
    ended = syncs.ended(job)
    assert counts(ended) == {"created": ROWS - 1, "failed": 1}
    assert set(syncs.world.held().values()) == {1}
    wait_until(lambda: not transforming())
    assert counts(syncs.run()) == {"updated": 1, "unchanged": ROWS - 2, "failed": 1}


def test_a_cancel_in_the_middle(syncs: SyncWorld) -> None:
    job = syncs.begin()
    until_moving(syncs, job.job_id)
    assert syncs.world.cancel(job.job_id, by=called()).status is Status.CANCELLED
    wait_until(lambda: not transforming())


def test_rows_that_stop_coming(syncs: SyncWorld) -> None:
    syncs.world.warehouse_faults(fail_next={"count": 2, "code": 500, "call": "FetchResults"})
    ended = syncs.run()
    assert ended.status is Status.COMPLETED
    assert counts(ended) == {"created": ROWS - 1, "failed": 1}
    assert set(syncs.world.held().values()) == {1}
    wait_until(lambda: not transforming())
