"""Catalogs that are gone, broken or strange: one clear error, nothing sent twice, and the client goes on."""

import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.support.ports import free_port

from blade_server.catalog import Capabilities, Catalog
from blade_server.errors import CatalogRejected, CatalogUnavailable, Precondition


def results(*ids, **fields):
    return json.dumps({"results": [{"itemId": i, "status": 201, "outcome": "CREATED"} | fields for i in ids]}).encode()


def test_a_catalog_that_is_not_there_stores_nothing(connect, make_item):
    catalog = connect(f"http://127.0.0.1:{free_port()}")
    for call in (catalog.probe, lambda: catalog.upload("BLADE:m", [make_item("a")])):
        with pytest.raises(CatalogUnavailable, match="refuses connections") as caught:
            call()
        assert not caught.value.maybe_stored


def test_a_catalog_that_went_away_stores_nothing(connect, start, make_item):
    sandbox = start()
    catalog = connect(sandbox.url)
    catalog.upload("BLADE:m", [make_item("a")])
    sandbox.set_faults(down={"seconds": 1000})
    with pytest.raises(CatalogUnavailable, match="refuses connections") as caught:
        catalog.upload("BLADE:m", [make_item("a")])
    assert not caught.value.maybe_stored


def test_a_host_without_address_is_named(connect):
    with pytest.raises(CatalogUnavailable, match=r"catalog\.invalid:1 cannot be found"):
        connect("http://catalog.invalid:1").probe()


def test_no_catalog_at_all_says_what_to_set(connect, make_item):
    with pytest.raises(Precondition, match="BLADE_CATALOG_URL"):  # a setting is wrong: waiting would not help
        connect("").upload("BLADE:m", [make_item("a")])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999",
        "http://a..b",
        "http://127.0.0.1: 80",
        "ftp://x",
        "localhost:8090",
        "http://",
        "http://user:pw@x",
        "http://x?a=1",
        "http://x#y",
        "//x",
    ],
)
def test_a_url_that_cannot_be_right_is_refused_at_once(url):
    with pytest.raises(ValueError, match="BLADE_CATALOG_URL") as caught:
        Catalog(url)
    assert "pw" not in str(caught.value)


def test_a_token_or_file_that_cannot_be_right_is_refused_at_once():
    with pytest.raises(ValueError, match="BLADE_CATALOG_TOKEN") as caught:
        Catalog("http://x", SecretStr("se\r\ncret"))
    assert "cret" not in str(caught.value)
    with pytest.raises(ValueError, match="BLADE_CATALOG_CA_FILE"):
        Catalog("http://x", ca_file=Path("/nowhere/ca.pem"))


def test_idle_connections_that_the_catalog_closed_cause_no_error(connect, make_item, scripted, whole_reply):
    def close_after(connection):
        connection.sendall(whole_reply(201, b'{"itemId": "a", "outcome": "CREATED"}'))
        return False

    server = scripted(*[close_after] * 5)
    catalog = connect(server.url, connections=1)
    for _ in range(5):
        assert catalog.upload("BLADE:m", [make_item("a")])[0].rejection is None
        server.closed.get(timeout=60)
    assert (len(server.heads), server.connections) == (5, 5)


def test_a_connection_is_kept_for_the_next_request(connect, make_item, scripted, whole_reply):
    server = scripted(*[whole_reply(201, b'{"itemId": "a"}')] * 3, whole_reply(404), whole_reply(200))
    catalog = connect(server.url)
    for _ in range(3):
        catalog.upload("BLADE:m", [make_item("a")])
    assert catalog.existing("BLADE:m", ["a"]) == set()
    assert catalog.existing("BLADE:m", ["a"]) == {"a"}
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 2",
        b"\x00\x01\x02 nonsense\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_a_connection_that_breaks_in_the_answer_is_not_tried_again(connect, make_item, scripted, answer):
    def broken(connection):
        connection.sendall(answer)
        return False

    server = scripted(broken, b'HTTP/1.1 201 Created\r\nContent-Length: 15\r\n\r\n{"itemId": "a"}')
    catalog = connect(server.url, connections=1)
    with pytest.raises(CatalogUnavailable) as caught:
        catalog.upload("BLADE:m", [make_item("a")])
    assert caught.value.maybe_stored
    assert len(server.bodies) == 1
    assert catalog.upload("BLADE:m", [make_item("a")])[0].rejection is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>It works!</html>",
        b"[]",
        b"null",
        b'{"results": 7}',
        b'{"results": []}',
        b'{"results": [1, 2]}',
        b'{"results": [null, null]}',
        results("a"),
        results("a", "b", "c"),
        results("b", "a"),
        results("a", None),
        results("a", "b", status="201"),
        results("a", "b", status=True),
        results("a", "b", status=[201]),
        results("a", "b", status=302),
        results("a", "b", status=None),
    ],
)
def test_a_batch_answer_that_cannot_be_right_counts_as_maybe_stored(connect, make_item, scripted, whole_reply, body):
    catalog = connect(scripted(whole_reply(200, body)).url)
    with pytest.raises(CatalogUnavailable) as caught:
        catalog.upload("BLADE:m", [make_item("a"), make_item("b")])
    assert caught.value.maybe_stored


