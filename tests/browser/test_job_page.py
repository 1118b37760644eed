"""The job page as people use it."""

from __future__ import annotations

import re

import pytest

from blade.v1 import cost_pb2, error_reason_pb2, job_pb2

Job = job_pb2.Job
MISSING = error_reason_pb2.ERROR_REASON_MISSING_CLASSIFICATION
REJECTED = error_reason_pb2.ERROR_REASON_CATALOG_REJECTED


@pytest.fixture
def expect():
    from playwright.sync_api import expect

    return expect


def row(page, job):
    return page.get_by_role("row").filter(has_text=job.job_id)


def fact(page, name):
    return page.locator(f"[data-fact='{name}'] dd")


class TestTheList:
    def test_jobs_move_and_new_ones_come_on_top_without_a_reload(self, stage, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto("/")
        expect(row(page, job)).to_contain_text("10 % of 1,000")
        expect(page.locator("#link")).to_have_text("Live")
        stage.change(job, success_count=450, error_count=5, items_per_second=120.0)
        expect(row(page, job)).to_contain_text("45 % of 1,000, 5 failed")
        expect(row(page, job)).to_contain_text("120/s")
        newer = world.add_job(Job.PENDING, total=None)
        expect(page.get_by_role("row").nth(1)).to_contain_text(newer.job_id)
        expect(row(page, newer).get_by_text("Pending")).to_be_visible()

    def test_why_nothing_moves_is_said(self, world, page, expect):
        job = world.add_job(Job.RUNNING, wait_reason=Job.CATALOG_DOWN)
        page.goto("/")
        expect(row(page, job)).to_contain_text("Catalog down")

    def test_a_filter_shows_only_jobs_of_that_kind(self, world, page, expect):
        failed, running = world.add_job(Job.FAILED), world.add_job(Job.RUNNING)
        page.goto("/")
        page.get_by_role("link", name="Failed", exact=True).click()
        expect(row(page, failed)).to_be_visible()
        expect(row(page, running)).to_have_count(0)

    def test_a_job_that_completed_with_errors_is_amber_and_has_a_filter_of_its_own(self, world, page, expect):
        clean, flawed = world.add_job(Job.COMPLETED, done=100), world.add_job(Job.COMPLETED, done=100, errors=1)
        failed = world.add_job(Job.FAILED, done=100, errors=1)
        page.goto("/")
        expect(row(page, clean).locator(".badge")).to_have_text("Completed")
        expect(row(page, flawed).locator(".badge")).to_have_text("Completed with errors")
        colours = [row(page, job).locator(".badge").evaluate("e => getComputedStyle(e).color") for job in
                   (clean, flawed, failed)]  # fmt: skip
        assert len(set(colours)) == 3
        page.get_by_role("link", name="Completed with errors", exact=True).click()
        expect(row(page, clean)).to_have_count(0)
        expect(row(page, failed)).to_have_count(0)
        expect(row(page, flawed)).to_be_visible()

    def test_older_jobs_come_when_asked_for(self, world, page, expect):
        jobs = [world.add_job(Job.COMPLETED, done=1000) for _ in range(230)]
        page.goto("/")
        expect(page.locator("tbody tr")).to_have_count(200)
        page.get_by_role("button", name="Show more").click()
        expect(row(page, jobs[0])).to_be_visible()
        expect(page.get_by_role("button", name="Show more")).to_be_hidden()

    def test_without_jobs_it_says_so(self, world, page, expect):
        page.goto("/")
        expect(page.get_by_text("No job yet.")).to_be_visible()

    def test_a_lost_server_is_said_and_found_again(self, stage, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto("/")
        expect(page.locator("#link")).to_have_text("Live")
        stage.stop_serving()
        try:
            expect(page.locator("#link")).to_have_text("No connection")
        finally:
            stage.serve_again()
        stage.change(job, success_count=700)
        expect(row(page, job)).to_contain_text("70 %")
        expect(page.locator("#link")).to_have_text("Live")

    def test_three_hundred_moving_jobs_leave_the_page_smooth(self, stage, world, page, expect):
        jobs = [world.add_job(Job.RUNNING) for _ in range(300)]
        page.goto("/")
        page.get_by_role("button", name="Show more").click()
        expect(page.locator("tbody tr")).to_have_count(300)
        world.calls.clear()
        page.evaluate(
            """() => {
                window.longest = 0;
                new PerformanceObserver((list) => {
                    for (const task of list.getEntries()) longest = Math.max(longest, task.duration);
                }).observe({ entryTypes: ["longtask"] });
            }"""
        )
        for turn in range(1, 6):
            for job in jobs:
                stage.change(job, success_count=turn * 100, items_per_second=float(turn))
            expect(row(page, jobs[0])).to_contain_text(f"{turn * 10} % of")
        # A busy machine is allowed for; a page that builds its rows anew takes several times as long.
        assert page.evaluate("longest") < 250
        names = [name for name, _ in world.calls]
        assert set(names) <= {"ListJobs", "ListSources", "ListSourceCosts"}, "one poll for all, nothing for single jobs"
        assert len(names) < 60

    def test_focus_stays_where_it_is_while_the_list_moves(self, stage, world, page, expect):
        job = world.add_job(Job.RUNNING)
        page.goto("/")
        link = page.get_by_role("link", name=job.job_id)
        link.focus()
        newer = world.add_job(Job.RUNNING)
        stage.change(job, success_count=500)
        expect(row(page, newer)).to_be_visible()
        expect(row(page, job)).to_contain_text("50 %")
        expect(link).to_be_focused()

    def test_a_hidden_page_asks_for_nothing(self, world, page, expect):
        world.add_job(Job.RUNNING)
        page.goto("/")
        expect(page.locator("tbody tr")).to_have_count(1)
        hide(page, hidden=True)
        page.wait_for_timeout(200)  # what was under way comes in
        before = len(world.calls)
        page.wait_for_timeout(1500)  # that nothing happens takes time to see
        assert len(world.calls) == before
        hide(page, hidden=False)
        newer = world.add_job(Job.RUNNING)
        expect(row(page, newer)).to_be_visible()


def hide(page, *, hidden):
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


class TestSources:
    def test_stats_and_what_is_switched_off_are_shown(self, world, page, expect):
        world.sources["blade-maintenance"].stats.item_count = 128334
        cost = cost_pb2.Cost(statements=1, warehouse_ms=7300)
        world.costs = [cost_pb2.SourceCost(source="blade-maintenance", cost=cost)]
        page.goto("/")
        card = page.get_by_role("listitem").filter(has_text="BLADE Maintenance Data")
        expect(card).to_contain_text("128,334")
        expect(card).to_contain_text("main.blade.blade_maintenance_data")
        expect(card).to_contain_text("7 s, 1 statement")
        expect(page.get_by_role("listitem").filter(has_text="Logistics")).to_contain_text("Off")

    def test_a_connection_that_works(self, world, page, expect):
        page.goto("/")
        card = page.get_by_role("listitem").filter(has_text="Sorties")
        card.get_by_role("button", name="Test connection").click()
        expect(card).to_contain_text("The connection works.")
        expect(card.locator("[data-outcome=PASSED]")).to_have_count(7)

    def test_a_connection_that_does_not_names_step_and_reason(self, world, page, expect):
        world.failing.add("blade-sortie")
        page.goto("/")
        card = page.get_by_role("listitem").filter(has_text="Sorties")
        card.get_by_role("button", name="Test connection").click()
        expect(card.locator("[data-outcome=FAILED]")).to_contain_text("Table")
        expect(card).to_contain_text("table main.blade.nothing is not there")
        expect(card.locator("[data-outcome=NOT_RUN]")).to_have_count(2)


class TestOneJob:
    def test_it_moves_to_its_end(self, stage, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100, items_per_second=50.0)
        job.estimated_completion.GetCurrentTime()
        job.estimated_completion.seconds += 18
        page.goto(f"/#/jobs/{job.job_id}")
        bar = page.get_by_role("progressbar", name="Progress")
        expect(bar).to_have_attribute("aria-valuetext", "10 %, 100 of 1,000")
        expect(fact(page, "Rate")).to_have_text("50/s")
        expect(fact(page, "Ends")).to_contain_text("in 1")
        expect(fact(page, "Warehouse")).to_have_text("\N{EN DASH}")
        job.cost.MergeFrom(cost_pb2.Cost(statements=3, warehouse_ms=192_000))
        stage.change(job, success_count=400, error_count=50, current_operation="Processing batch 5/10")
        expect(bar).to_have_attribute("aria-valuenow", "45")
        expect(page.get_by_text("Processing batch 5/10")).to_be_visible()
        expect(fact(page, "Failed")).to_have_text("50")
        expect(fact(page, "Warehouse")).to_have_text("3 min 12 s, 3 statements")
        stage.change(job, success_count=950, status=Job.COMPLETED)
        expect(page.locator("header.job .badge")).to_have_text("Completed with errors")
        expect(page.locator("#said")).to_have_text("The job is completed with errors now.")
        calls = [name for name, _ in world.calls]
        assert calls.count("WatchJob") == 1, "a final job is not watched again"

    def test_the_rate_is_drawn(self, stage, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100, items_per_second=50.0)
        page.goto(f"/#/jobs/{job.job_id}")
        expect(fact(page, "Rate")).to_have_text("50/s")
        for rate in (80.0, 110.0, 140.0):
            stage.change(job, items_per_second=rate, success_count=job.success_count + 50)
            expect(fact(page, "Rate")).to_have_text(f"{rate:.0f}/s")
        picture = page.locator("figure svg[role=img]")
        expect(picture).to_have_attribute("aria-label", re.compile("now 140/s, at most 140/s"))
        assert picture.locator("path.line").get_attribute("d").count("L") >= 3

    def test_why_it_waits_is_said_in_full(self, world, page, expect):
        job = world.add_job(
            Job.RUNNING, wait_reason=Job.RETRY_BACKOFF, wait_detail="503 from the catalog, again in 8 s"
        )
        page.goto(f"/#/jobs/{job.job_id}")
        expect(page.get_by_text("Waiting: retry backoff. 503 from the catalog, again in 8 s")).to_be_visible()

    def test_pause_and_resume_keep_the_name_of_who_did_it(self, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto(f"/#/jobs/{job.job_id}")
        page.get_by_label("Your name").fill("Zoë")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("header.job .badge")).to_have_text("Paused")
        expect(page.locator(".history")).to_contain_text("Paused")
        expect(page.locator(".history")).to_contain_text("by Zoe")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("header.job .badge")).to_have_text("Running")
        assert job.status == Job.RUNNING

    def test_cancel_asks_first_and_keeps_the_reason(self, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto(f"/#/jobs/{job.job_id}")
        page.get_by_role("button", name="Cancel").click()
        dialog = page.get_by_role("dialog", name="Cancel this job for good?")
        dialog.get_by_role("button", name="Let it run").click()
        expect(dialog).to_be_hidden()
        assert job.status == Job.RUNNING
        page.get_by_role("button", name="Cancel").click()
        dialog.get_by_label("Why").fill("wrong query")
        page.keyboard.press("Enter")
        expect(page.locator("header.job .badge")).to_have_text("Cancelled")
        expect(page.locator(".history")).to_contain_text("wrong query")

    def test_escape_leaves_the_job_alone(self, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto(f"/#/jobs/{job.job_id}")
        page.get_by_role("button", name="Cancel").click()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert job.status == Job.RUNNING

    def test_retry_leads_to_the_new_job(self, world, page, expect):
        job = world.add_job(Job.COMPLETED, done=1000, errors=45)
        page.goto(f"/#/jobs/{job.job_id}")
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()
        page.get_by_role("button", name="Retry failed").click()
        expect(page.get_by_role("heading", level=1)).not_to_have_text(job.job_id)
        expect(page.get_by_role("link", name=job.job_id)).to_be_visible()

    def test_a_refused_action_is_said_and_nothing_breaks(self, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto(f"/#/jobs/{job.job_id}")
        page.get_by_role("button", name="Pause").wait_for()
        world.failing.add("PauseJob")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("alert").filter(has_text="PostgreSQL does not answer")).to_be_visible()
        expect(page.get_by_role("button", name="Pause")).to_be_enabled()

    def test_errors_by_reason_with_samples_and_all_rows_page_by_page(self, world, page, expect):
        job = world.add_job(Job.COMPLETED, done=1000, errors=70)
        world.add_errors(job, 60, MISSING, "classification", "classification is null in this row")
        world.add_errors(job, 10, REJECTED, "", "422 unknown tail number")
        page.goto(f"/#/jobs/{job.job_id}")
        reason = page.locator("details.reason").filter(has_text="Missing classification")
        expect(reason.locator("summary").first).to_contain_text("60 · 85 %")
        reason.locator("summary").first.click()
        expect(reason.get_by_role("row")).to_have_count(6)
        reason.get_by_text("Show", exact=True).first.click()
        expect(reason.locator("pre").first).to_contain_text('"note": "<b>not bold</b>"')
        assert page.locator("b").count() == 0
        rows = page.locator(".all-rows tbody tr")
        page.get_by_role("button", name="Show all failing rows").click()
        expect(rows).to_have_count(50)
        page.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(70)
        expect(page.get_by_text("70 of 70 failing rows shown")).to_be_visible()
        expect(page.get_by_role("button", name="Show more")).to_be_hidden()

    def test_a_failed_job_says_why(self, world, page, expect):
        job = world.add_job(Job.FAILED, done=10)
        job.error.reason = error_reason_pb2.ERROR_REASON_CATALOG_DENIED
        job.error.message = "the catalog refused the credentials; set BLADE_CATALOG_TOKEN"
        page.goto(f"/#/jobs/{job.job_id}")
        expect(page.get_by_role("region", name="Why it failed")).to_contain_text("set BLADE_CATALOG_TOKEN")

    def test_an_unknown_job_is_said(self, world, page, expect):
        page.goto("/#/jobs/job-none")
        expect(page.get_by_role("alert").filter(has_text="no job has the id 'job-none'")).to_be_visible()

    def test_the_stream_is_taken_up_again_after_the_server_was_away(self, stage, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto(f"/#/jobs/{job.job_id}")
        expect(page.get_by_text("10 % of 1,000")).to_be_visible()
        stage.stop_serving()
        try:
            expect(page.locator("#link")).to_have_text("No connection")
        finally:
            stage.serve_again()
        stage.change(job, success_count=500)
        expect(page.get_by_text("50 % of 1,000")).to_be_visible()


class TestStarting:
    def test_a_preview_shows_items_and_rejected_rows_and_starts_nothing(self, world, page, expect):
        page.goto("/")
        page.get_by_role("navigation").get_by_role("link", name="Start a job").click()
        page.get_by_label("SQL").fill("SELECT * FROM maintenance")
        page.get_by_label("Rows to preview").fill("4")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("heading", name="Preview: 3 items, 1 rejected")).to_be_focused()
        expect(page.get_by_role("row").filter(has_text="MAINT-AF-001-2024")).to_contain_text(
            "<script>alert(1)</script>"
        )
        expect(page.get_by_role("row").filter(has_text="MAINT-AF-999")).to_contain_text("classification is null")
        assert world.jobs == {}

    def test_a_job_is_started_as_asked_and_shown(self, world, page, expect):
        page.goto("/#/start?source=blade-sortie")
        expect(page.get_by_label("Source")).to_have_value("blade-sortie")
        page.get_by_label("SQL").fill("SELECT * FROM sortie WHERE status = 'DONE'")
        page.get_by_text("Options").click()
        page.get_by_label("Items per second, at most").fill("2.5")
        page.get_by_label("Skip items that the catalog has already").check()
        page.get_by_role("button", name="Start the job").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("job-")
        asked = next(request for name, request in world.calls if name == "StartQueryJob")
        assert (asked.source, asked.items_per_second, asked.skip_existing) == ("blade-sortie", 2.5, True)
        assert len(asked.request_id) == 32
        assert not asked.HasField("batch_size")

    def test_trying_again_after_a_failure_is_the_same_request(self, world, page, expect):
        world.failing.add("StartQueryJob")
        page.goto("/#/start")
        page.get_by_label("SQL").fill("SELECT 1")
        page.get_by_role("button", name="Start the job").click()
        expect(page.get_by_role("alert").filter(has_text="PostgreSQL does not answer")).to_be_visible()
        world.failing.clear()
        page.get_by_role("button", name="Start the job").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("job-")
        first, second = [request.request_id for name, request in world.calls if name == "StartQueryJob"]
        assert first == second

    def test_another_query_is_another_request(self, world, page, expect):
        world.failing.add("StartQueryJob")
        page.goto("/#/start")
        for sql in ("SELECT 1", "SELECT 2"):
            page.get_by_label("SQL").fill(sql)
            page.get_by_role("button", name="Start the job").click()
            expect(page.get_by_role("alert").filter(has_text="PostgreSQL does not answer")).to_be_visible()
        first, second = [request.request_id for name, request in world.calls if name == "StartQueryJob"]
        assert first != second

    def test_bad_sql_is_said_and_what_was_typed_stays(self, world, page, expect):
        page.goto("/#/start")
        page.get_by_label("SQL").fill("DROP TABLE maintenance")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_text("DROP is not a SELECT")).to_be_visible()
        expect(page.get_by_label("SQL")).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label("SQL")).to_be_focused()
        expect(page.get_by_label("SQL")).to_have_value("DROP TABLE maintenance")


class TestForEverybody:
    def test_the_keyboard_alone_is_enough_to_pause_a_job(self, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto("/")
        link = page.get_by_role("link", name=job.job_id)
        link.wait_for()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        press_until_focused(page, "Tab", link)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        press_until_focused(page, "Tab", page.get_by_role("button", name="Pause"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Resume")).to_be_focused()
        assert job.status == Job.PAUSED

    @pytest.mark.parametrize("path", ["/", "/#/jobs/{job}", "/#/start", "/docs"])
    def test_nothing_is_wider_than_a_phone(self, world, page, expect, path):
        page.set_viewport_size({"width": 360, "height": 780})
        job = filled(world)
        show(page, path.format(job=job.job_id))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 390])
    @pytest.mark.parametrize("path", ["/", "/#/jobs/{job}", "/#/start", "/docs"])
    def test_axe_finds_no_barrier(self, world, page, path, scheme, width):
        from axe_playwright_python.sync_playwright import Axe

        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        job = filled(world)
        show(page, path.format(job=job.job_id))
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def press_until_focused(page, key, target):
    for _ in range(60):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{target} was not reached by {key}")


def filled(world):
    """A world in which every part of the page has something to show. Returns the job with the most."""
    for status in (Job.PENDING, Job.RUNNING, Job.PAUSED, Job.COMPLETED, Job.FAILED, Job.CANCELLED):
        world.add_job(status, done=300, errors=10)
    world.add_job(Job.RUNNING, wait_reason=Job.CATALOG_DOWN, wait_detail="503, again in 8 s")
    job = world.add_job(Job.FAILED, done=1000, errors=60)
    job.error.message = "the catalog refused the credentials"
    world.add_errors(job, 60, MISSING, "classification", "classification is null in this row; " + "x" * 100)
    return job


def show(page, path):
    """The page with everything on it that can be opened."""
    page.goto(path)
    if path == "/":
        page.locator("tbody tr").first.wait_for()
        if not page.locator("details.sources[open]").count():
            page.locator("details.sources > summary").click()
        page.get_by_role("button", name="Test connection").first.click()
        page.locator("[data-outcome]").first.wait_for()
    elif "jobs" in path:
        page.get_by_role("button", name="Show all failing rows").click()
        page.locator(".all-rows tbody tr").first.wait_for()
        page.locator("details.reason summary").first.click()
        page.locator("details.reason details summary").first.click()
    elif "start" in path:
        page.get_by_text("Options").click()
        page.get_by_role("button", name="Preview").click()
        page.get_by_role("heading", name="Preview").wait_for()
    else:
        page.locator("details.operation > summary").nth(1).click()
        page.locator(".opened").wait_for()
