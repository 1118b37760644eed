"""The page of somebody who signs in: what it asks, what it shows to whom, and what it keeps to itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.browser.conftest import MemoryBlade, Stage, furnished
from tests.support.ports import own_address

from blade.v1 import audit_service_pb2, job_pb2
from blade.v1.access_service_pb2 import IdentityProvider

Job = job_pb2.Job
Entry = audit_service_pb2.AuditEntry
EVERYTHING = (("ADMIN", "*"), ("AUDITOR", "*"))


@pytest.fixture
def expect():
    from playwright.sync_api import expect

    return expect


@pytest.fixture
def stage(postgres_url: str) -> Iterator[Stage]:
    """One where people sign in."""
    stage = Stage(postgres_url)
    yield stage
    stage.close()


@pytest.fixture
def world(stage: Stage) -> MemoryBlade:
    return furnished(stage)


@pytest.fixture
def enter(stage: Stage, page: Any) -> Callable[..., None]:
    """Signs somebody with these roles in, at a place of the page."""

    def enter(path: str, *grants: tuple[str, str], name: str = "rita") -> None:
        page.goto(path)
        sign_in(page, stage.token(name, *grants))
        page.locator("#who").wait_for()

    return enter


def sign_in(page: Any, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


class TestSigningIn:
    def test_the_way_to_the_identity_provider_is_shown_where_there_is_one(self, world, page, expect):
        button = page.get_by_role("link", name="Sign in with")
        page.goto("/#/jobs?status=RUNNING")
        expect(page.get_by_label("Token")).to_be_focused()
        expect(button).to_have_count(0)
        world.provider = IdentityProvider(name="the <b>Ops</b>", page_url="https://blade.example.com/session/oidc")
        page.reload()
        expect(button).to_have_text("Sign in with the <b>Ops</b>")
        place = "https://blade.example.com/session/oidc?next=%2F%23%2Fjobs%3Fstatus%3DRUNNING"
        expect(button).to_have_attribute("href", place)
        expect(page.get_by_label("Token")).to_be_focused()

    def test_a_token_opens_the_page_where_one_wanted_to_go(self, stage, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto(f"/#/jobs/{job.job_id}")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        expect(page.get_by_label("Token")).to_be_focused()
        expect(page.get_by_role("navigation")).to_be_hidden()
        assert world.calls == [], "nothing is asked for before"
        sign_in(page, stage.token("rita", ("OPERATOR", "*")))
        expect(page.get_by_role("heading", level=1)).to_have_text(job.job_id)
        expect(page.locator("#who")).to_contain_text("rita OPERATOR")
        expect(page.get_by_label("Your name")).to_be_hidden()

    def test_the_token_is_kept_nowhere_and_stands_in_no_address(self, stage, world, page, context, expect):
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        token = stage.token("rita", ("READER", "*"))
        page.goto("/")
        sign_in(page, token)
        expect(page.get_by_text("No job yet.")).to_be_visible()
        assert not [address for address in addresses if token in address]
        stored = page.evaluate(
            "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])"
        )
        assert token not in stored
        assert "blade_session" not in stored, "no script can read the cookie"
        (cookie,) = context.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("blade_session", True, "Strict")
        assert token not in page.content()

    def test_a_wrong_token_is_said_at_its_field(self, world, page, expect):
        page.goto("/")
        sign_in(page, "blade_wrong")
        expect(page.get_by_role("alert").filter(has_text="not good")).to_be_visible()
        expect(page.get_by_label("Token")).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label("Token")).to_be_focused()

    def test_the_keyboard_alone_is_enough(self, stage, world, page, expect):
        page.goto("/")
        page.get_by_label("Token").wait_for()
        page.keyboard.type(stage.token("rita", ("READER", "*")))
        page.keyboard.press("Enter")
        expect(page.locator("#who")).to_contain_text("rita READER")

    def test_signing_out_ends_the_session_for_good(self, stage, world, page, context, expect, enter):
        enter("/", ("READER", "*"))
        (cookie,) = context.cookies()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("You are signed out.")).to_be_visible()
        assert context.cookies() == []
        context.add_cookies(
            [{"name": "blade_session", "value": cookie["value"], "url": f"http://127.0.0.1:{stage.port}"}]
        )
        page.reload()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    def test_a_session_that_ends_asks_again_and_goes_on_where_it_was(self, stage, world, page, expect, enter):
        job = world.add_job(Job.RUNNING, done=100)
        enter("/", ("READER", "*"))
        page.goto(f"/#/jobs/{job.job_id}")
        expect(page.get_by_role("heading", level=1)).to_have_text(job.job_id)
        page.goto("/#/")
        expect(page.get_by_role("link", name=job.job_id)).to_be_visible()
        stage.run("UPDATE access_token SET revoke_time = now()")
        expect(page.get_by_text("Your session is over. Sign in again.")).to_be_visible()
        expect(page.get_by_role("link", name=job.job_id)).to_have_count(0)
        sign_in(page, stage.token("olga", ("READER", "*")))
        expect(page.get_by_role("link", name=job.job_id)).to_be_visible()

    def test_another_tab_that_signed_in_anew_leaves_this_one_working(self, stage, world, page, context, expect, enter):
        job = world.add_job(Job.RUNNING, done=100)
        enter(f"/#/jobs/{job.job_id}", ("OPERATOR", "*"))
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        token = stage.token("olga", ("OPERATOR", "*"))
        answer = page.request.post(
            "/session", data={"token": token}, headers={"origin": f"http://127.0.0.1:{stage.port}"}
        )
        assert answer.ok
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("header.job .badge")).to_have_text("Paused")
        expect(page.locator(".history")).to_contain_text("by olga")

    def test_the_api_page_is_for_who_is_signed_in_and_sends_with_his_session(self, stage, world, page, expect):
        job = world.add_job(Job.RUNNING, done=100)
        page.goto("/docs#JobService_PauseJob")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        sign_in(page, stage.token("rita", ("OPERATOR", "*")))
        operation = page.locator("#JobService_PauseJob")
        operation.get_by_label("job_id (required)").fill(job.job_id)
        expect(operation.get_by_label("As a command")).to_have_text(re.compile(r"^blade auth header \| curl -H @- "))
        operation.get_by_role("button", name="Send").click()
        expect(operation.get_by_role("status")).to_have_text(re.compile("200 OK"))


class TestWhatOneMay:
    def test_who_may_only_look_gets_no_buttons_and_is_told_why(self, world, page, expect, enter):
        job = world.add_job(Job.RUNNING, done=100)
        enter("/", ("VIEWER", "*"))
        expect(page.get_by_role("link", name=job.job_id)).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text="Sorties")).to_be_visible()
        for name in ("Start a job", "Access", "Audit log"):
            expect(page.get_by_role("link", name=name)).to_have_count(0)
        expect(page.get_by_role("button", name="Test connection")).to_have_count(0)
        page.get_by_role("link", name=job.job_id).click()
        expect(page.get_by_text("To control this job you need the role OPERATOR on blade-maintenance.")).to_be_visible()
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()

    def test_a_role_on_one_source_counts_there_alone(self, world, page, expect, enter):
        mine, other = world.add_job(Job.RUNNING, "blade-sortie"), world.add_job(Job.RUNNING)
        enter("/", ("OPERATOR", "source:blade-sortie"), ("VIEWER", "*"))
        expect(page.locator("#who")).to_contain_text("OPERATOR of source blade-sortie, VIEWER")
        sorties, maintenance = (
            page.get_by_role("listitem").filter(has_text=text) for text in ("Sorties", "Maintenance")
        )
        expect(sorties.get_by_role("button", name="Test connection")).to_be_visible()
        expect(maintenance.get_by_role("button", name="Test connection")).to_have_count(0)
        page.goto(f"/#/jobs/{mine.job_id}")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.goto(f"/#/jobs/{other.job_id}")
        expect(page.get_by_text("you need the role OPERATOR on blade-maintenance")).to_be_visible()
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()

    def test_a_data_type_counts_for_its_sources(self, world, page, expect, enter):
        job = world.add_job(Job.RUNNING, "blade-sortie")
        enter(f"/#/jobs/{job.job_id}", ("OPERATOR", "data_type:sortie"))
        expect(page.get_by_role("button", name="Pause")).to_be_visible()

    def test_of_a_sync_there_is_what_the_role_allows(self, world, page, expect, enter):
        world.syncs.add("fleet")
        control = page.get_by_role("group", name="Control").get_by_role("button")
        enter("/#/syncs/fleet", ("VIEWER", "source:blade-maintenance"), name="vera")
        expect(page.get_by_text("you need the role OPERATOR on blade-maintenance")).to_be_visible()
        expect(control).to_have_count(0)
        expect(page.get_by_label("Item id")).to_be_hidden()
        page.get_by_role("button", name="Sign out").click()
        enter("/#/syncs/fleet", ("OPERATOR", "data_type:maintenance"), name="olaf")
        expect(control).to_have_text(["Run now", "Pause", "Plan", "Verify"])
        expect(page.get_by_role("link", name="Edit")).to_be_hidden()

    def test_a_reader_may_preview_and_is_told_what_starting_needs(self, world, page, expect, enter):
        enter("/#/start", ("READER", "*"))
        expect(page.get_by_role("button", name="Start the job")).to_be_hidden()
        expect(page.get_by_text("To start a job you need the role OPERATOR")).to_be_visible()
        page.get_by_label("SQL").fill("SELECT * FROM maintenance")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("heading", name="Preview: 9 items, 1 rejected")).to_be_focused()

    def test_what_is_redacted_is_said_to_be(self, world, page, expect, enter):
        """The server leaves it out; that there is nothing would be another story."""
        job = world.add_job(Job.COMPLETED, done=100, errors=3)
        world.add_errors(job, 3, 1, "", "")

        def redacted(route: Any) -> None:
            answer = route.fetch()
            found = answer.json()
            found["redacted"], found["spec"]["sql"] = True, ""
            for error in (error for summary in found["errorSummaries"] for error in summary["samples"]):
                error |= {"redacted": True, "itemId": "", "rowJson": "", "message": ""}
            route.fulfill(response=answer, body=json.dumps(found))

        page.route(f"**/jobs/{job.job_id}", redacted)
        page.route(f"**/jobs/{job.job_id}:watch*", lambda route: route.abort())
        enter(f"/#/jobs/{job.job_id}", ("VIEWER", "*"))
        expect(page.get_by_text("Not shown: it needs the role READER on blade-maintenance.")).to_be_visible()
        page.locator("details.reason summary").first.click()
        expect(page.locator("details.reason").get_by_text("needs the role READER")).to_have_count(3)

    def test_who_may_see_nothing_is_told_so(self, world, page, expect, enter):
        enter("/")
        expect(page.get_by_role("heading", name="Nothing to see yet")).to_be_visible()
        expect(page.locator("#who")).to_contain_text("no role yet")
        assert [name for name, _ in world.calls] == []


class TestAccess:
    def test_a_token_is_made_and_its_secret_shown_once(self, world, page, expect, enter):
        enter("/", *EVERYTHING, name="ada")
        page.get_by_role("navigation").get_by_role("link", name="Access").click()
        page.get_by_text("Make a token").first.click()
        page.get_by_label("Principal").fill("nightly")
        page.get_by_label("What for").fill("the nightly job")
        page.locator("#token-role").select_option("OPERATOR")
        page.locator("#token-scope").fill("source:blade-sortie")
        page.get_by_role("button", name="Make a token").click()
        secret = page.get_by_label("The token of nightly")
        expect(secret).to_be_focused()
        assert re.fullmatch(r"blade_[a-z0-9]{12}_[\w-]{43}", secret.input_value())
        row = page.get_by_role("table", name="Tokens").get_by_role("row").filter(has_text="nightly")
        expect(row).to_contain_text("by ada")
        expect(page.get_by_role("table", name="Grants").get_by_role("row").filter(has_text="nightly")).to_contain_text(
            "source:blade-sortie"
        )
        asked = next(request for name, request in world.calls if name == "CreateToken")
        assert (asked.lifetime.seconds, asked.description) == (90 * 86400, "the nightly job")
        value = secret.input_value()
        page.goto("/#/")
        page.goto("/#/access")
        expect(row).to_be_visible()
        expect(secret).to_be_hidden()
        assert value not in page.content()

    def test_what_is_refused_is_said_and_what_was_typed_stays(self, world, page, expect, enter):
        enter("/#/access", *EVERYTHING)
        page.get_by_text("Grant a role").first.click()
        page.get_by_label("Name", exact=True).fill("mia")
        page.locator("#grant-scope").fill("sources:x")
        page.get_by_role("button", name="Grant a role").click()
        expect(page.get_by_role("alert").filter(has_text="grant.scope: is 'sources:x'")).to_be_visible()
        expect(page.get_by_label("Name", exact=True)).to_have_value("mia")

    def test_grants_are_given_to_groups_and_taken_away(self, world, page, expect, enter):
        enter("/#/access", *EVERYTHING)
        page.get_by_text("Grant a role").first.click()
        page.locator("#grant-kind").select_option("group")
        page.get_by_label("Name", exact=True).fill("ops")
        page.locator("#grant-role").select_option("EDITOR")
        page.get_by_role("button", name="Grant a role").click()
        row = page.get_by_role("table", name="Grants").get_by_role("row").filter(has_text="group ops")
        expect(row).to_contain_text("EDITOR")
        row.get_by_role("button", name="Take EDITOR on * from ops").click()
        dialog = page.get_by_role("dialog", name="Take this grant away?")
        expect(dialog).to_contain_text("ops is no EDITOR on * any more.")
        dialog.get_by_label("Why").fill("left the team")
        dialog.get_by_role("button", name="Take it away").click()
        expect(row).to_have_count(0)
        asked = next(request for name, request in world.calls if name == "RevokeGrant")
        assert asked.reason == "left the team"

    def test_a_grant_goes_up_to_a_classification(self, world, page, expect, enter):
        enter("/#/access", *EVERYTHING)
        page.get_by_text("Grant a role").first.click()
        page.get_by_label("Name", exact=True).fill("mia")
        page.locator("#grant-role").select_option("READER")
        page.get_by_label("Up to").fill("CUI")
        page.get_by_role("button", name="Grant a role").click()
        row = page.get_by_role("table", name="Grants").get_by_role("row").filter(has_text="mia")
        expect(row).to_contain_text("CUI")
        asked = next(request for name, request in world.calls if name == "CreateGrant")
        assert asked.grant.ceiling == "CUI"

    def test_a_token_is_revoked_after_a_question(self, world, page, expect, enter):
        enter("/#/access", *EVERYTHING)
        page.get_by_text("Make a token").first.click()
        page.get_by_label("Principal").fill("nightly")
        page.get_by_role("button", name="Make a token").click()
        row = page.get_by_role("table", name="Tokens").get_by_role("row").filter(has_text="nightly")
        revoke = row.get_by_role("button", name="Revoke the token")
        revoke.click()
        page.keyboard.press("Escape")
        expect(revoke).to_be_visible()
        revoke.click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke it").click()
        expect(row).to_contain_text("revoked just now")
        expect(revoke).to_have_count(0)


class TestTheAuditLog:
    @pytest.fixture
    def entries(self, world: MemoryBlade) -> list[Any]:
        for number in range(1, 151):
            outcome = Entry.REFUSED if number % 50 == 0 else Entry.DONE
            entry = Entry(
                number=number, principal="olga" if number % 2 else "rita", kind="token", actor="<b>sam</b>",
                address="10.0.0.7:4711", method="blade.v1.JobService/CancelJob", object=f"job:job-{number}",
                reason="wrong query", outcome=outcome,
                detail="ACCESS_DENIED" if outcome == Entry.REFUSED else "",
            )  # fmt: skip
            entry.time.GetCurrentTime()
            world.audit.append(entry)
        return world.audit

    def test_it_is_listed_newest_first_page_by_page(self, entries, page, expect, enter):
        enter("/", ("AUDITOR", "*"))
        page.get_by_role("link", name="The audit log").click()
        rows = page.get_by_role("table", name="Entries").locator("tbody tr")
        expect(rows).to_have_count(100)
        expect(rows.first).to_contain_text("150")
        expect(rows.first).to_contain_text("rita (says: <b>sam</b>)")
        expect(rows.first).to_contain_text("Refused")
        expect(rows.first).to_contain_text("ACCESS_DENIED")
        page.get_by_role("button", name="Show older ones").click()
        expect(rows).to_have_count(150)
        expect(page.get_by_role("button", name="Show older ones")).to_be_hidden()

    def test_a_filter_is_part_of_the_address(self, entries, world, page, expect, enter):
        enter("/#/audit", ("AUDITOR", "*"))
        page.get_by_label("Who").fill("rita")
        page.get_by_label("How it ended").select_option("REFUSED")
        page.get_by_label("From").fill("2026-01-02T03:04")
        page.get_by_role("button", name="Show", exact=True).click()
        rows = page.get_by_role("table", name="Entries").locator("tbody tr")
        expect(rows).to_have_count(3)
        page.reload()
        expect(rows).to_have_count(3)
        expect(page.get_by_label("Who")).to_have_value("rita")
        asked = [request for name, request in world.calls if name == "ListAuditEntries"][-1]
        assert list(asked.outcomes) == [Entry.REFUSED]
        assert asked.after.seconds > 0

    def test_it_says_whether_it_is_whole(self, entries, world, page, expect, enter):
        enter("/#/audit", ("AUDITOR", "*"))
        page.get_by_role("button", name="Verify").click()
        expect(page.get_by_text("Intact: 150 entries, up to number 150, abab")).to_be_visible()
        world.audit_problem = "its hash is not that of its bytes"
        page.get_by_role("button", name="Verify").click()
        expect(page.get_by_text("Not intact, from number 2 on: its hash is not that of its bytes")).to_be_visible()


class TestForEverybody:
    PATHS = ("/", "/#/access", "/#/audit")

    def filled(self, world: MemoryBlade) -> None:
        world.add_job(Job.RUNNING, done=100)
        entry = Entry(
            number=1, principal="a" * 80, kind="token", address="10.0.0.7:4711", method="blade.v1.JobService/CancelJob",
            object="job:" + "x" * 80, reason="why not", outcome=Entry.FAILED, detail="ACCESS_DENIED",
        )  # fmt: skip
        entry.time.GetCurrentTime()
        world.audit.append(entry)

    def opened(self, page: Any, path: str) -> None:
        if path == "/#/access":
            for summary in page.locator("details.options summary").all():
                summary.click()
            page.get_by_label("Principal").fill("p" * 90)
            page.locator("#token-role").select_option("OPERATOR")
            page.get_by_role("button", name="Make a token").click()
            page.get_by_role("table", name="Grants").wait_for()
        elif path == "/#/audit":
            page.get_by_role("button", name="Verify").click()
            page.get_by_text("Intact").wait_for()

    @pytest.mark.parametrize("path", PATHS)
    def test_nothing_is_wider_than_a_phone(self, world, page, enter, path):
        page.set_viewport_size({"width": 375, "height": 780})
        self.filled(world)
        enter(path, *EVERYTHING, name="n" * 60)
        self.opened(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 375])
    @pytest.mark.parametrize("path", [None, *PATHS])
    def test_axe_finds_no_barrier(self, world, page, enter, path, scheme, width):
        from axe_playwright_python.sync_playwright import Axe

        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        if path is None:
            world.provider = IdentityProvider(name="Ops", page_url="https://blade.example.com/session/oidc")
            page.goto("/")
            page.get_by_role("link", name="Sign in with Ops").wait_for()
            sign_in(page, "wrong")
            page.get_by_role("alert").filter(has_text="not good").wait_for()
        else:
            self.filled(world)
            enter(path, *EVERYTHING)
            self.opened(page, path)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_where_authentication_is_off_the_page_says_so(context, page, expect):
    stage = Stage()
    try:
        page.goto(f"http://127.0.0.1:{stage.port}/")
        expect(page.get_by_role("complementary", name="Warnings")).to_contain_text("Authentication is off")
        expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
        expect(page.get_by_label("Your name")).to_be_visible()
    finally:
        stage.close()


def test_plaintext_is_warned_of_before_and_after_a_token_is_sent(postgres_url, page, expect):
    stage = Stage(postgres_url, host="0.0.0.0")
    try:
        page.goto(f"http://127.0.0.1:{stage.port}/")
        page.get_by_label("Token").wait_for()
        expect(page.get_by_text("This page came without TLS")).to_have_count(0)
        page.goto(f"http://{own_address()}:{stage.port}/")
        expect(page.get_by_text("This page came without TLS")).to_be_visible()
        sign_in(page, stage.token("rita", ("READER", "*")))
        expect(page.get_by_role("complementary", name="Warnings")).to_contain_text("BLADE speaks no TLS here.")
    finally:
        stage.close()