@pytest.mark.parametrize("body", [b"", b"ok", b'{"itemId": "b"}', b"[1]"])
def test_a_single_answer_that_cannot_be_right_counts_as_maybe_stored(connect, make_item, scripted, whole_reply, body):
    catalog = connect(scripted(whole_reply(201, body)).url)
    with pytest.raises(CatalogUnavailable) as caught:
        catalog.upload("BLADE:m", [make_item("a")])
    assert caught.value.maybe_stored


def test_an_item_the_catalog_had_trouble_with_is_neither_stored_nor_lost(connect, make_item, scripted, whole_reply):
    said = [
        {"itemId": "a", "status": 201},
        {"itemId": "b", "status": 503, "error": "shard down"},
        {"itemId": "c", "status": 429},
        {"itemId": "d", "status": 409, "error": "x" * 9000},
        {"status": 400, "error": {"odd": 1}},
        {"itemId": "f", "status": 200, "outcome": "CREATED"},
    ]
    catalog = connect(scripted(whole_reply(200, json.dumps({"results": said}).encode())).url)
    uploaded = catalog.upload("BLADE:m", [make_item(i) for i in "abcdef"])
    assert [(u.rejection is None, u.retry, u.replaced) for u in uploaded] == [
        (True, False, False),
        (False, True, False),
        (False, True, False),
        (False, False, False),
        (False, False, False),
        (True, False, False),
    ]
    assert "shard down" in uploaded[1].rejection
    assert 500 < len(uploaded[3].rejection) < 550


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(connect, make_item, scripted, whole_reply, status):
    elsewhere = scripted(whole_reply(201, b"{}"))
    server = scripted(whole_reply(status, b"", f"Location: {elsewhere.url}/v1/items"))
    with pytest.raises(CatalogUnavailable, match="redirects") as caught:
        connect(server.url).upload("BLADE:m", [make_item("a")])
    assert elsewhere.url in caught.value.message
    assert not caught.value.maybe_stored
    assert elsewhere.connections == 0


