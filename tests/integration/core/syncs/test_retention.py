"""Which runs of syncs are kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from tests.integration.core.syncs.conftest import asked

from blade_server.model.sync_report import SyncCounts, SyncMode, SyncReport
from blade_server.storage import retention as rules
from blade_server.storage.codec import report_document
from blade_server.storage.database import Database
from blade_server.storage.retention import Retention

DAY_S = 86400.0


@pytest.fixture
def run(syncs, sync, set_job):
    def run(age_s: float, *, job: Any = None, **values: Any) -> str:
        started = (job or syncs.run)("maintenance", asked())
        counts = SyncCounts(**{"unchanged": 5, **values.pop("counts", {})})
        report = report_document(SyncReport(run_number=1, mode=SyncMode.CHANGED, counts=counts))
        set_job(
            started.job_id, **{"status": "COMPLETED", "report": report, "folded": True, "end_time": -age_s, **values}
        )
        return started.job_id

    return run


def kept(database: Database) -> set[str]:
    with database.begin() as connection:
        return set(connection.execute(text("SELECT job_id FROM job")).scalars())


def pruned(database: Database) -> None:
    retention = Retention(database)
    while retention.prune_quiet_runs():
        pass


def test_quiet_runs_go_after_a_day_but_for_the_last_ones_of_the_sync(run, database, monkeypatch) -> None:
    monkeypatch.setattr(rules, "QUIET_KEPT", 3)
    old = [run(2 * DAY_S) for _ in range(4)]
    young = run(DAY_S / 2)
    last = [run(2 * DAY_S) for _ in range(3)]
    pruned(database)
    assert kept(database) == {young, *last}
    assert old


def test_a_run_that_did_or_says_anything_is_no_quiet_one(run, database, monkeypatch, syncs) -> None:
    monkeypatch.setattr(rules, "QUIET_KEPT", 0)
    loud = [
        run(2 * DAY_S, counts={name: 1})
        for name in ("created", "updated", "deleted", "withheld", "failed", "delete_failed")
    ]
    loud += [run(2 * DAY_S, status="FAILED"), run(2 * DAY_S, error_count=1), run(2 * DAY_S, folded=False)]
    window = partial(syncs.backfill, column="cost", from_value="1")
    loud += [run(2 * DAY_S, report=None), run(2 * DAY_S, job=syncs.plan), run(2 * DAY_S, job=window)]
    quiet = run(2 * DAY_S)
    pruned(database)
    assert kept(database) == set(loud)
    assert quiet


def test_what_is_not_in_what_the_sync_knows_stays_whatever_its_age(run, database) -> None:
    folded, unfolded = run(90 * DAY_S), run(90 * DAY_S, folded=False)
    with database.begin() as connection:
        for job_id in (folded, unfolded):
            block = "INSERT INTO job_block (job_id, block, digests, outcomes) VALUES (:job_id, 1, '', '')"
            connection.execute(text(block), {"job_id": job_id})
    retention = Retention(database)
    while retention.drop_ledgers():
        pass
    while retention.prune(older_than_s=DAY_S):
        pass
    assert kept(database) == {unfolded}
    with database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM job_block")).scalar_one() == 1
