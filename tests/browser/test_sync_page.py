"""Syncs on the page: as people look at them, run them, approve a plan and let deletes go."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser.conftest import MemoryBlade, Stage, furnished

from blade.v1 import error_reason_pb2, job_pb2, sync_pb2, sync_report_pb2

Job = job_pb2.Job
Report = sync_report_pb2.SyncReport
Counts = sync_report_pb2.SyncCounts
Spec = sync_pb2.SyncSpec
Change = sync_pb2.ItemChange
WORDS = "6 of 20 items are gone, 30 % of what the sync knows; max_delete_share is 5 %"
STALE = "plan 'job-2' is stale: run 4 has ended since; make a new plan"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def world(stage: Stage) -> MemoryBlade:
    """Three sources; what an earlier test had is gone."""
    blade = stage.world
    for kept in (blade.jobs, blade.errors, blade.calls, blade.syncs.syncs, blade.syncs.fires, blade.syncs.changes):
        kept.clear()
    blade.syncs.stale = ""
    return furnished(stage)


def expect(shown: Any) -> Any:
    """Imported when it is needed: where there is no browser these tests are left out, not broken."""
    from playwright.sync_api import expect as expected

    return expected(shown)


def row(page: Any, name: str) -> Any:
    return page.get_by_role("row").filter(has_text=name)


def withheld(world: MemoryBlade, reason: Any = Report.MAX_DELETE_SHARE) -> Any:
    """A sync whose last run withheld six deletes."""
    sync = world.syncs.add("fleet", spec=Spec(deletes=Spec.DELETE))
    report = Report(counts=Counts(updated=3, unchanged=11, withheld=6), withheld_reason=reason, withheld_detail=WORDS)
    job = world.syncs.add_job(sync, report=report, done=14)
    world.syncs.changes[job.job_id] = [Change(kind=Change.WITHHELD, item_id=f"MAINT-{n}") for n in range(6)]
    return job


def planned(world: MemoryBlade) -> Any:
    sync = world.syncs.add("fleet")
    job = world.syncs.add_job(sync, Job.PLAN, report=Report(counts=Counts(created=1, updated=250)), done=251)
    field = sync_pb2.FieldChange(field="priority", before='"LOW"', after='"<b>HIGH</b>"')
    world.syncs.changes[job.job_id] = [
        Change(kind=Change.CREATE, item_id="MAINT-9"),
        Change(kind=Change.UPDATE, item_id="MAINT-1", fields=[field, sync_pb2.FieldChange(field="note", after="1")]),
    ]
    return job


class TestTheList:
    def test_each_sync_says_how_it_stands_and_its_run_moves(self, stage, world, page):
        late = world.syncs.add("late-one", late=True, paused=True, pause_reason="the warehouse is moved")
        late.spec.max_age.seconds = 3600
        late.lag.seconds = 7200
        sync = world.syncs.add("fleet")
        world.syncs.add_job(sync, report=Report(counts=Counts(created=3, unchanged=1200, deleted=2)))
        job = world.syncs.add_job(sync, Job.SYNC, Job.RUNNING, done=100)
        page.goto("/#/syncs")
        expect(row(page, "fleet")).to_contain_text("3 created, 1,200 unchanged, 2 deleted")
        expect(row(page, "fleet")).to_contain_text("Run: 10 % of 1,000")
        stage.change(job, success_count=500)
        expect(row(page, "fleet")).to_contain_text("Run: 50 % of 1,000")
        expect(row(page, "late-one")).to_contain_text("Late: the last success is 2 h old, at most 1 h is asked for")
        expect(row(page, "late-one")).to_contain_text("the warehouse is moved")

    def test_without_a_sync_it_says_what_one_is(self, world, page):
        page.goto("/")
        page.get_by_role("link", name="Syncs", exact=True).click()
        expect(page.get_by_text("A sync is a standing order")).to_be_visible()
        page.get_by_role("link", name="Create one here").click()
        expect(page.get_by_role("heading", name="New sync")).to_be_focused()


class TestOneSync:
    def test_what_is_asked_its_runs_and_its_due_times_are_in_words(self, world, page):
        spec = Spec(deletes=Spec.DELETE, guards=Spec.Guards(max_delete_share=0.05), filter="priority = 'HIGH'")
        spec.schedule.cron, spec.schedule.time_zone = "30 2 * * *", "Europe/Berlin"
        sync = world.syncs.add("fleet", spec=spec)
        world.syncs.add_job(sync, report=Report(counts=Counts(created=3)))
        world.syncs.fires["fleet"] = [sync_pb2.SyncFire(outcome=sync_pb2.SyncFire.BLOCKED, detail="sam is no READER")]
        world.syncs.fires["fleet"][0].due_time.GetCurrentTime()
        page.goto("/#/syncs/fleet")
        expect(page.get_by_text("cron 30 2 * * *, Europe/Berlin")).to_be_visible()
        expect(page.get_by_text("held back if: more than 5 % of the items")).to_be_visible()
        expect(page.get_by_text("where priority = 'HIGH'")).to_be_visible()
        expect(page.locator("table.runs")).to_contain_text("3 created")
        expect(page.locator("table.fires")).to_contain_text("sam is no READER")

    def test_it_is_run_paused_and_resumed(self, stage, world, page):
        world.syncs.add("fleet")
        page.goto("/#/syncs/fleet")
        page.get_by_role("button", name="Run now").click()
        expect(page.get_by_role("link", name="Watch the job")).to_be_visible()
        expect(page.get_by_role("button", name="Run now")).to_be_hidden()
        expect(page.get_by_role("button", name="Pause")).to_be_focused()
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("dialog").get_by_label("Why").fill("a move")
        page.get_by_role("dialog").get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        assert ("PauseSync", "a move") in [(name, getattr(asked, "reason", "")) for name, asked in world.calls]

    def test_withheld_deletes_are_let_go_with_a_reason(self, world, page):
        job = withheld(world)
        page.goto("/#/syncs/fleet")
        expect(page.get_by_text(f"6 deletes were withheld: {WORDS}").first).to_be_visible()
        page.get_by_role("button", name="Accept deletes").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading")).to_have_text("Delete up to 6 items?")
        expect(dialog.get_by_role("listitem")).to_have_count(6)
        dialog.get_by_role("button", name="Delete them").click()
        expect(dialog).to_be_visible()  # it needs a reason
        dialog.get_by_label("Why").fill("the squadron is gone")
        dialog.get_by_role("button", name="Delete them").click()
        expect(page.get_by_text("Accepted deletes of the sync")).to_be_visible()
        (asked,) = [request for name, request in world.calls if name == "AcceptDeletes"]
        assert (asked.job_id, asked.reason, asked.force_empty) == (job.job_id, "the squadron is gone", False)

    def test_deletes_that_nobody_can_accept_have_no_button(self, world, page):
        withheld(world, Report.ROWS_MISSING)
        page.goto("/#/syncs/fleet")
        expect(page.get_by_text(f"6 deletes were withheld: {WORDS}").first).to_be_visible()
        expect(page.get_by_role("button", name="Accept deletes")).to_be_hidden()

    def test_an_item_is_looked_up(self, world, page):
        world.syncs.add("fleet")
        page.goto("/#/syncs/fleet")
        page.get_by_label("Item id").fill("MAINT-1")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Its last upload or reading failed")).to_be_visible()
        page.get_by_label("Item id").fill("MAINT-2")
        page.keyboard.press("Enter")
        expect(page.get_by_text("knows of no item 'MAINT-2'")).to_be_visible()


class TestPlans:
    def test_a_plan_is_made_read_and_applied(self, stage, world, page):
        sync = world.syncs.add("fleet")
        page.goto("/#/syncs/fleet")
        page.get_by_role("button", name="Plan", exact=True).click()
        expect(page.get_by_role("heading", name="Plan of fleet")).to_be_visible()
        job = next(reversed(world.jobs.values()))
        job.sync_report.counts.created = 1
        world.syncs.changes[job.job_id] = [Change(kind=Change.CREATE, item_id="MAINT-9")]
        stage.change(job, status=Job.COMPLETED)
        expect(row(page, "MAINT-9")).to_be_visible()
        page.get_by_role("button", name="Apply this plan").click()
        page.get_by_role("dialog").get_by_role("button", name="Apply").click()
        expect(page.get_by_text("Applied plan of the sync")).to_be_visible()
        assert sync.running_job_id in page.url

    def test_what_differs_is_shown_as_text_and_a_stale_plan_says_so(self, world, page):
        job = planned(world)
        world.syncs.stale = STALE
        page.goto(f"/#/syncs/fleet/reports/{job.job_id}")
        expect(row(page, "MAINT-1")).to_contain_text('priority: "LOW" → "<b>HIGH</b>"')
        expect(row(page, "MAINT-1")).to_contain_text("note: not there → 1")
        expect(page.get_by_text("the first 1 of 250")).to_be_visible()
        page.get_by_role("button", name="Apply this plan").click()
        page.get_by_role("dialog").get_by_role("button", name="Apply").click()
        expect(page.get_by_role("alert").get_by_text(STALE)).to_be_visible()

    def test_a_verification_offers_to_repair(self, world, page):
        sync = world.syncs.add("fleet")
        job = world.syncs.add_job(
            sync, Job.VERIFY, report=Report(counts=Counts(created=2, deleted=1), warnings=["2 extras were not checked"])
        )
        page.goto(f"/#/syncs/fleet/reports/{job.job_id}")
        expect(page.locator("[data-fact='missing there'] dd")).to_have_text("2")
        expect(page.get_by_text("2 extras were not checked")).to_be_visible()
        page.get_by_role("button", name="Verify again and repair").click()
        expect(page.get_by_role("progressbar")).to_be_visible()
        assert [asked.repair for name, asked in world.calls if name == "VerifySync"] == [True]


class TestJobs:
    def test_errors_are_saved_as_csv_without_formulas(self, world, page, tmp_path: Path):
        job = world.add_job(Job.COMPLETED, done=1000, errors=1002)
        world.add_errors(job, 1002, error_reason_pb2.ERROR_REASON_MISSING_CLASSIFICATION, "classification", '=1+1, "x"')
        page.goto(f"/#/jobs/{job.job_id}")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save all as CSV").click()
        download.value.save_as(tmp_path / "errors.csv")
        with (tmp_path / "errors.csv").open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == 1002
        assert (lines[-1]["item_id"], lines[-1]["reason"], lines[-1]["message"]) == (
            "MAINT-1002", "MISSING_CLASSIFICATION", '\'=1+1, "x"',
        )  # fmt: skip

    def test_a_job_is_started_again_as_it_was_asked_for(self, world, page):
        job = world.add_job(Job.COMPLETED, done=10)
        job.spec.metadata["campaign"] = "spring"
        page.goto(f"/#/jobs/{job.job_id}")
        page.get_by_role("link", name="Start one like it").click()
        expect(page.get_by_label("SQL")).to_have_value("SELECT * FROM maintenance WHERE priority = 'HIGH'")
        page.get_by_role("button", name="Start the job").click()
        expect(page.get_by_text("The job was started.").first).to_be_visible()
        (asked,) = [request for name, request in world.calls if name == "StartQueryJob"]
        assert (asked.source, asked.batch_size, dict(asked.metadata)) == (
            "blade-maintenance",
            100,
            {"campaign": "spring"},
        )


class TestTheForm:
    def test_what_is_wrong_is_said_at_its_field_then_it_is_created(self, world, page):
        page.goto("/#/new-sync")
        page.get_by_label("Name", exact=True).fill("sorties")
        page.get_by_label("Source").select_option("blade-sortie")
        page.get_by_label("Mode").select_option("INCREMENTAL")
        page.get_by_label("Read again from before").fill("soon")
        page.get_by_role("button", name="Create the sync").click()
        expect(page.locator("#cursor-lag-error")).to_contain_text("soon is not a time")
        page.get_by_label("Read again from before").fill("15 min")
        page.get_by_role("button", name="Create the sync").click()
        expect(page.locator("#cursor-column-error")).to_have_text("is required")
        expect(page.get_by_label("Cursor column")).to_be_focused()
        page.get_by_label("Cursor column").fill("updated_at")
        page.get_by_label("Held back above this share").fill("2.5")
        page.get_by_role("button", name="Create the sync").click()
        expect(page.get_by_role("heading", name="sorties")).to_be_visible()
        spec = world.syncs.syncs["sorties"].spec
        assert (spec.cursor.column, spec.cursor.lag.seconds, spec.guards.max_delete_share) == ("updated_at", 900, 0.025)

    def test_a_change_keeps_what_the_form_does_not_show(self, world, page):
        sync = world.syncs.add("fleet", spec=Spec(scope="ours"))
        sync.spec.schedule.every.seconds = 5400
        sync.spec.schedule.jitter.seconds = 30
        page.goto("/#/syncs/fleet/edit")
        expect(page.get_by_label("Or every")).to_have_value("90 min")
        page.get_by_label("Or every").fill("2 h")
        page.get_by_role("button", name="Save the changes").click()
        expect(page.get_by_text("every 2 h; up to 30 s later")).to_be_visible()
        assert sync.spec.scope == "ours"
        assert next(request.sync.etag for name, request in world.calls if name == "UpdateSync") == "e1"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_no_barrier_and_nothing_is_wider_than_a_phone(world, page, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    job = withheld(world)
    world.syncs.fires["fleet"] = [sync_pb2.SyncFire(outcome=sync_pb2.SyncFire.MISSED)]
    world.syncs.fires["fleet"][0].due_time.GetCurrentTime()
    late = world.syncs.add("late-one", late=True, paused=True)
    late.spec.max_age.seconds = 3600
    world.syncs.add_job(late, Job.SYNC, Job.RUNNING, done=100)
    plan = world.syncs.add_job(late, Job.PLAN, report=Report(counts=Counts(updated=1), warnings=["a word"]))
    field = sync_pb2.FieldChange(field="priority", before='"LOW"', after='"HIGH"')
    world.syncs.changes[plan.job_id] = [Change(kind=Change.UPDATE, item_id="MAINT-1", fields=[field])]
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    shown = {
        "/#/syncs": "late-one",
        "/#/syncs/fleet": "MISSED".capitalize(),
        f"/#/syncs/late-one/reports/{plan.job_id}": "MAINT-1",
        f"/#/jobs/{job.job_id}": "What it did",
        "/#/new-sync": "When it runs",
    }
    for path, words in shown.items():
        page.goto(path)
        expect(page.get_by_text(words).first).to_be_visible()
        if path == "/#/syncs/fleet":
            page.get_by_role("button", name="Accept deletes").click()
            expect(page.get_by_role("dialog")).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        page.keyboard.press("Escape")