def test_an_answer_without_end_is_given_up(connect, make_item, scripted):
    def drip(connection):
        connection.sendall(b"HTTP/1.1 201 Created\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    def flood(connection):
        connection.sendall(b"HTTP/1.1 201 Created\r\n\r\n")
        while True:
            connection.sendall(b" " * 1_000_000)

    catalog = connect(scripted(drip, flood).url, timeout_s=0.5, connections=1)
    with pytest.raises(CatalogUnavailable, match="in time"):
        catalog.upload("BLADE:m", [make_item("a")])
    with pytest.raises(CatalogUnavailable):
        catalog.upload("BLADE:m", [make_item("a")])


def test_an_answer_given_up_is_not_taken_for_the_next_one(connect, make_item, scripted, whole_reply):
    def drip(connection):
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    catalog = connect(scripted(drip, whole_reply(201, b"{}")).url, timeout_s=0.5, connections=1)
    with pytest.raises(CatalogUnavailable, match="in time"):
        catalog.upload("BLADE:m", [make_item("a")])
    assert catalog.upload("BLADE:m", [make_item("a")])[0].rejection is None


def test_a_look_up_answered_with_other_ids_is_an_error(connect, scripted, whole_reply):
    for body in (b'{"found": ["x"]}', b'{"found": "ab"}', b'{"found": [["a"]]}', b"{}", b"no"):
        with pytest.raises(CatalogUnavailable) as caught:
            connect(scripted(whole_reply(200, body)).url).existing("BLADE:m", ["a", "b"])
        assert not caught.value.maybe_stored


@pytest.mark.parametrize(
    "said",
    [b"<html>", b"[]", b'{"maxBatchItems": 0}', b'{"maxBatchItems": "many"}', b'{"maxRequestBytes": -1}'],
)
def test_capabilities_that_cannot_be_right_are_an_error(connect, scripted, said):
    server = scripted()
    server.CAPABILITIES = said
    with pytest.raises(CatalogUnavailable):
        connect(server.url).capabilities()


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        (b'{"maxBatchItems": 500.0}', 500),
        (b'{"maxBatchItems": null, "maxRequestBytes": null}', 1),
        (b'{"maxBatchItems": 99999999999999999999999}', 99999999999999999999999),
        (b'{"maxRequestBytes": 1e30}', 1),
    ],
)
def test_capabilities_may_be_written_as_other_languages_write_numbers(connect, scripted, said, taken):
    server = scripted()
    server.CAPABILITIES = said
    assert connect(server.url).capabilities().max_batch_items == pytest.approx(taken)


STATUS_LINES = [b"200 OK", b"201 C", b"404 N", b"503 N", b"302 N", b"99999 X", b"-1 X", b"999 X", b"\xb2\xb2\xb2 X"]
HEADERS = [
    b"Content-Length: 99999999999999999999",
    b"Content-Length: " + b"9" * 5000,
    b"Content-Length: -1",
    b"Content-Length: \xb2",
    b"Content-Length: 1e3",
    b"Content-Length: 1_0",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF",
    b"Transfer-Encoding: chunked\r\n\r\n-5",
    b"Keep-Alive: timeout=99999999999999999999",
    b"Retry-After: 99999999999999999999",
    b"Location: http://[::1",
    b"Location: http://a:99999999/",
    b"Content-Type: \xff\xfe; charset=\xff",
    b"Date: Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
]


@pytest.mark.parametrize("status_line", STATUS_LINES)
@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_numbers_in_the_head_of_an_answer_end_in_an_error_of_the_catalog_at_most(
    connect, make_item, scripted, status_line, header
):
    def answer(connection):
        connection.sendall(b"HTTP/1.1 " + status_line + b"\r\n" + header + b"\r\n\r\n{}")
        return False

    catalog = connect(scripted(*[answer] * 4).url, timeout_s=2.0)
    calls = [
        lambda: catalog.existing("BLADE:m", ["a"]),
        lambda: catalog.existing("BLADE:m", ["a", "b"]),
        lambda: catalog.upload("BLADE:m", [make_item("a")]),
        lambda: catalog.upload("BLADE:m", [make_item("a"), make_item("b")]),
    ]
    for call in calls:
        with suppress(CatalogUnavailable, CatalogRejected):
            call()


def test_capabilities_left_out_are_the_careful_ones(connect, scripted):
    server = scripted()
    server.CAPABILITIES = b"{}"
    assert connect(server.url).capabilities() == Capabilities()


def test_capabilities_are_remembered_until_a_connection_was_lost(connect, start, tmp_path, make_item):
    sandbox = start()
    catalog = connect(sandbox.url)
    for _ in range(3):
        assert catalog.capabilities().max_batch_items == 500
    assert sandbox.status()["requests"] == 1
    port = sandbox.port
    sandbox.stop()
    with pytest.raises(CatalogUnavailable):
        catalog.upload("BLADE:m", [make_item("a")])
    start(port=port, batch=False, directory=tmp_path / "other")
    assert [u.rejection for u in catalog.upload("BLADE:m", [make_item("a"), make_item("b")])] == [None, None]
    assert catalog.capabilities().max_batch_items == 1


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_function_that_is_gone_is_asked_for_anew(connect, make_item, scripted, whole_reply, status):
    server = scripted(whole_reply(status), whole_reply(201, b"{}"), whole_reply(201, b"{}"))
    catalog = connect(server.url)
    catalog.capabilities()
    server.CAPABILITIES = b"{}"
    with pytest.raises(CatalogUnavailable, match="no batches any more") as caught:
        catalog.upload("BLADE:m", [make_item("a"), make_item("b")])
    assert not caught.value.maybe_stored
    assert [u.rejection for u in catalog.upload("BLADE:m", [make_item("a"), make_item("b")])] == [None, None]


