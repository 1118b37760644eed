"""Signing in at a provider, as a browser sees it: out, back, and what becomes of answers that are not good."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import pytest
import requests
from pydantic import SecretStr
from tests.support.access import ADMIN_TOKEN
from tests.support.loops import LoopThread
from tests.support.oidc import AUDIENCE, FakeProvider

from blade_server.core.access.door import Door
from blade_server.core.access.sessions import Sessions
from blade_server.core.audit.recorder import Recorder
from blade_server.core.audit.refusals import Refusals
from blade_server.model.policy import AccessPolicy, ListenPolicy, OidcClient, OidcPolicy, WebPolicy
from blade_server.oidc import Provider
from blade_server.storage.access import AccessStore
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.sessions import SessionStore
from blade_server.web import oidc
from blade_server.web.app import Web


class Site:
    """The HTTP side, the provider, and what the audit log is told."""

    def __init__(self, fake: FakeProvider, url: str, *, required: bool = True, page: bool = True) -> None:
        self.fake = fake
        self.database = Database(url, pool_size=4)
        client = OidcClient(
            client_id="page", client_secret=SecretStr("s3cret"), redirect_uri="http://x/back", scopes=("openid",)
        )
        policy = OidcPolicy(issuer=fake.issuer, audience=AUDIENCE, page=client if page else None)
        self.provider = Provider(policy)
        self.provider.start()
        stored = SessionStore(self.database)
        door = Door(AccessPolicy(required=required, oidc=policy), AccessStore(self.database), self.provider, stored)
        self.recorder = Recorder(AuditStore(self.database))
        sessions = Sessions(door, stored, self.provider.code_flow)
        self._loop = LoopThread()
        web = WebPolicy(listen=ListenPolicy(), trusted_proxies=(ip_network("127.0.0.1"),))
        self.web = Web("unix:/nowhere", web, sessions, Refusals(self.recorder), door_key="key", checks=tuple)
        self.url = f"http://127.0.0.1:{self._loop.run(self.web.start())}"

    def close(self) -> None:
        self._loop.run(self.web.stop(0.1))
        self._loop.close()
        self.provider.stop()
        self.database.close()

    def told(self) -> list[tuple[str, ...]]:
        self.recorder.flush()
        names = ("principal", "kind", "method", "outcome", "detail")
        columns = ", ".join(f"content::jsonb ->> '{name}'" for name in names)
        with self.database.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(f"SELECT {columns} FROM audit_entry").all()]


class Browser:
    """Follows nothing by itself."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.site.url + path, allow_redirects=False, timeout=60, **options)

    def begin(self, place: str = "/") -> str:
        """Where it is sent."""
        answer = self.get(f"/session/oidc?next={quote(place, safe='')}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def back(self, **said: str) -> requests.Response:
        return self.get("/session/oidc/callback", params=said)

    @property
    def who(self) -> Any:
        answer = self.get("/session")
        return answer.json()["principal"] if answer.ok else None


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider().running() as fake:
        yield fake


@pytest.fixture
def site_of(fake: FakeProvider, postgres_url: str) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(**how: bool) -> Site:
        made.append(Site(fake, postgres_url, **how))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(site_of: Callable[..., Site]) -> Site:
    return site_of()


@pytest.fixture
def browser(site: Site) -> Browser:
    return Browser(site)


def words(answer: requests.Response) -> str:
    found = re.search(r"<p>(.*?)</p>", answer.text)
    assert found is not None
    return html.unescape(found[1])


def cookies(answer: requests.Response) -> dict[str, str]:
    """Name -> the whole line."""
    raw = answer.raw.headers.getlist("set-cookie")
    return {line.partition("=")[0]: line for line in raw}


def test_who_comes_back_has_a_session_and_a_page_that_goes_on(site: Site, browser: Browser) -> None:
    answer = browser.back(**site.fake.approve(browser.begin("/#/jobs/job-1"), groups=["crew"]))
    assert answer.status_code == 200, "no redirect: a strict cookie is not sent along with one from another site"
    assert '<meta http-equiv="refresh" content="0; url=/#/jobs/job-1">' in answer.text
    assert "You are signed in as ann" in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"
    set_ = cookies(answer)
    assert "; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict" in set_["blade_session"]
    assert set_["blade_sign_in"].startswith("blade_sign_in=; Path=/; Max-Age=0")
    assert browser.who == "ann"
    assert site.told() == [("ann", "jwt", "web/SignIn", "DONE", "at the identity provider")]


def test_what_a_browser_keeps_meanwhile_is_for_no_script_and_for_ten_minutes(site: Site, browser: Browser) -> None:
    answer = browser.get("/session/oidc")
    line = cookies(answer)["blade_sign_in"]
    assert line.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax")
    assert answer.headers["location"].startswith(f"{site.fake.issuer}/auth?")


def test_over_tls_both_cookies_are_for_tls_and_for_this_host_alone(site: Site, browser: Browser) -> None:
    over_tls = {"x-forwarded-proto": "https"}
    out = browser.get("/session/oidc", headers=over_tls)
    line = cookies(out)["__Host-blade_sign_in"]
    assert line.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
    said = site.fake.approve(out.headers["location"])
    plain = browser.get("/session/oidc/callback", params=said, headers={"cookie": line.partition(";")[0]})
    assert plain.status_code == 401, "what is for TLS does not count without"
    back = browser.get("/session/oidc/callback", params=said, headers=over_tls | {"cookie": line.partition(";")[0]})
    assert back.status_code == 200
    assert cookies(back)["__Host-blade_session"].endswith("; HttpOnly; SameSite=Strict; Secure")


@pytest.mark.parametrize(
    ("begun_s_ago", "good"), [(0, True), (595, True), (605, False), (100_000, False), (-30, True), (-120, False)]
)
def test_a_cookie_that_is_over_is_none_whatever_the_browser_thinks(
    site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch, begun_s_ago: int, good: bool
) -> None:
    now = time.time()
    monkeypatch.setattr(oidc.time, "time", lambda: now - begun_s_ago)
    said = site.fake.approve(browser.begin())
    monkeypatch.setattr(oidc.time, "time", lambda: now)
    answer = browser.back(**said)
    assert (answer.status_code, browser.who) == ((200, "ann") if good else (401, None))
    if not good:
        assert words(answer).startswith("This sign-in was begun more than ten minutes ago, in another browser")
        assert site.fake.posted == []


def test_an_answer_counts_in_the_browser_that_began_and_once(site: Site, browser: Browser) -> None:
    said = site.fake.approve(browser.begin())
    thief = Browser(site)
    thief.begin()
    assert words(thief.back(**said)) == "This answer belongs to no sign-in of this browser (state); begin again."
    assert words(thief.back(**said)).startswith("This sign-in was begun more than ten minutes ago"), "it has to begin"
    kept = {"cookie": f"blade_sign_in={browser.session.cookies['blade_sign_in']}"}
    assert browser.back(**said).status_code == 200
    again = browser.back(**said)
    assert (again.status_code, "begun more than" in words(again)) == (401, True)
    again = Browser(site).get("/session/oidc/callback", params=said, headers=kept)
    assert "finished already" in words(again)
    assert {entry[3] for entry in site.told()} == {"DONE", "REFUSED"}


def test_a_refusal_is_told_in_plain_words_that_can_be_no_markup(site: Site, browser: Browser) -> None:
    browser.begin()
    state = browser.session.cookies["blade_sign_in"].split(".")[1]
    answer = browser.back(state=state, error="access_denied", error_description="<script>alert(1)</script>")
    assert answer.status_code == 401
    assert "<script" not in answer.text
    assert "you were not let in there, or said no (access_denied, <script>" in words(answer)
    assert 'href="/"' in answer.text
    assert browser.who is None
    assert site.told() == [("", "nobody", "", "REFUSED", "the identity provider refused")]


def test_failures_are_told_the_audit_log_once_a_minute(site: Site, browser: Browser) -> None:
    for _ in range(5):
        browser.back(code="x", state="y")
        requests.post(f"{site.url}/session", json={"token": ADMIN_TOKEN}, timeout=60)
        requests.post(f"{site.url}/session", json={"code": "x" * 43}, timeout=60)
    told = site.told()
    assert len(told) == 3
    assert {entry[3] for entry in told} == {"REFUSED"}
    assert not [entry for entry in told if ADMIN_TOKEN in "".join(entry)]


@pytest.mark.parametrize(
    "place",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "/a\\b", "\\\\evil", "javascript:alert(1)",
     "/\t/evil.example", "/\n", " /x", "evil", "", "/" + "x" * 2000, "/\u00e9"],
)  # fmt: skip
def test_nobody_is_sent_to_another_site(site: Site, browser: Browser, place: str) -> None:
    answer = browser.back(**site.fake.approve(browser.begin(place)))
    assert '<meta http-equiv="refresh" content="0; url=/">' in answer.text


