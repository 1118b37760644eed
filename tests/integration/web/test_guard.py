from __future__ import annotations

import contextlib
import socket

import pytest
from tests.support.ports import own_address
from tests.support.web import open_web

from blade_server.model.policy import ListenPolicy

EVERYWHERE = ["/", "/docs", "/openapi.json", "/static/main.js", "/jobs/job-1", "/nothing"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""]
)
def test_a_foreign_host_header_is_refused_on_loopback(rest, backend, host):
    for path in EVERYWHERE:
        assert rest.get(path, headers={"host": host}).status_code == 421
    assert backend.asked == []


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "127.1.2.3", "blade.localhost"]
)
def test_names_of_this_machine_are_served(rest, host):
    assert rest.get("/jobs/job-1", headers={"host": host}).status_code == 200


@pytest.fixture
def open_elsewhere(rest):
    """A server that listens on all addresses; gives how it answers a Host."""
    opened = []

    def open_(**policy):
        web = open_web(rest.target, ListenPolicy(host="0.0.0.0"), **policy)
        port = rest.do(web.start())
        opened.append(web)
        return lambda host, at="127.0.0.1": rest.session.get(
            f"http://{at}:{port}/jobs/job-1", headers={"host": host}, timeout=60
        )

    yield open_
    for web in opened:
        rest.do(web.stop(0))


def test_a_server_that_others_reach_answers_to_its_own_names_only(open_elsewhere):
    ask = open_elsewhere(allowed_hosts=frozenset({"blade.example"}))
    for host in ("BLADE.example", "blade.example:8443", "localhost", "127.0.0.1:80", "127.1.2.3"):
        assert ask(host, at="127.0.0.2" if host == "127.1.2.3" else "127.0.0.1").status_code == 200
    for host in ("evil.example", "x.blade.example", "10.9.8.7"):
        answer = ask(host)
        assert answer.status_code == 421
        assert "BLADE_ALLOWED_HOSTS" in answer.json()["error"]["message"]


def test_its_own_address_is_that_which_the_connection_came_in_on(open_elsewhere):
    mine = own_address()
    assert open_elsewhere()(f"{mine}:8080", at=mine).status_code == 200
    assert open_elsewhere()(f"{mine}:8080").status_code == 421


def test_every_name_is_served_where_that_is_wanted(open_elsewhere):
    assert open_elsewhere(allowed_hosts=frozenset({"*"}))("whatever.example").status_code == 200


@pytest.mark.parametrize("size", [40 << 10, 1 << 20])
def test_headers_that_are_too_long_are_answered_so(rest, size):
    with socket.create_connection(("127.0.0.1", rest.port), timeout=60) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"x" * size + b"\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_a_change_sent_by_another_site_is_refused(rest, backend, headers):
    assert rest.post("/jobs/job-1:cancel", {}, headers=headers).status_code == 403
    assert backend.asked == []


def test_a_change_sent_by_the_page_itself_is_served(rest):
    assert rest.post("/jobs/job-1:cancel", {}, headers={"origin": rest.url}).status_code == 200
    assert rest.post("/jobs/job-1:cancel", {}, headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_another_site_may_link_here_but_not_read_or_cause_queries(rest, backend):
    foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert rest.get("/blade/maintenance", headers=foreign).status_code == 403
    assert backend.asked == []
    assert rest.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_has_the_headers_of_the_guard(rest, path):
    headers = rest.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if path in ("/", "/docs", "/static/main.js") else "no-store")


def test_no_other_site_is_let_in_by_cors(rest):
    answer = rest.call(
        "OPTIONS", "/jobs", headers={"origin": "https://evil.example", "access-control-request-method": "GET"}
    )
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_a_file_that_was_read_before_is_not_sent_again(rest):
    etag = rest.get("/static/main.js").headers["etag"]
    assert rest.get("/static/main.js", headers={"if-none-match": etag}).status_code == 304


def test_a_taken_port_is_named(rest):
    web = open_web(rest.target, ListenPolicy(port=rest.port))
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{rest.port}.*BLADE_HTTP_PORT"):
        rest.do(web.start())