def test_a_rejected_request_after_a_stored_one_is_left_to_be_sent_again(connect, make_item, scripted, whole_reply):
    server = scripted(whole_reply(200, results("a", "b")), whole_reply(400, b"no"))
    server.CAPABILITIES = b'{"maxBatchItems": 2}'
    uploaded = connect(server.url).upload("BLADE:m", [make_item(i) for i in "abcdef"])
    assert [(u.rejection is None, u.retry) for u in uploaded] == [(True, False)] * 2 + [(False, True)] * 4
    assert len(server.bodies) == 2


@pytest.mark.parametrize(("status", "at_work"), [(504, True), (503, False)])
def test_what_may_be_at_work_of_a_first_request_is_known_after_a_later_one_failed(
    connect, make_item, scripted, whole_reply, status, at_work
):
    server = scripted(whole_reply(200, results("a", "b", status=status, outcome=None)), whole_reply(429))
    server.CAPABILITIES = b'{"maxBatchItems": 2}'
    with pytest.raises(CatalogUnavailable) as caught:
        connect(server.url).upload("BLADE:m", [make_item(i) for i in "abcd"])
    assert (caught.value.throttled, caught.value.maybe_stored, caught.value.at_work) == (True, True, at_work)


def test_a_rejected_first_request_is_raised(connect, make_item, scripted, whole_reply):
    server = scripted(whole_reply(400, b"no"))
    server.CAPABILITIES = b'{"maxBatchItems": 2}'
    with pytest.raises(CatalogRejected, match="no"):
        connect(server.url).upload("BLADE:m", [make_item(i) for i in "abcd"])
    assert len(server.bodies) == 1


def test_each_attempt_has_a_whole_body_of_its_own_under_the_same_key(connect, make_item, scripted, whole_reply):
    server = scripted(whole_reply(500), whole_reply(500), whole_reply(201, b'{"itemId": "a"}'))
    catalog = connect(server.url)
    for _ in range(2):
        with pytest.raises(CatalogUnavailable):
            catalog.upload("BLADE:m", [make_item("a")])
    catalog.upload("BLADE:m", [make_item("a")])
    assert [body.count(b'"itemId":"a"') for body in server.bodies] == [1, 1, 1]
    keys = {line for head in server.heads for line in head.split(b"\r\n") if line.startswith(b"Idempotency-Key: ")}
    assert len(keys) == 1
    boundaries = {body.split(b"\r\n")[0] for body in server.bodies}
    assert len(boundaries) == 3


def test_a_path_in_the_base_url_is_kept(connect, make_item, scripted, whole_reply):
    server = scripted(whole_reply(404), whole_reply(201, b"{}"))
    connect(server.url + "/deep/er/").upload("BLADE:m", [make_item("a")])
    assert server.heads[0].startswith(b"GET /deep/er/v1/capabilities ")
    assert server.heads[1].startswith(b"POST /deep/er/v1/items ")


def test_a_base_url_outside_ascii_is_written_as_http_wants_it(
    connect, make_item, scripted, whole_reply, monkeypatch: pytest.MonkeyPatch
):
    server, look_up = scripted(whole_reply(404), whole_reply(201, b"{}")), socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: look_up("127.0.0.1", *rest, **more))
    port = server.url.rpartition(":")[2]
    connect(f"http://каталог.test:{port}/deep er/ä").upload("BLADE:m", [make_item("a")])
    head = server.heads[1].split(b"\r\n")
    assert head[:2] == [b"POST /deep%20er/%C3%A4/v1/items HTTP/1.1", b"Host: xn--80aajzhsz.test:" + port.encode()]


def test_tls_is_verified_against_the_given_authority(connect, make_item, scripted, whole_reply, certificate):
    server = scripted(whole_reply(201, b"{}"), tls=True)
    with pytest.raises(CatalogUnavailable, match="BLADE_CATALOG_CA_FILE") as caught:
        connect(server.url).upload("BLADE:m", [make_item("a")])
    assert not caught.value.maybe_stored
    assert connect(server.url, ca_file=certificate).upload("BLADE:m", [make_item("a")])[0].rejection is None


