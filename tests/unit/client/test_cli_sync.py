"""`blade sync` against the fake."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from blade.v1 import job_service_pb2, sync_service_pb2
from blade.v1.job_pb2 import Job
from blade.v1.sync_pb2 import FieldChange, ItemChange, Sync, SyncRun, SyncSpec
from blade.v1.sync_report_pb2 import SyncCounts, SyncReport
from blade_client import errors
from blade_client.cli import main
from blade_client.testing import FakeBlade

ID = "job-00000000000000000001"


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with FakeBlade() as fake:
        fake.add_source("parts")

        def run(*words: str, code: int = 0) -> str:
            result = CliRunner().invoke(main, ["--server", fake.target, *words])
            assert result.exit_code == code, result.output
            return result.output

        run.fake = fake
        yield run


def found(job: Job, *changes: ItemChange):
    return sync_service_pb2.GetSyncReportResponse(job=job, changes=changes)


def ended(kind: str = "PLAN", status: str = "COMPLETED", **counts: int) -> Job:
    report = SyncReport(counts=SyncCounts(**counts), whole=True, version=12)
    if counts.get("withheld"):
        report.withheld_reason, report.withheld_detail = "MAX_DELETES", "7 deletes, at most 2 are allowed"
    return Job(job_id=ID, kind=kind, status=status, sync="keep", sync_report=report)


def answers(fake, rpc: str, job: Job, *changes: ItemChange) -> None:
    kind = getattr(sync_service_pb2, f"{rpc}Response")
    fake.on(rpc, kind(job=Job(job_id=ID, kind=job.kind, sync="keep")))
    fake.on("WatchJob", [job_service_pb2.WatchJobResponse(job=job)])
    fake.on("GetJob", job_service_pb2.GetJobResponse(job=job))
    fake.on("GetSyncReport", found(job, *changes))


def test_options_say_the_order(run):
    out = run(
        *["sync", "create", "keep", "--source", "parts", "--mode", "incremental", "--cursor", "seen", "--lag", "1h30m"],
        *["--cron", "30 2 * * *", "--time-zone", "Europe/Berlin", "--deletes", "DELETE", "--max-deletes", "5"],
        *["--metadata", "team=ops", "--max-errors", "0", "--notify", "on-call", "--notify", "ops", "--adopt"],
    )
    assert "blade sync run keep" in out
    (request,) = run.fake.asked("CreateSync")
    wanted = SyncSpec(
        source="parts",
        mode="INCREMENTAL",
        deletes="DELETE",
        adopt=True,
        metadata={"team": "ops"},
        notifications=["on-call", "ops"],
        cursor=SyncSpec.Cursor(column="seen", lag={"seconds": 5400}),
        schedule=SyncSpec.Schedule(cron="30 2 * * *", time_zone="Europe/Berlin"),
        guards=SyncSpec.Guards(max_deletes=5),
        limits={"max_errors": 0},
    )
    assert request.sync == Sync(name="keep", spec=wanted)


def test_an_update_changes_what_is_named_and_clears_what_is_said(run):
    run("sync", "create", "keep", "--source", "parts", "--cron", "0 1 * * *", "--max-deletes", "5", "--scope", "all")
    run("sync", "update", "keep", "--every", "15m", "--clear", "max-deletes", "--clear", "scope", "--reason", "trial")
    (request,) = run.fake.asked("UpdateSync")
    paths = ["schedule.every", "schedule.cron", "schedule.time_zone", "guards.max_deletes", "scope"]
    assert list(request.update_mask.paths) == [f"spec.{path}" for path in paths]
    assert (request.reason, request.sync.spec.schedule.every.seconds) == ("trial", 900)
    shown = json.loads(run("--json", "sync", "show", "keep"))["spec"]
    assert (shown["schedule"]["cron"], shown["schedule"]["every"], shown["scope"]) == ("", "900s", "")
    assert "Nothing to change" in run("sync", "update", "keep", code=2)
    assert "no such field" in run("sync", "update", "keep", "--clear", "colour", code=2)


def test_a_time_needs_a_unit(run):
    assert "15m" in run("sync", "create", "keep", "--source", "parts", "--every", "15", code=2)


def test_the_list_says_what_the_last_runs_did(run):
    last = SyncRun(status=Job.COMPLETED, report=SyncReport(counts=SyncCounts(created=3, unchanged=1200, withheld=2)))
    sync = Sync(name="keep", spec=SyncSpec(mode="CHANGED"), last_run=last, lag={"seconds": 7500}, late=True)
    run.fake.on("ListSyncs", sync_service_pb2.ListSyncsResponse(syncs=[sync]))
    line = run("sync", "list").splitlines()[1]
    assert line.split("  ")[0] == "keep"
    for words in ("CHANGED", "late", "2 h 05 min", "3 created, 1,200 unchanged, 2 deletes withheld"):
        assert words in line
    assert json.loads(run("--json", "sync", "list"))["syncs"][0]["lag"] == "7500s"


@pytest.mark.parametrize(
    ("counts", "code"),
    [({"unchanged": 4}, 0), ({"created": 1}, 10), ({"deleted": 1}, 10), ({"updated": 2, "withheld": 7}, 11)],
)
def test_a_plan_ends_with_what_there_is_to_do(run, counts, code):
    answers(run.fake, "PlanSync", ended(**counts))
    out = run("sync", "plan", "keep", code=code)
    assert ("blade sync apply-plan keep" in out) == bool(counts.keys() - {"unchanged"})
    assert ("7 deletes, at most 2" in out) == ("withheld" in counts)
    assert json.loads(run("--json", "sync", "plan", "keep", code=code))["job"]["jobId"] == ID


def test_a_plan_is_read_item_by_item(run):
    field = FieldChange(field="priority", before='"LOW"', after='"HIGH"')
    answers(
        run.fake,
        "PlanSync",
        ended(created=4, updated=1, deleted=1),
        ItemChange(kind="CREATE", item_id="P-1"),
        ItemChange(kind="UPDATE", item_id="P-2", fields=[field]),
        ItemChange(kind="DELETE", item_id="P-3\x1b[31m"),
        ItemChange(kind="REJECT", detail="no item id"),
    )
    lines = run("sync", "plan", "keep", code=10).splitlines()
    assert lines[:7] == [
        "  + P-1",
        "  ~ P-2",
        '      priority  "LOW" -> "HIGH"',
        "  - P-3\\x1b[31m",
        "  ! (a row without an id)   no item id",
        "  + ... and 3 more to create",
        "",
    ]
    assert lines[7] == "Plan of version 12 of the table: 4 to create, 1 to update, 1 to delete."


def test_a_plan_that_fails_says_why(run):
    job = ended(status="FAILED")
    job.error.message = "the table is gone"
    answers(run.fake, "PlanSync", job)
    assert "the table is gone" in run("sync", "plan", "keep", code=1)


def test_a_plan_need_not_be_waited_for(run):
    answers(run.fake, "PlanSync", ended(created=1))
    assert f"blade sync report keep {ID}" in run("sync", "plan", "keep", "--no-watch")
    assert run.fake.asked("WatchJob") == []


@pytest.mark.parametrize(
    ("counts", "repair", "failed", "code"),
    [
        ({"unchanged": 3}, False, 0, 0),
        ({"created": 1}, False, 0, 10),
        ({"created": 1, "updated": 1}, True, 0, 0),
        ({"created": 1}, True, 1, 10),
        ({"deleted": 1}, True, 0, 10),
    ],
)
def test_a_verification_ends_with_whether_they_are_equal(run, counts, repair, failed, code):
    job = ended("VERIFY", **counts)
    job.error_count = failed
    answers(run.fake, "VerifySync", job)
    out = run("sync", "verify", "keep", *(["--repair"] if repair else []), code=code)
    assert "missing" in out
    assert run.fake.asked("VerifySync")[0].repair is repair


def test_a_watched_run_ends_with_the_codes_of_jobs_and_says_what_was_withheld(run):
    answers(run.fake, "RunSync", ended("SYNC", created=2, withheld=7))
    out = run("sync", "run", "keep", "--whole", "--reason", "now", "--watch")
    assert " items sent" in out, "what is unchanged is in the catalog, too"
    assert "2 created" in out
    assert f"blade sync accept-deletes keep {ID}" in out
    assert (run.fake.asked("RunSync")[0].whole, run.fake.asked("RunSync")[0].reason) == (True, "now")
    answers(run.fake, "RunSync", ended("SYNC", "FAILED"))
    run("sync", "run", "keep", "--watch", code=1)


def test_what_else_starts_a_job(run):
    answers(run.fake, "ApplyPlan", ended("APPLY"))
    assert "blade job watch" in run("sync", "apply-plan", "keep", ID)
    answers(run.fake, "BackfillSync", ended("BACKFILL"))
    run("sync", "backfill", "keep", "--from", "2024-01-01", "--to", "2024-02-01", "--column", "seen")
    (asked,) = run.fake.asked("BackfillSync")
    assert (getattr(asked, "from"), asked.to, asked.column) == ("2024-01-01", "2024-02-01", "seen")
    run("sync", "backfill", "keep", code=2)
    answers(run.fake, "AcceptDeletes", ended("DELETE"))
    run("sync", "accept-deletes", "keep", ID, "--reason", "sold", "--force-empty")
    (asked,) = run.fake.asked("AcceptDeletes")
    assert (asked.job_id, asked.reason, asked.force_empty) == (ID, "sold", True)
    run("sync", "accept-deletes", "keep", ID, code=2)


def test_a_sync_is_steered_copied_and_deleted(run):
    run("sync", "create", "keep", "--source", "parts")
    assert "paused" in run("sync", "pause", "keep", "--reason", "window")
    assert "has no schedule" in run("sync", "resume", "keep")
    assert "anybody" in run("sync", "own", "keep")
    run("sync", "clone", "keep", "keep-2", "--destination", "lake")
    assert run.fake.asked("CloneSync")[0].spec == SyncSpec(destination="lake")
    assert "0 items stay" in run("sync", "delete", "keep")
    assert "blade sync list" in run("sync", "show", "keep", code=4)


def test_forgetting_needs_ids_or_all(run):
    run.fake.on("ResetSyncState", sync_service_pb2.ResetSyncStateResponse(items_forgotten=2))
    run("sync", "reset", "keep", code=2)
    run("sync", "reset", "keep", "P-1", "--all", code=2)
    assert "2 items" in run("sync", "reset", "keep", "P-1", "P-2")
    assert list(run.fake.asked("ResetSyncState")[0].item_ids) == ["P-1", "P-2"]
    run("sync", "reset", "keep", "--all")


def test_errors_speak_of_commands_and_options(run):
    busy = errors.Precondition("job 'j' writes", reason="SYNC_BUSY", metadata={"job_id": "j", "sync": "keep"})
    run.fake.on("RunSync", busy)
    assert "`blade job watch j`" in run("sync", "run", "keep", code=5)
    run.fake.on("AcceptDeletes", errors.Precondition("no rows; say `force_empty`, and all go", reason="SYNC_STATE"))
    assert "say --force-empty" in run("sync", "accept-deletes", "keep", ID, "--reason", "x", code=5)
