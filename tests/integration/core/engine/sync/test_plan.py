"""Plans: what a run would do, said without doing it; and runs that do what a plan says."""

from __future__ import annotations

import pytest
from tests.support.access import called
from tests.support.syncs import counts

from blade_server.errors import BladeError, Reason
from blade_server.model import JobKind, Status
from blade_server.model.sync import ChangeKind, Cursor, Guards
from blade_server.model.sync_report import SyncMode, Withheld


def change(syncs):
    syncs.sql("UPDATE {t} SET priority = 'CHANGED' WHERE number % 100 = 7")
    syncs.sql("DELETE FROM {t} WHERE number BETWEEN 20 AND 24")
    syncs.sql(
        "INSERT INTO {t} SELECT 'NEW-1', tail_number, priority, 1000, classification, last_modified FROM {t} LIMIT 1"
    )


def test_a_plan_says_what_a_run_would_do_and_the_apply_does_it(make_sync_world):
    syncs = make_sync_world(300)
    first = syncs.plan()
    assert (first.status, counts(first)) == (Status.COMPLETED, {"created": 300}), first
    assert (first.success_count, first.skipped_count, first.error_count, first.total_items) == (0, 300, 0, 300)
    created = syncs.changes(first, ChangeKind.CREATE)
    assert [one.item_id for one in created] == sorted(syncs.rows())[:100]
    syncs.run()
    change(syncs)
    plan = syncs.plan()
    assert counts(plan) == {"created": 1, "updated": 3, "unchanged": 292, "deleted": 5}, plan
    updates = syncs.changes(plan, ChangeKind.UPDATE)
    assert [(one.item_id, [(f.field, f.before, f.after) for f in one.fields]) for one in updates] == [
        ("MAINT-107", [("data.priority", '"HIGH"', '"CHANGED"')]),
        ("MAINT-207", [("data.priority", '"HIGH"', '"CHANGED"')]),
        ("MAINT-7", [("data.priority", '"HIGH"', '"CHANGED"')]),
    ]
    assert [one.item_id for one in syncs.changes(plan, ChangeKind.DELETE)] == [f"MAINT-{at}" for at in range(20, 25)]
    assert [one.item_id for one in syncs.changes(plan, ChangeKind.CREATE)] == ["NEW-1"]
    rows = syncs.rows()
    syncs.sql("DELETE FROM {t} WHERE number = 100")
    applied = syncs.apply(plan)
    assert (applied.status, counts(applied)) == (Status.COMPLETED, counts(plan)), applied
    assert syncs.held().keys() == rows.keys()
    assert counts(syncs.run()) == {"unchanged": 295, "deleted": 1}
    syncs.check_equal()


def test_a_plan_says_what_would_be_withheld_and_what_is_rejected(make_sync_world):
    syncs = make_sync_world(300, spec={"guards": Guards()})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number < 100")
    syncs.sql("UPDATE {t} SET last_modified = NULL, classification = 'NO SUCH' WHERE number = 200")
    plan = syncs.plan()
    assert counts(plan) == {"unchanged": 199, "withheld": 100, "failed": 1}, plan
    assert plan.report.withheld_reason is Withheld.MAX_DELETE_SHARE
    assert len(syncs.changes(plan, ChangeKind.WITHHELD)) == 100
    assert [one.item_id for one in syncs.changes(plan, ChangeKind.REJECT)] == ["MAINT-200"]
    assert (plan.skipped_count, plan.error_count) == (199, 1)
    run = syncs.run()
    assert counts(run) == counts(plan)


@pytest.mark.parametrize("runs", [2, 3])
def test_a_plan_counts_deletes_that_wait_as_the_next_run_would(make_sync_world, runs):
    syncs = make_sync_world(60, spec={"guards": Guards(max_delete_share=1.0, confirm_runs=runs)})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number < 5")
    for _ in range(runs):
        plan = syncs.plan()
        assert counts(syncs.run()) == counts(plan)
    assert counts(plan) == {"unchanged": 55, "deleted": 5}


def test_a_plan_is_stale_once_a_run_has_noted_what_it_did_not_meet(make_sync_world):
    syncs = make_sync_world(60, spec={"guards": Guards(max_delete_share=1.0, confirm_runs=2)})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number < 5")
    plan = syncs.plan()
    assert counts(plan) == {"unchanged": 55, "withheld": 5}
    syncs.run()
    with pytest.raises(BladeError) as caught:
        syncs.apply(plan)
    assert caught.value.reason is Reason.PLAN_STALE
    assert len(syncs.held()) == 60


def test_a_plan_of_a_cursor_reads_what_the_run_would(make_sync_world):
    syncs = make_sync_world(300, spec={"mode": SyncMode.INCREMENTAL, "cursor": Cursor(column="number")})
    syncs.run()
    syncs.sql("UPDATE {t} SET number = 1000 + number WHERE number < 3")
    plan = syncs.plan()
    assert counts(plan) == {"updated": 3, "unchanged": 1}, plan
    applied = syncs.apply(plan)
    assert counts(applied) == counts(plan)
    assert syncs.state.watermark == "1002"
    syncs.check_equal()


def test_a_plan_looks_up_what_would_be_adopted(make_sync_world):
    syncs = make_sync_world(100, spec={"adopt": True})
    syncs.run()
    syncs.syncs.reset("keep", by=called(), reason="a test")
    syncs.sql("UPDATE {t} SET priority = 'CHANGED' WHERE number < 3")
    plan = syncs.plan()
    assert counts(plan) == {"created": 3, "unchanged": 97}, plan
    assert counts(syncs.run()) == counts(plan)


def test_a_plan_is_stale_once_a_run_has_changed_what_is_known(make_sync_world):
    syncs = make_sync_world(60)
    plan = syncs.plan()
    syncs.run()
    with pytest.raises(BladeError) as caught:
        syncs.apply(plan)
    assert caught.value.reason is Reason.PLAN_STALE


def test_a_plan_that_grew_stale_after_the_apply_was_stored_fails_it(make_sync_world):
    syncs = make_sync_world(60, runner=False)
    job = syncs.begin(JobKind.APPLY, plan_job_id="gone", state_generation=syncs.state.generation)
    syncs.world.runner()
    ended = syncs.ended(job)
    assert (ended.status, ended.error_reason) == (Status.FAILED, Reason.PLAN_STALE), ended
    assert not syncs.held()


def test_an_apply_fails_if_what_is_known_changed_before_it_was_claimed(make_sync_world):
    syncs = make_sync_world(60)
    plan = syncs.plan()
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number = 1")
    statement = {"plan_job_id": plan.job_id, "state_generation": syncs.state.generation}
    ended = syncs.run(JobKind.APPLY, **statement)
    assert (ended.status, ended.error_reason) == (Status.FAILED, Reason.PLAN_STALE), ended


def test_a_plan_goes_on_beside_a_run(make_sync_world):
    syncs = make_sync_world(300)
    syncs.world.catalog.set_faults(latency_ms=200)
    run = syncs.begin()
    plan = syncs.ended(syncs.begin(JobKind.PLAN))
    assert plan.status is Status.COMPLETED, plan
    assert sum(counts(plan).values()) == 300
    assert counts(syncs.ended(run)) == {"created": 300}