def test_plain_http_spoken_to_a_tls_port_and_the_reverse_would_fail_for_ever_and_are_said(connect, scripted):
    plain, encrypted = scripted(b"HTTP/1.0 400 Bad Request\r\n\r\n"), scripted(tls=True)
    for url, right in ((plain.url, "http://"), (encrypted.url, "https://")):
        wrong = "https" if right == "http://" else "http"
        given = f"{wrong}://{url.partition('://')[2]}"
        with pytest.raises(Precondition, match=f"BLADE_CATALOG_URL={given} speaks .*write {right}"):
            connect(given, timeout_s=1.0).probe()


def test_a_gateway_that_says_http_was_sent_to_its_tls_port_is_believed_once_it_speaks_tls(connect, certificate):
    """As nginx and Go do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(listener):
        with listener.accept()[0] as first:
            first.recv(1000)
            first.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
        with listener.accept()[0] as second, context.wrap_socket(second, server_side=True):
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(Precondition, match="speaks TLS there"):
            connect(f"http://127.0.0.1:{listener.getsockname()[1]}").probe()
        thread.join()


@pytest.mark.parametrize(("status", "kind"), [(301, Precondition), (308, Precondition), (302, CatalogUnavailable)])
def test_a_url_that_has_moved_for_good_is_a_wrong_setting(connect, whole_reply, status, kind):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(whole_reply(status, b"", "Location: https://elsewhere/"))
            listener.accept()[0].close()  # asked whether it speaks TLS

        thread = threading.Thread(target=serve)
        thread.start()
        catalog = connect(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(kind, match=r"redirects .* to https://elsewhere/; set BLADE_CATALOG_URL"):
            catalog.probe()
        thread.join()


def test_a_catalog_that_answered_once_is_not_asked_for_tls_when_it_breaks(connect, start):
    sandbox = start()
    catalog = connect(sandbox.url, timeout_s=1.0)
    catalog.probe()
    sandbox.set_faults(down={"seconds": 1000})
    with socket.create_server(("127.0.0.1", 0)), pytest.raises(CatalogUnavailable):
        catalog.probe()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "nonsense://127.0.0.1:1", "http://127.0.0.1:99999"])
def test_a_proxy_that_can_never_work_is_refused_at_once(monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ValueError, match=f"http_proxy is '{proxy}'"):
        Catalog("http://catalog.invalid:8090")


def test_the_environments_proxy_is_used_and_no_proxy_heeded(
    connect, make_item, scripted, whole_reply, monkeypatch: pytest.MonkeyPatch
):
    proxy = scripted(whole_reply(404), whole_reply(201, b"{}"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    catalog = connect("http://catalog.invalid:8090")
    assert catalog.upload("BLADE:m", [make_item("a")])[0].rejection is None
    assert proxy.heads[-1].startswith(b"POST http://catalog.invalid:8090/v1/items ")
    direct = scripted(whole_reply(201, b"{}"))
    assert connect(direct.url).upload("BLADE:m", [make_item("a")])[0].rejection is None


@pytest.mark.parametrize(
    ("answer", "stored"),
    [
        ((404, b""), set()),
        ((405, b""), {"a"}),
        ((501, b""), {"a"}),
        ((200, b'{"itemId": "a"}'), set()),
        ((200, b'{"status": 404, "error": "no such item"}'), set()),
    ],
)
def test_a_catalog_that_gives_no_item_back_is_believed_by_the_id(
    connect, make_item, scripted, whole_reply, answer, stored
):
    server = scripted(whole_reply(200), whole_reply(*answer))
    assert connect(server.url).stored("BLADE:m", [make_item("a")]) == stored


def test_a_catalog_that_fails_while_it_is_read_back_is_an_error(connect, make_item, scripted, whole_reply):
    server = scripted(whole_reply(200), whole_reply(500))
    with pytest.raises(CatalogUnavailable) as caught:
        connect(server.url).stored("BLADE:m", [make_item("a")])
    assert not caught.value.maybe_stored
