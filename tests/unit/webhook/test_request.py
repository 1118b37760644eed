"""Where a POST goes, and how it ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.certificates import LOOPBACK, Authority
from tests.support.webhooks import Receiver

from blade_server.webhook import Answer, NotReached, post

REAL = socket.getaddrinfo


@pytest.fixture
def answered() -> Iterator[Any]:
    """`answered(bytes)`: the port of a server that answers the next connection so, and the rest of what it heard."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads = []

    def make(said: bytes) -> int:
        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return int(listening.getsockname()[1])

    yield make
    for thread in threads:
        thread.join()
    listening.close()


def send(url: str, *, timeout_s: float = 2.0) -> Answer:
    return post(urlsplit(url), b"{}", {"Content-Type": "application/json"}, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("said", "status", "after"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (b"HTTP/1.0 200\r\n\r\n", 200, None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nx: y\r\n\r\nHTTP/1.1 202 OK\r\n\r\n", 202, None),
        (b"HTTP/1.1 429 No\r\nA: b\r\nRETRY-AFTER: 7\r\n\r\n", 429, 7.0),
        (b"HTTP/1.1 503 No\r\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n", 503, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", 200, None),
    ],
)
def test_the_head_of_an_answer_is_read_and_nothing_else(
    answered: Any, said: bytes, status: int, after: float | None
) -> None:
    got = send(f"http://127.0.0.1:{answered(said)}/")
    assert (got.status, got.retry_after_s) == (status, after)


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 999 No\r\n\r\n", b"HTTP/1.1 200 OK\r\nhalf", b"x" * 40_000]
)
def test_what_is_no_answer_is_none(answered: Any, said: bytes) -> None:
    with pytest.raises(NotReached):
        send(f"http://127.0.0.1:{answered(said)}/")


def test_silence_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with pytest.raises(NotReached, match="no answer within"):
            send(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.2)
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        (["169.254.169.254"], "nobody is ever asked at"),
        (["203.0.113.7", "169.254.169.254"], "nobody is ever asked at"),
        (["fd00:ec2::254"], "nobody is ever asked at"),
        (["127.0.0.1"], "this machine"),
        (["::1"], "this machine"),
        (["::ffff:127.0.0.1"], "this machine"),
        (["0.0.0.0"], "this machine"),
        ([], "no address is known"),
    ],
)
def test_a_name_is_judged_by_all_that_it_leads_to(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], words: str
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises(NotReached, match=words):
        send("https://hooks.example.com/")


def test_the_name_is_asked_for_once_and_the_address_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    asked = []

    def look_up(host: str, port: int, **options: Any) -> Any:
        asked.append(host)
        return REAL("127.0.0.1", port, **options)

    with receiver.running():
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        monkeypatch.setattr(socket, "create_connection", lambda address, timeout: _connected(address, timeout))
        assert send(f"http://hooks.localhost:{receiver.port}/a?b=c").status == 204
    assert asked == ["hooks.localhost"]
    (request,) = receiver.received
    assert (request.path, request.headers["host"]) == ("/a?b=c", f"hooks.localhost:{receiver.port}")


def _connected(address: tuple[str, int], timeout: float) -> socket.socket:
    assert address[0] == "127.0.0.1"
    connection = socket.socket()
    connection.settimeout(timeout)
    connection.connect(address)
    return connection


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_for_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    import ssl

    authority = Authority()
    certificate, key = authority.issue(*LOOPBACK)
    for name, pem in (("ca", authority.pem), ("cert", certificate), ("key", key)):
        (tmp_path / name).write_bytes(pem)
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca"))
    with receiver.running():
        if trusted:
            assert send(f"https://localhost:{receiver.port}/").status == 204
        else:
            with pytest.raises(NotReached, match="certificate of 'localhost'"):
                send(f"https://localhost:{receiver.port}/")


def test_a_name_of_other_letters_is_asked_for_as_dns_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    with receiver.running():
        loopback = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))]
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *args, **_: loopback if "localhost" in args[0] else REAL(*args)
        )
        assert send(f"http://münchen.localhost:{receiver.port}/x").status == 204
    assert receiver.received[0].headers["host"] == f"xn--mnchen-3ya.localhost:{receiver.port}"
