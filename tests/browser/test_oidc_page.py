"""Signing in at a real identity provider, in a real browser: from the page, for the command line; and `blade open`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from tests.support.access import HEADERS
from tests.support.databases import own_database
from tests.support.ports import free_port
from tests.support.real_provider import CLIENT_SECRET, real_provider
from tests.support.servers import Served

BLADE = [sys.executable, "-c", "from blade_client.cli import main; main()"]
pytestmark = pytest.mark.timeout(300)


class Site:
    """A server and the provider that it knows."""

    def __init__(self, issuer: str, port: int, database_url: str) -> None:
        self.issuer, self.database_url = issuer, database_url
        self.url = f"http://127.0.0.1:{port}"
        self.served = Served(
            "--json",
            DATABASE_URL=database_url,
            BLADE_HTTP_PORT=str(port),
            BLADE_PUBLIC_URL=self.url,
            BLADE_OIDC_ISSUER=issuer,
            BLADE_OIDC_AUDIENCE="cli",
            BLADE_OIDC_NAME="Ops",
            BLADE_OIDC_CLIENT_ID="page",
            BLADE_OIDC_CLIENT_SECRET=CLIENT_SECRET,
            BLADE_OIDC_CLI_CLIENT_ID="cli",
            BLADE_ADMINS="group:chiefs",
        )
        self.target = f"127.0.0.1:{self.served.said()['port']}"

    def told(self) -> list[tuple[str, ...]]:
        """Of the audit log: who did what."""
        engine = create_engine(self.database_url)
        with engine.begin() as connection:
            rows = connection.execute(text("SELECT principal, verb, outcome FROM audit_entry ORDER BY number")).all()
        engine.dispose()
        return [tuple(row) for row in rows]


@pytest.fixture(scope="module")
def site(_postgres: str, _migrated_template: str) -> Iterator[Site]:
    port = free_port()
    with (
        real_provider(f"http://127.0.0.1:{port}/session/oidc/callback") as issuer,
        own_database(_postgres, _migrated_template) as url,
    ):
        site = Site(issuer, port, url)
        yield site
        code, errors = site.served.stop()
        assert code == 0
        assert CLIENT_SECRET not in errors
        assert "code" not in errors, "of what browsers come back with nothing is logged"
        assert "Traceback" not in errors


@pytest.fixture
def context(chromium: Any, site: Site) -> Iterator[Any]:
    context = chromium.new_context(base_url=site.url)
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def expect() -> Any:
    from playwright.sync_api import expect

    return expect


@pytest.fixture
def at_provider(page: Any) -> Callable[[str], None]:
    """Signs in there under a name; what is asked next is for the test."""

    def sign_in(name: str) -> None:
        page.locator("input[name=login]").fill(name)
        page.locator("input[name=password]").fill("any")
        page.locator("button[type=submit]").click()

    return sign_in


def consent(page: Any) -> None:
    page.get_by_role("button", name="Continue").click()


def environment(tmp_path: Any, site: Site) -> dict[str, str]:
    """Of a user's commands."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BLADE_")}
    return own | {
        "XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data"),
        "BLADE_SERVER": site.target,
    }  # fmt: skip


