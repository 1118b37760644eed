"""Signing in over HTTP, with a real server: one door for REST, gRPC and the page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import grpc
import pytest
import requests
from sqlalchemy import create_engine, text
from tests.support.access import ADMIN_TOKEN, HEADERS, METADATA
from tests.support.databases import own_database
from tests.support.nouns import a_source, a_spec
from tests.support.servers import Served
from tests.support.waiting import wait_until

from blade.v1 import access_service_pb2, access_service_pb2_grpc
from blade_server.core.access.tokens import hash_of, new_token
from blade_server.storage.codec import source_document, spec_document

REMEMBERED_S = 5.0


class Site:
    """A server behind a proxy that it trusts: this test."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.served = Served("--json", DATABASE_URL=database_url, BLADE_TRUSTED_PROXIES="127.0.0.1")
        self.said = self.served.said()
        self.url = f"http://127.0.0.1:{self.said['http_port']}"
        self._addresses = (f"192.0.2.{number}" for number in count(1))

    def browser(self) -> Browser:
        return Browser(self.url, next(self._addresses))

    def run(self, statement: str, **values: Any) -> None:
        engine = create_engine(self.database_url)
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()

    def token(self, principal: str, role: str) -> str:
        token_id, token = new_token()
        self.run(
            "INSERT INTO access_token (token_id, principal, hash, create_time) VALUES (:id, :principal, :hash, now())",
            id=token_id, principal=principal, hash=hash_of(token),
        )  # fmt: skip
        self.run(
            "INSERT INTO access_grant (grant_id, principal, role, scope, create_time)"
            " VALUES (:id, :principal, :role, '*', now()) ON CONFLICT DO NOTHING",
            id=token_id, principal=principal, role=role,
        )  # fmt: skip
        return token