@pytest.mark.parametrize("place", ["/docs", "/?a=b&c=%22#/jobs?status=RUNNING", '/"><script>'])
def test_one_comes_back_to_where_one_was(site: Site, browser: Browser, place: str) -> None:
    answer = browser.back(**site.fake.approve(browser.begin(place)))
    assert f'content="0; url={html.escape(place)}"' in answer.text


@pytest.mark.parametrize("cookie", ["", "x", "1.2.3.4.5", f"{'9' * 12}.{'a' * 43}.{'a' * 43}.{'a' * 64}.", "a" * 4000])
def test_a_cookie_that_was_made_up_is_none(site: Site, browser: Browser, cookie: str) -> None:
    answer = browser.get("/session/oidc/callback?code=a&state=b", headers={"cookie": f"blade_sign_in={cookie}"})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")


@pytest.mark.parametrize("place", ["a", "Ly9ldmlsLmV4YW1wbGU"], ids=["no base64", "//evil.example"])
def test_a_place_that_was_made_up_in_it_is_none_either(site: Site, browser: Browser, place: str) -> None:
    said = site.fake.approve(browser.begin())
    kept = browser.session.cookies.pop("blade_sign_in").split(".")
    cookie = {"cookie": f"blade_sign_in={'.'.join([*kept[:4], place])}"}
    answer = browser.get("/session/oidc/callback", params=said, headers=cookie)
    assert 'url=/">' in answer.text


