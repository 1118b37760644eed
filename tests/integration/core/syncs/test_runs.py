"""Jobs of syncs: who may start which when, numbered, one of them writing; what is let go of plans and deletes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from tests.integration.core.syncs.conftest import SOURCE, a_sync, asked, audited
from tests.support.access import called_by

from blade_server.core import paging
from blade_server.core.jobs.start import StartJob
from blade_server.errors import AccessDenied, Conflict, Invalid, NotFound, Precondition, Reason
from blade_server.model import Classification, JobKind, Status
from blade_server.model.access import Grant, Role
from blade_server.model.sync import ChangeKind, Cursor, FieldChange, ItemChange
from blade_server.model.sync_report import SyncCounts, SyncMode, SyncReport, Withheld
from blade_server.storage import tables
from blade_server.storage.codec import report_document, task_from


def task_of(database, job_id: str):
    with database.begin() as connection:
        found = connection.execute(
            text("SELECT task, writes, folded FROM job WHERE job_id = :id"), {"id": job_id}
        ).one()
    return task_from(found.task), found.writes, found.folded


def reported(report: SyncReport) -> dict[str, Any]:
    return {"status": "COMPLETED", "report": report_document(report)}


def refusal(call: Callable[[], Any]) -> Precondition:
    with pytest.raises(Precondition) as caught:
        call()
    return caught.value


class TestRun:
    def test_a_run_is_a_job_that_says_what_it_has_to_do(self, syncs, jobs, database) -> None:
        spec = a_sync(filter="priority = 'HIGH'", metadata={"fleet": "7"}, batch_size=7, item_id="X-{tail_number}")
        made = syncs.create("maintenance", spec)
        job = syncs.run("maintenance", asked(reason="now"), whole=True)
        assert (job.status, job.kind, job.sync) == (Status.PENDING, JobKind.SYNC, "maintenance")
        assert "priority = 'HIGH'" in job.spec.sql.replace("`", "")
        assert (job.spec.batch_size, job.spec.item_id, dict(job.spec.metadata)) == (
            7,
            "X-{tail_number}",
            {"fleet": "7"},
        )
        task, writes, folded = task_of(database, job.job_id)
        assert (task.spec, task.whole, task.run_number, task.etag) == (spec, True, 1, made.etag)
        assert (writes, folded) == (True, False)
        assert [(event.kind, event.reason) for event in jobs.show.get(job.job_id).history] == [("CREATED", "now")]
        assert audited(database, "sync:maintenance")[-1] == ("now", f"SYNC as {job.job_id}")
        assert audited(database, f"job:{job.job_id}") == [("now", "SYNC of sync maintenance")]
        assert syncs.show.get("maintenance").running_job_id == job.job_id

    def test_one_job_writes_at_a_time_and_the_others_are_told_which(self, syncs, sync, set_job) -> None:
        first = syncs.run("maintenance", asked())
        for call in (
            lambda: syncs.run("maintenance", asked()),
            lambda: syncs.verify("maintenance", asked(), repair=True),
            lambda: syncs.backfill("maintenance", asked(), column="cost", from_value="1"),
        ):
            busy = refusal(call)
            assert busy.reason is Reason.SYNC_BUSY
            assert busy.metadata == {"job_id": first.job_id, "sync": "maintenance"}
            assert first.job_id in busy.message
        assert syncs.plan("maintenance", asked()).kind is JobKind.PLAN
        assert syncs.verify("maintenance", asked()).kind is JobKind.VERIFY
        set_job(first.job_id, status="PAUSED")
        assert refusal(lambda: syncs.run("maintenance", asked())).reason is Reason.SYNC_BUSY
        set_job(first.job_id, status="FAILED")
        syncs.run("maintenance", asked())
        assert [run.number for run in syncs.show.runs("maintenance")[0]] == [4, 3, 2, 1]

    def test_of_many_calls_at_once_exactly_one_starts(self, syncs, sync) -> None:
        def run(_: int) -> str:
            try:
                return syncs.run("maintenance", asked()).job_id
            except Precondition as exc:
                return exc.reason

        with ThreadPoolExecutor(6) as pool:
            ended = list(pool.map(run, range(6)))
        assert ended.count(Reason.SYNC_BUSY) == 5
        assert [run.number for run in syncs.show.runs("maintenance")[0]] == [1]

    def test_a_repeated_call_gives_the_same_job(self, syncs, sync, set_job) -> None:
        first = syncs.run("maintenance", asked(request_id="r"))
        set_job(first.job_id, status="COMPLETED")
        assert syncs.run("maintenance", asked(request_id="r")).job_id == first.job_id
        for call in (
            lambda: syncs.run("maintenance", asked(request_id="r"), whole=True),
            lambda: syncs.plan("maintenance", asked(request_id="r")),
        ):
            with pytest.raises(Invalid) as caught:
                call()
            assert caught.value.reason is Reason.REQUEST_ID_REUSED

    def test_no_job_is_made_of_what_the_sync_was_before(self, syncs, sync) -> None:
        start = syncs.run._part._jobs
        new = start.built(sync, JobKind.SYNC, by=asked().by)
        syncs.update("maintenance", lambda spec: replace(spec, batch_size=7))
        with pytest.raises(Conflict):
            start.store(new, asked())
        syncs.control.delete("maintenance")
        with pytest.raises(Conflict):
            start.store(new, asked())
        assert syncs.create("maintenance", a_sync()).state.run_number == 0

    def test_a_change_in_between_is_what_the_run_is_made_of(self, syncs, sync, monkeypatch) -> None:
        start = syncs.run._part._jobs
        build = start.built

        def built(*args: Any, **kwargs: Any) -> Any:
            new = build(*args, **kwargs)
            if new.spec.batch_size == 100:
                syncs.update("maintenance", lambda spec: replace(spec, batch_size=7))
            return new

        monkeypatch.setattr(start, "built", built)
        assert syncs.run("maintenance", asked()).spec.batch_size == 7
        assert [run.number for run in syncs.show.runs("maintenance")[0]] == [1]

    def test_an_update_reaches_the_next_run_only(self, syncs, sync, jobs, set_job) -> None:
        first = syncs.run("maintenance", asked())
        syncs.update("maintenance", lambda spec: replace(spec, batch_size=7))
        assert jobs.show.get(first.job_id).spec.batch_size == 100
        set_job(first.job_id, status="COMPLETED")
        assert syncs.run("maintenance", asked()).spec.batch_size == 7

    def test_a_source_that_is_switched_off_runs_nothing(self, syncs, sync, sources) -> None:
        sources.update(replace(sources.get(SOURCE), enabled=False), {"enabled"})
        assert refusal(lambda: syncs.run("maintenance", asked())).reason is Reason.SOURCE_DISABLED

    def test_what_an_editor_ordered_an_operator_runs_as_it_is(self, syncs, sources) -> None:
        """Its items are the same whoever starts it; nobody gets to read what he may not."""
        source = sources.get(SOURCE)
        mapping = replace(source.mapping, classification=Classification(column="classification"))
        sources.update(replace(source, mapping=mapping), {"mapping"})
        sql = f"SELECT tail_number, due_date, 'UNCLASS' AS classification FROM `{SOURCE}`"
        syncs.create("maintenance", a_sync(sql=sql, classification="CUI"))
        operator = called_by("oscar", Role.OPERATOR, (Role.OPERATOR, f"source:{SOURCE}"))
        job = syncs.run("maintenance", asked(by=operator))
        assert (job.spec.classification, job.spec.min_classification) == ("CUI", "")
        syncs.create("both", a_sync(sql=f"SELECT m.* FROM `{SOURCE}` m, exact e", destination="elsewhere"))
        with pytest.raises(Invalid, match="exact"):
            syncs.run("both", asked(by=operator))

    def test_who_may_only_read_plans_and_runs_nothing(self, syncs, sync) -> None:
        reader = called_by("rita", Role.OPERATOR, (Role.READER, f"source:{SOURCE}"))
        with pytest.raises(AccessDenied):
            syncs.run("maintenance", asked(by=reader))
        assert syncs.plan("maintenance", asked(by=replace(reader, needs=Role.READER))).kind is JobKind.PLAN

    def test_items_of_other_sources_keep_the_classification_that_those_have(self, syncs, sources) -> None:
        other = sources.get("exact")
        fixed = replace(other.mapping, classification=Classification(value="SECRET"))
        sources.update(replace(other, mapping=fixed), {"mapping.classification"})
        syncs.create("both", a_sync(sql=f"SELECT m.* FROM `{SOURCE}` m, exact e"))
        assert syncs.run("both", asked()).spec.min_classification == "SECRET"

    def test_a_job_of_a_sync_is_not_retried_but_the_sync_is_run(self, syncs, sync, jobs, set_job) -> None:
        run = syncs.run("maintenance", asked())
        set_job(run.job_id, status="COMPLETED", error_count=1)
        refused = refusal(lambda: jobs.retry_failed(run.job_id))
        assert refused.reason is Reason.SYNC_STATE
        assert "sync 'maintenance', whose next run reads again what failed" in refused.message

    def test_lists_of_jobs_show_queries_unless_they_are_asked_for_others(self, syncs, sync, jobs) -> None:
        run, plan = syncs.run("maintenance", asked()), syncs.plan("maintenance", asked())
        query = jobs.start(StartJob(source=SOURCE))
        for asked_for, wanted in (
            ({}, [query]),
            ({"sync": "maintenance"}, [plan, run]),
            ({"kinds": [JobKind.PLAN, JobKind.QUERY]}, [query, plan]),
            ({"sync": "maintenance", "kinds": [JobKind.SYNC]}, [run]),
            ({"sync": "other"}, []),
        ):
            assert [job.job_id for job in jobs.show.list(**asked_for)[0]] == [job.job_id for job in wanted]
        _, token = jobs.show.list(sync="maintenance", page_size=1)
        assert [job.job_id for job in jobs.show.list(sync="maintenance", page_size=1, page_token=token)[0]] == [
            run.job_id
        ]
        with pytest.raises(Invalid):
            jobs.show.list(page_size=1, page_token=token)


class TestBackfill:
    def test_a_window_is_of_the_cursor_column_or_of_a_named_one(self, syncs, database, set_job) -> None:
        cursor = Cursor(column="last_modified")
        syncs.create("maintenance", a_sync(mode=SyncMode.INCREMENTAL, cursor=cursor))
        job = syncs.backfill("maintenance", asked(), from_value="2024-01-01", to_value="2024-02-01")
        task = task_of(database, job.job_id)[0]
        assert (task.window_column, task.from_value, task.to_value) == ("last_modified", "2024-01-01", "2024-02-01")
        set_job(job.job_id, status="COMPLETED")
        job = syncs.backfill("maintenance", asked(), column="cost", from_value="1")
        assert task_of(database, job.job_id)[0].window_column == "cost"

    @pytest.mark.parametrize(
        ("changes", "window", "said"),
        [
            ({}, {"column": "cost"}, "from: or `to` is required"),
            ({}, {"from_value": "1"}, "column: is required"),
            ({}, {"column": "a\nb", "from_value": "x" * 201}, "column: .*; from: has 201"),
        ],
    )
    def test_a_window_without_a_bound_or_a_column_is_none(self, syncs, sync, changes, window, said) -> None:
        with pytest.raises(Invalid, match=said):
            syncs.backfill("maintenance", asked(), **window)

    def test_sql_has_no_window(self, syncs) -> None:
        syncs.create("maintenance", a_sync(sql=f"SELECT * FROM `{SOURCE}`"))
        refused = refusal(lambda: syncs.backfill("maintenance", asked(), column="cost", from_value="1"))
        assert refused.reason is Reason.SYNC_STATE


class TestApply:
    @pytest.fixture
    def plan(self, syncs, sync, set_job) -> Any:
        job = syncs.plan("maintenance", asked())
        report = SyncReport(run_number=1, mode=SyncMode.CHANGED, counts=SyncCounts(created=2), whole=True)
        set_job(job.job_id, **reported(report), plan={"statement": "SELECT 1 VERSION AS OF 7", "announced": 2})
        return job

    def test_a_plan_is_done_over_the_version_that_it_read(self, syncs, plan, database) -> None:
        job = syncs.apply("maintenance", plan.job_id, asked(reason="approved"))
        task = task_of(database, job.job_id)[0]
        assert (job.kind, task.plan_job_id, task.run_number) == (JobKind.APPLY, plan.job_id, 2)
        with database.begin() as connection:
            statement = connection.execute(
                text("SELECT plan ->> 'statement' FROM job WHERE job_id = :id"), {"id": job.job_id}
            ).scalar_one()
        assert statement == "SELECT 1 VERSION AS OF 7"

    @pytest.mark.parametrize("why", ["old", "sync", "source", "state", "ledger"])
    def test_a_plan_of_what_is_no_more_is_refused(self, syncs, plan, database, set_job, sources, why) -> None:
        if why == "old":
            set_job(plan.job_id, end_time=-3601)
        elif why == "sync":
            syncs.update("maintenance", lambda spec: replace(spec, batch_size=7))
        elif why == "source":
            source = sources.get(SOURCE)
            sources.update(
                replace(source, mapping=replace(source.mapping, item_id="{tail_number}")), {"mapping.item_id"}
            )
        elif why == "state":
            with database.begin() as connection:
                connection.execute(text("UPDATE sync SET generation = generation + 1"))
        else:
            run = syncs.run("maintenance", asked())
            set_job(run.job_id, status="COMPLETED")
        refused = refusal(lambda: syncs.apply("maintenance", plan.job_id, asked()))
        assert refused.reason is Reason.PLAN_STALE
        assert plan.job_id in refused.message
        assert syncs.show.get("maintenance").running_job_id == ""

    def test_a_plan_is_fresh_until_its_hour_is_over(self, syncs, plan, set_job) -> None:
        set_job(plan.job_id, end_time=-3500)
        assert syncs.apply("maintenance", plan.job_id, asked()).kind is JobKind.APPLY

    def test_what_is_no_finished_plan_of_the_sync_is_refused(self, syncs, sync, set_job) -> None:
        plan = syncs.plan("maintenance", asked())
        assert refusal(lambda: syncs.apply("maintenance", plan.job_id, asked())).reason is Reason.JOB_STATUS
        run = syncs.run("maintenance", asked())
        with pytest.raises(Invalid, match="is of the kind SYNC, not a PLAN"):
            syncs.apply("maintenance", run.job_id, asked())
        syncs.create("other", a_sync(destination="elsewhere"))
        with pytest.raises(NotFound):
            syncs.apply("other", plan.job_id, asked())
        with pytest.raises(Invalid):
            syncs.apply("maintenance", "", asked())

    def test_it_is_the_one_that_writes(self, syncs, plan) -> None:
        run = syncs.run("maintenance", asked())
        assert refusal(lambda: syncs.apply("maintenance", plan.job_id, asked())).metadata["job_id"] == run.job_id


class TestAcceptDeletes:
    @pytest.fixture
    def withheld(self, syncs, sync, set_job) -> Callable[..., str]:
        def run(reason: Withheld | None = Withheld.MAX_DELETES, count: int = 7, **values: Any) -> str:
            job = syncs.run("maintenance", asked())
            counts = SyncCounts(withheld=count)
            report = SyncReport(run_number=1, mode=SyncMode.CHANGED, counts=counts, withheld_reason=reason, whole=True)
            set_job(job.job_id, **{**reported(report), **values})
            return job.job_id

        return run

    @pytest.mark.parametrize("reason", [Withheld.MAX_DELETES, Withheld.MAX_DELETE_SHARE, Withheld.NOT_CONFIRMED])
    def test_a_person_lets_go_what_a_guard_withheld(self, syncs, withheld, database, reason) -> None:
        run = withheld(reason)
        job = syncs.accept_deletes("maintenance", run, asked(reason="they are scrapped"))
        task, writes, _ = task_of(database, job.job_id)
        assert (job.kind, task.accepts, task.force_empty, writes) == (JobKind.DELETE, run, False, True)
        assert audited(database, "sync:maintenance")[-1] == ("they are scrapped", f"DELETE as {job.job_id}")

    @pytest.mark.parametrize(
        "reason",
        [
            *(Withheld.ROWS_MISSING, Withheld.ROWS_WITHOUT_ID, Withheld.SPEC_CHANGED),
            *(Withheld.NOT_ALL_ROWS, Withheld.DESTINATION_CANNOT_DELETE),
        ],
    )
    def test_nobody_lets_go_what_nobody_knows(self, syncs, withheld, reason) -> None:
        run = withheld(reason)
        for force in (False, True):
            accept = partial(syncs.accept_deletes, "maintenance", run, asked(reason="x"), force_empty=force)
            assert refusal(accept).reason is Reason.SYNC_STATE

    def test_an_empty_source_takes_a_word_more(self, syncs, withheld, database) -> None:
        run = withheld(Withheld.NO_ROWS)
        refused = refusal(lambda: syncs.accept_deletes("maintenance", run, asked(reason="x")))
        assert "force_empty" in refused.message
        job = syncs.accept_deletes("maintenance", run, asked(reason="x"), force_empty=True)
        assert task_of(database, job.job_id)[0].force_empty

    def test_other_rows_than_those_of_the_run_are_not_meant(self, syncs, withheld) -> None:
        run = withheld()
        syncs.update("maintenance", lambda spec: replace(spec, batch_size=7))  # says nothing of rows
        changed = syncs.update("maintenance", lambda spec: replace(spec, filter="cost > 1"))
        refused = refusal(lambda: syncs.accept_deletes("maintenance", run, asked(reason="x")))
        assert refused.reason is Reason.PLAN_STALE
        syncs.update("maintenance", lambda spec: replace(changed.spec, filter=""))
        assert syncs.accept_deletes("maintenance", run, asked(reason="x")).kind is JobKind.DELETE

    def test_what_withheld_nothing_has_nothing_to_let_go(self, syncs, withheld) -> None:
        for options, reason in (
            ({"reason": None, "count": 0}, Reason.SYNC_STATE),
            ({"count": 0}, Reason.SYNC_STATE),
            ({"report": None}, Reason.SYNC_STATE),
            ({"status": "RUNNING"}, Reason.JOB_STATUS),
        ):
            run = withheld(**options)
            accept = partial(syncs.accept_deletes, "maintenance", run, asked(reason="x"))
            assert refusal(accept).reason is reason

    def test_a_reason_is_required(self, syncs, withheld) -> None:
        run = withheld()
        with pytest.raises(Invalid, match="reason: is required"):
            syncs.accept_deletes("maintenance", run, asked(reason=" "))
        with pytest.raises(Invalid, match="job_id: is required"):
            syncs.accept_deletes("maintenance", "", asked(reason="x"))


class TestShow:
    def test_the_last_run_and_lateness_are_as_of_the_answer(self, syncs, set_job, database) -> None:
        syncs.create("maintenance", a_sync(max_age_s=60))
        assert not syncs.show.get("maintenance").late
        run = syncs.run("maintenance", asked())
        syncs.plan("maintenance", asked())
        set_job(run.job_id, **reported(SyncReport(run_number=1, mode=SyncMode.CHANGED, counts=SyncCounts(updated=2))))
        with database.begin() as connection:
            connection.execute(text("UPDATE sync SET last_success_time = now() - interval '90 seconds'"))
        [shown] = syncs.show.list()[0]
        assert shown.late
        assert 89 < shown.lag_s < 200
        assert (shown.last_run.number, shown.last_run.job_id, shown.last_run.report.counts.updated) == (
            1,
            run.job_id,
            2,
        )

    def test_pages_have_all_syncs_once(self, syncs) -> None:
        for number in range(5):
            syncs.create(f"sync-{number}", a_sync(destination=f"place-{number}"))
        syncs.create("exact", a_sync(source="exact"))
        names, token = [], ""
        while True:
            page, token = syncs.show.list(page_size=2, page_token=token, source=SOURCE)
            names += [sync.name for sync in page]
            if not token:
                break
        assert names == [f"sync-{number}" for number in range(5)]
        assert [sync.name for sync in syncs.show.list(destination="place-3")[0]] == ["sync-3"]
        with pytest.raises(Invalid):
            syncs.show.list(page_token="x")

    def test_a_page_of_long_sql_ends_early(self, syncs, monkeypatch) -> None:
        monkeypatch.setattr(paging, "MAX_PAGE_TEXT", 100)
        for number in range(4):
            syncs.create(f"sync-{number}", a_sync(destination=f"place-{number}", filter=f"tail_number = '{'x' * 30}'"))
        pages, token = [], ""
        while True:
            page, token = syncs.show.list(page_token=token)
            pages.append([sync.name for sync in page])
            if not token:
                break
        assert pages == [["sync-0", "sync-1"], ["sync-2", "sync-3"]]

    def test_who_reads_no_rows_sees_no_sql_and_no_values(self, syncs, set_job, database, jobs) -> None:
        syncs.create("maintenance", a_sync(filter="tail_number = 'AF-007'"))
        run = syncs.run("maintenance", asked())
        report = SyncReport(run_number=1, mode=SyncMode.CHANGED, watermark="AF-007", warnings=("AF-007 is odd",))
        set_job(run.job_id, **reported(report))
        with database.begin() as connection:
            connection.execute(text("UPDATE sync SET watermark = 'AF-007'"))
        viewer = called_by("vera", Role.VIEWER, (Role.VIEWER, f"source:{SOURCE}"))
        reader = called_by("rita", Role.VIEWER, (Role.READER, f"source:{SOURCE}"))
        for see in (
            lambda by: syncs.show.get("maintenance", by=by),
            lambda by: syncs.show.list(by=by),
            lambda by: syncs.show.runs("maintenance", by=by),
            lambda by: jobs.show.list(sync="maintenance", by=by),
        ):
            assert "AF-007" not in str(see(viewer))
            assert "AF-007" in str(see(reader))
        assert syncs.show.get("maintenance", by=viewer).redacted
        with pytest.raises(AccessDenied):
            syncs.show.report("maintenance", run.job_id, by=replace(viewer, needs=Role.READER))

    def test_samples_are_for_those_who_read_the_whole_source(self, syncs, sync, set_job, database, recorder) -> None:
        upto = Grant(role=Role.READER, scope=f"source:{SOURCE}", principal="carl", ceiling="UNCLASS")
        carl = called_by("carl", Role.READER)
        carl = replace(carl, principal=replace(carl.principal, grants=(upto,)))
        plan = syncs.plan("maintenance", asked(by=carl))
        report = SyncReport(run_number=1, mode=SyncMode.CHANGED, watermark="AF-007", warnings=("AF-007 is odd",))
        set_job(plan.job_id, **reported(report))
        with database.begin() as connection:
            changed = [{"field": "cost", "before": "1", "after": "AF-007"}]
            row = {"job_id": plan.job_id, "kind": "UPDATE", "item_id": "AF-007", "fields": changed}
            connection.execute(tables.sync_change.insert().values(row))
            connection.execute(text("UPDATE sync SET watermark = 'AF-007'"))
        job, changes = syncs.show.report("maintenance", plan.job_id, by=carl)
        assert (job.redacted, changes) == (True, [])
        assert "AF-007" not in str((job.report, job.spec))
        assert syncs.show.for_caller(syncs.show.get("maintenance"), by=carl).state.watermark == ""
        recorder.flush()
        assert len(audited(database, f"job:{plan.job_id}")) == 1
        rita = called_by("rita", Role.READER, (Role.READER, f"source:{SOURCE}"))
        assert "AF-007" in str(syncs.show.report("maintenance", plan.job_id, by=rita)[1])

    def test_a_report_has_its_samples_and_is_told_to_the_audit_log(
        self, syncs, sync, database, recorder, set_job
    ) -> None:
        plan = syncs.plan("maintenance", asked())
        with database.begin() as connection:
            for kind, item_id, changed in (
                ("UPDATE", "b", [{"field": "cost", "before": "1", "after": "2"}]),
                ("CREATE", "a", []),
            ):
                row = {"job_id": plan.job_id, "kind": kind, "item_id": item_id, "fields": changed}
                connection.execute(tables.sync_change.insert().values(row))
        job, changes = syncs.show.report("maintenance", plan.job_id)
        assert job.job_id == plan.job_id
        assert changes == [
            ItemChange(kind=ChangeKind.CREATE, item_id="a"),
            ItemChange(kind=ChangeKind.UPDATE, item_id="b", fields=(FieldChange(field="cost", before="1", after="2"),)),
        ]
        recorder.flush()
        assert len(audited(database, f"job:{plan.job_id}")) == 2
        for name, job_id in (("maintenance", "job-none"), ("nobody", plan.job_id)):
            with pytest.raises(NotFound):
                syncs.show.report(name, job_id)

    def test_due_times_come_newest_first(self, syncs, sync, database) -> None:
        with database.begin() as connection:
            row = "'maintenance', now() - make_interval(mins => n), 'MISSED', '', '', now()"
            connection.execute(text(f"INSERT INTO sync_fire SELECT {row} FROM generate_series(1, 5) n"))
        times, token = [], ""
        while True:
            page, token = syncs.show.fires("maintenance", page_size=2, page_token=token)
            times += [fire.due_time for fire in page]
            if not token:
                break
        assert times == sorted(times, reverse=True)
        assert len(times) == 5