class Browser:
    """Keeps cookies, and says the CSRF token once it is signed in."""

    def __init__(self, url: str, address: str) -> None:
        self.url, self.address, self.csrf = url, address, ""
        self.session = requests.Session()
        self.session.trust_env = False

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        own = {"x-forwarded-for": self.address} | ({"x-blade-csrf": self.csrf} if self.csrf else {})
        headers = own | options.pop("headers", {})
        return self.session.request(method, self.url + path, headers=headers, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def sign_in(self, token: str, **options: Any) -> requests.Response:
        answer = self.call("POST", "/session", json={"token": token}, **options)
        if answer.ok:
            self.csrf = answer.json()["csrf"]
        return answer

    @property
    def cookie(self) -> str:
        return self.session.cookies.get("blade_session") or ""


@pytest.fixture(scope="module")
def site(_postgres: str, _migrated_template: str) -> Iterator[Site]:
    with own_database(_postgres, _migrated_template) as url:
        site = Site(url)
        yield site
        known = site.browser()
        known.get("/jobs", headers=HEADERS | {"x-forwarded-for": f"6.6.6.6, {known.address}"})
        code, errors = site.served.stop()
        assert code == 0
        assert f"ListJobs OK {known.address}" in re.sub(r" [\d.]+ ms", "", errors)
        for secret in (ADMIN_TOKEN, "blade_session=", "x-blade-csrf"):
            assert secret not in errors


@pytest.fixture
def browser(site: Site) -> Browser:
    return site.browser()


@pytest.fixture
def serve(postgres_url: str) -> Iterator[Callable[..., str]]:
    """A server of the test's own, as told; its HTTP address."""
    running: list[Served] = []

    def serve(**changes: str) -> str:
        running.append(Served("--json", DATABASE_URL=postgres_url, **changes))
        return f"http://127.0.0.1:{running[-1].said()['http_port']}"

    yield serve
    for served in running:
        served.stop()


def message(answer: requests.Response) -> str:
    return str(answer.json()["error"]["message"])


class TestSigningIn:
    def test_a_token_becomes_a_cookie_that_no_script_and_no_other_site_gets(self, site, browser):
        answer = browser.sign_in(site.token("rita", "READER"))
        assert answer.status_code == 200
        assert answer.json().items() >= {"principal": "rita", "signInNeeded": True, "warnings": []}.items()
        name, *attributes = answer.headers["set-cookie"].split("; ")
        assert name.startswith("blade_session=")
        assert attributes == ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"]
        assert browser.cookie not in answer.text
        who = browser.get("/access/whoami").json()
        assert (who["principal"], who["kind"]) == ("rita", "session")
        assert [grant["role"] for grant in who["grants"]] == ["READER"]
        shown = browser.get("/session").json()
        assert shown["csrf"] == browser.csrf
        assert shown["expireTime"] == answer.json()["expireTime"]

    def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_only(self, site, browser):
        over_tls = {"x-forwarded-proto": "https"}
        header = browser.sign_in(site.token("rita", "READER"), headers=over_tls).headers["set-cookie"]
        assert header.startswith("__Host-blade_session=")
        assert header.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure")
        cookie = {"cookie": header.partition(";")[0]}
        assert browser.get("/session", headers=over_tls | cookie).status_code == 200
        assert browser.get("/session", headers=cookie).status_code == 401
        assert browser.get("/session", headers={"cookie": cookie["cookie"].removeprefix("__Host-")}).status_code == 200

    @pytest.mark.parametrize("token", ["wrong", "blade_aaaaaaaaaaaa_" + "x" * 43, ADMIN_TOKEN[:-1] + "_"], ids=[*"abc"])
    def test_a_wrong_token_is_refused_and_not_repeated(self, browser, token):
        answer = browser.sign_in(token)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert token not in answer.text
        assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize(
        "body", ["", "[]", "{}", '{"token": 1}', '{"token": " "}', "token=x", '{"token": "' + "x" * 20000 + '"}']
    )
    def test_what_holds_no_token_is_refused(self, browser, body):
        answer = browser.call("POST", "/session", data=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400

    def test_no_form_can_sign_anybody_in(self, browser):
        assert browser.call("POST", "/session", data={"token": ADMIN_TOKEN}).status_code == 415
        foreign = {"origin": "https://evil.example"}
        assert browser.sign_in(ADMIN_TOKEN, headers=foreign).status_code == 403
        assert browser.sign_in(ADMIN_TOKEN, headers={"sec-fetch-site": "cross-site"}).status_code == 403

    def test_an_address_that_tries_too_often_has_to_wait(self, site):
        one, other = site.browser(), site.browser()
        codes = [one.sign_in("wrong").status_code for _ in range(11)]
        assert codes == [401] * 10 + [429]
        assert int(one.sign_in(ADMIN_TOKEN).headers["retry-after"]) in range(1, 7)
        assert other.sign_in(ADMIN_TOKEN).status_code == 200

    def test_other_verbs_are_refused_by_name(self, browser):
        answer = browser.call("PUT", "/session")
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, POST")


class TestASession:
    def test_changes_carry_its_own_csrf_token(self, site, browser):
        browser.sign_in(site.token("olga", "OPERATOR"))
        right, other = browser.csrf, site.browser()
        other.sign_in(ADMIN_TOKEN)
        for wrong in ("", "x", other.csrf):
            browser.csrf = wrong
            for method, path in (
                ("POST", "/jobs/job-x:cancel"),
                ("DELETE", "/session"),
                ("DELETE", "/configure/blade/x"),
            ):
                answer = browser.call(method, path, json={} if method == "POST" else None)
                assert answer.status_code == 403
                assert "x-blade-csrf" in message(answer)
        browser.csrf = right
        answer = browser.call("POST", "/jobs/job-x:cancel", json={})
        assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")

    def test_a_cookie_and_a_token_together_are_refused(self, browser):
        browser.sign_in(ADMIN_TOKEN)
        answer = browser.get("/jobs", headers=HEADERS)
        assert answer.status_code == 400
        assert "authorization" in message(answer)

    def test_each_sign_in_has_a_new_id_and_ends_the_one_before(self, site, browser):
        browser.sign_in(ADMIN_TOKEN)
        first = browser.cookie
        assert browser.get("/jobs").status_code == 200
        browser.csrf = ""
        browser.sign_in(ADMIN_TOKEN)
        assert browser.cookie != first
        assert browser.get("/jobs").status_code == 200
        assert site.browser().get("/jobs", headers={"cookie": f"blade_session={first}"}).status_code == 401

    def test_signing_out_ends_it_on_the_spot(self, site, browser):
        browser.sign_in(ADMIN_TOKEN)
        cookie = browser.cookie
        answer = browser.call("DELETE", "/session")
        assert (answer.status_code, answer.content) == (204, b"")
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert browser.cookie == ""
        assert site.browser().get("/jobs", headers={"cookie": f"blade_session={cookie}"}).status_code == 401

    def test_it_ends_soon_after_its_token_is_revoked(self, site, browser):
        token = site.token("rene", "VIEWER")
        browser.sign_in(token)
        assert browser.get("/jobs").status_code == 200
        site.run("UPDATE access_token SET revoke_time = now() WHERE hash = :hash", hash=hash_of(token))
        wait_until(lambda: browser.get("/jobs").status_code == 401, REMEMBERED_S)

    def test_the_roles_are_those_of_its_token(self, site, browser):
        browser.sign_in(site.token("vera", "VIEWER"))
        answer = browser.call("POST", "/jobs/blade/query/start", json={"sql": "SELECT 1"})
        assert (answer.status_code, answer.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
        assert "OPERATOR" in message(answer)

    def test_who_has_no_session_is_told_how_to_sign_in(self, browser):
        answer = browser.get("/session")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert browser.get("/session", headers=HEADERS).json()["principal"] == "admin"


class TestOneDoor:
    """Only the process itself says who calls over its own socket."""

    def test_a_client_of_grpc_cannot_say_whose_session_it_is(self, site, browser):
        browser.sign_in(ADMIN_TOKEN)
        with grpc.insecure_channel(f"127.0.0.1:{site.said['port']}") as channel:
            stub = access_service_pb2_grpc.AccessServiceStub(channel)
            for door in ("", "x", "key"):
                forged = (("blade-door", door), ("blade-session", browser.cookie), ("blade-peer", "127.0.0.1:1"))
                with pytest.raises(grpc.RpcError) as refused:
                    stub.WhoAmI(access_service_pb2.WhoAmIRequest(), metadata=forged, timeout=60)
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
                who = stub.WhoAmI(access_service_pb2.WhoAmIRequest(), metadata=(*forged, *METADATA), timeout=60)
                assert who.kind == "admin"

    def test_a_client_of_http_cannot_either(self, site, browser):
        browser.sign_in(ADMIN_TOKEN)
        forged = {"blade-door": "x", "blade-session": browser.cookie, "blade-peer": "10.0.0.1:1"}
        assert site.browser().get("/jobs", headers=forged).status_code == 401
        # One that speaks to the socket's own side of the metadata in other spellings.
        assert site.browser().get("/jobs", headers={"Blade-Session": browser.cookie}).status_code == 401

    def test_rest_without_a_token_is_refused_before_it_is_read(self, browser):
        for path in ("/jobs", "/configure/blade", "/access/whoami", "/jobs/x:watch"):
            answer = browser.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.json()["error"]["details"][0]["reason"] == "UNAUTHENTICATED"


class TestTheContract:
    def test_it_is_shown_to_those_who_are_signed_in(self, site, browser):
        assert browser.get("/openapi.json").status_code == 401
        assert browser.get("/openapi.json", headers=HEADERS).json()["openapi"] == "3.1.0"
        signs_in = browser.get("/docs")
        assert (signs_in.status_code, signs_in.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert "main.js" in signs_in.text
        browser.sign_in(site.token("vera", "VIEWER"))
        assert browser.get("/openapi.json").status_code == 200
        assert "docs.js" in browser.get("/docs").text

    def test_or_to_everybody_where_that_is_wanted(self, serve):
        url = serve(BLADE_OPEN_CONTRACT="true")
        assert requests.get(f"{url}/openapi.json", timeout=60).status_code == 200
        assert "docs.js" in requests.get(f"{url}/docs", timeout=60).text
        assert requests.get(f"{url}/jobs", timeout=60).status_code == 401


def test_where_nobody_signs_in_cookies_of_other_servers_mean_nothing(serve):
    """Browsers send what a server on another port of this machine has set."""
    url, cookie = serve(BLADE_AUTH="off"), {"cookie": "blade_session=another-servers"}
    shown = requests.get(f"{url}/session", headers=cookie, timeout=60).json()
    assert (shown["signInNeeded"], shown["csrf"]) == (False, "")
    assert "Authentication is off" in shown["warnings"][0]
    answer = requests.post(f"{url}/jobs/x:cancel", json={}, headers=cookie, timeout=60)
    assert answer.status_code == 404
    answer = requests.post(f"{url}/session", json={"token": ADMIN_TOKEN}, timeout=60)
    assert answer.status_code == 400
    assert "authentication is off" in message(answer)


@pytest.mark.parametrize("end", ["UPDATE access_token SET revoke_time = now()", "DELETE FROM web_session"])
def test_a_stream_ends_with_the_session_that_it_was_opened_in(postgres_url, serve, end):
    url = serve(BLADE_MAX_RUNNING_JOBS="0", BLADE_TRUSTED_PROXIES="127.0.0.1")
    browser = Browser(url, "192.0.2.1")
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        source, spec = json.dumps(source_document(a_source())), json.dumps(spec_document(a_spec()))
        connection.execute(
            text(
                "INSERT INTO job (job_id, source, data_type, source_json, spec, plan, status, create_time, update_time)"
                " VALUES ('job-1', 'x', 'x', :source, :spec, '{}', 'PENDING', now(), now())"
            ),
            {"source": source, "spec": spec},
        )
    browser.sign_in(ADMIN_TOKEN)
    with browser.get("/jobs/job-1:watch", headers={"accept": "text/event-stream"}, stream=True) as answer:
        lines = answer.iter_lines()
        assert any(line.startswith(b"data: ") for line in lines)
        with engine.begin() as connection:
            connection.execute(text(end))
        assert b"event: failure" in lines
        assert b'"UNAUTHENTICATED"' in next(lines)
    engine.dispose()