def test_one_signs_in_there_comes_back_to_where_one_was_and_signs_out(site, page, context, at_provider, expect) -> None:
    page.goto("/#/access")
    page.get_by_role("link", name="Sign in with Ops").click()
    at_provider("chief-ann")
    consent(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Access")
    assert page.url == f"{site.url}/#/access"
    expect(page.locator("#who")).to_contain_text("chief-ann ADMIN")
    cookies = {cookie["name"]: cookie for cookie in context.cookies(site.url)}
    assert (cookies["blade_session"]["sameSite"], cookies["blade_session"]["httpOnly"]) == ("Strict", True)
    assert "blade_sign_in" not in cookies
    page.reload()
    expect(page.locator("#who")).to_contain_text("chief-ann")
    page.go_back()
    assert "code=" not in page.url, "the answer of the provider is nothing to come back to"
    page.goto("/")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert ("chief-ann", "SignIn", "DONE") in site.told()
    assert ("chief-ann", "SignOut", "DONE") in site.told()


def test_one_without_a_grant_is_known_and_sees_nothing(page, at_provider, expect) -> None:
    page.goto("/")
    page.get_by_role("link", name="Sign in with Ops").click()
    at_provider("newcomer")
    consent(page)
    expect(page.get_by_role("heading", name="Nothing to see yet")).to_be_visible()


def test_who_says_no_there_is_told_so_and_can_begin_again(page, at_provider, expect) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.goto("/")
    page.get_by_role("link", name="Sign in with Ops").click()
    at_provider("chief-eve")
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()
    expect(page.get_by_text("access_denied")).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_role("link", name="Back to the sign-in").click()
    expect(page.get_by_role("link", name="Sign in with Ops")).to_be_visible()


def test_an_answer_is_good_once_and_in_its_own_browser(site, page, context, chromium, at_provider, expect) -> None:
    page.goto("/")
    answers: list[str] = []
    page.on("request", lambda request: "/callback?" in request.url and answers.append(request.url))
    page.get_by_role("link", name="Sign in with Ops").click()
    kept = next(cookie for cookie in context.cookies(site.url) if cookie["name"] == "blade_sign_in")
    at_provider("chief-ann")
    consent(page)
    expect(page.locator("#who")).to_contain_text("chief-ann")
    context.clear_cookies()

    page.goto(answers[0])
    expect(page.get_by_text("begun more than ten minutes ago, in another browser")).to_be_visible()
    context.add_cookies([kept])
    page.goto(answers[0])
    expect(page.get_by_text("finished already, or begun too long ago (invalid_grant")).to_be_visible()
    context.add_cookies([kept])
    page.goto(re.sub("state=[^&]*", "state=other", answers[0]))
    expect(page.get_by_text("belongs to no sign-in of this browser")).to_be_visible()
    old = kept | {"value": re.sub(r"^\d+", lambda found: str(int(found[0]) - 601), kept["value"])}
    context.add_cookies([old])
    page.goto(answers[0])
    expect(page.get_by_text("begun more than ten minutes ago")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_command_signs_in_by_a_browser_elsewhere_and_renews_what_it_gets(
    site, page, at_provider, expect, tmp_path
) -> None:
    env = environment(tmp_path, site)
    login = subprocess.Popen([*BLADE, "login", "--oidc"], env=env, stdout=-1, stderr=-1, text=True)
    assert login.stderr is not None
    said = re.search(r"Open (\S+) in a browser, on any device, and enter the code (\S+) there", login.stderr.readline())
    assert said is not None
    assert said[1].startswith(site.issuer)
    page.goto(said[1])
    page.locator("input[name=user_code]").fill(said[2])
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Continue").click()  # this is the code that the device shows
    at_provider("chief-bob")
    consent(page)
    out, errors = login.communicate(timeout=60)
    assert login.returncode == 0, errors
    assert f"Signed in to {site.target} as chief-bob" in out

    (file,) = (tmp_path / "config" / "blade" / "profiles").glob("*.json")
    first = file.read_text()
    who = subprocess.run([*BLADE, "whoami"], env=env, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "chief-bob" in who
    # Its tokens live for 45 s and are renewed 30 s before: a clock that goes 20 s ahead is time enough.
    ahead = "import time; real = time.time; time.time = lambda: real() + 20; from blade_client.cli import main; main()"
    renewed = [sys.executable, "-c", ahead, "whoami"]
    who = subprocess.run(renewed, env=env, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "chief-bob" in who
    assert file.read_text() != first
    assert file.stat().st_mode & 0o777 == 0o600
    subprocess.run([*BLADE, "logout"], env=env, check=True, timeout=60, capture_output=True)
    assert not file.exists()


def test_blade_open_opens_the_page_once(site, page, context, expect, tmp_path) -> None:
    env = environment(tmp_path, site) | {"BLADE_TOKEN": HEADERS["authorization"].removeprefix("Bearer ")}
    leads_there = tmp_path / "browser"
    leads_there.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    leads_there.chmod(0o755)
    done = subprocess.run(
        [*BLADE, "open"],
        env=env | {"BROWSER": f"{leads_there} %s"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"Opened {site.url} in the browser" in done.stdout
    page.goto((tmp_path / "opened").read_text().strip())
    expect(page.locator("#toasts").get_by_text("You are signed in as admin, by blade open.")).to_be_visible()
    assert page.url == f"{site.url}/"
    expect(page.locator("#who")).to_contain_text("admin")

    printed = subprocess.run(
        [*BLADE, "open", "--print"], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    url = printed.stdout.strip()
    page.goto(url)
    expect(page.locator("#toasts").get_by_text("This browser is signed in as admin already.")).to_be_visible()
    context.clear_cookies()
    page.goto("about:blank")
    page.goto(url)
    expect(page.locator("#toasts").get_by_text("You are signed in as admin, by blade open.")).to_be_visible()
    context.clear_cookies()
    page.goto("about:blank")
    page.goto(url)
    expect(page.get_by_text("This code is not good any more")).to_be_visible()
    assert [entry for entry in site.told() if entry[1] in ("CreateSignInCode", "SignIn")][-4:] == [
        ("admin", "CreateSignInCode", "DONE"), ("admin", "SignIn", "DONE"),
        ("admin", "CreateSignInCode", "DONE"), ("admin", "SignIn", "DONE"),
    ]  # fmt: skip