def test_what_can_be_no_answer_is_refused(site: Site, browser: Browser) -> None:
    assert browser.get("/session/oidc/callback?state=a&state=b").status_code == 400
    assert browser.get(f"/session/oidc/callback?state={'x' * 9000}").status_code == 400
    for verb in ("POST", "HEAD"):
        answer = browser.session.request(verb, f"{site.url}/session/oidc/callback", timeout=60)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_a_provider_that_is_away_is_said_to_be(site: Site, browser: Browser) -> None:
    said = site.fake.approve(browser.begin())
    site.fake.says = "500"
    answer = browser.back(**said)
    assert answer.status_code == 503
    assert words(answer) == "The identity provider does not answer as it should; try again later."
    assert browser.who is None


def test_who_comes_back_too_often_has_to_wait(site: Site, browser: Browser) -> None:
    browser.begin()
    kept = browser.session.cookies.pop("blade_sign_in")
    path = f"/session/oidc/callback?code=x&state={kept.split('.')[1]}"
    codes = [browser.get(path, headers={"cookie": f"blade_sign_in={kept}"}).status_code for _ in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert len(site.fake.posted) == 10


@pytest.mark.parametrize("how", [{"page": False}, {"required": False}])
def test_where_it_is_not_set_up_nobody_is_sent_anywhere(site_of: Callable[..., Site], how: dict[str, bool]) -> None:
    browser = Browser(site_of(**how))
    answer = browser.get("/session/oidc")
    assert (answer.status_code, words(answer)) == (400, "Nobody signs in at an identity provider here.")
    assert "location" not in answer.headers
