"""One request over an open connection: what comes back is the whole answer or an error, and never a guess."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.support.timing import assert_within
from urllib3.exceptions import DecodeError, ProtocolError

from blade_server.catalog.wire.exchange import TooLong, exchange

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def answered(ends, *pieces: bytes, closed: bool = True, timeout_s: float = 5.0):
    """Each piece is sent once the one before was read, as far as the kernel lets one see."""
    ours, theirs = ends
    for piece in pieces:
        theirs.sendall(piece)
    if closed:
        theirs.shutdown(socket.SHUT_WR)
    return exchange(ours, b"POST / HTTP/1.1\r\n\r\n", timeout_s=timeout_s, most_bytes=10_000)


def test_the_request_arrives_as_it_is_and_the_answer_comes_back(ends):
    answer, reusable = answered(ends, b"HTTP/1.1 422 No\r\nX-Odd: \xe9\r\nContent-Length: 5\r\n\r\nhello", closed=False)
    assert (answer.status, answer.body, answer.headers["x-odd"]) == (422, b"hello", "é")
    assert reusable
    assert ends[1].recv(100) == b"POST / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\nX-Odd: \x01\nContent-Length: 2\n\n{}", b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Encoding: x\r\n\r\n" + OK, b"{}"),
    ],
)
def test_every_framing_of_an_answer_is_read_and_the_connection_kept(ends, answer, body):
    for cut in (1, len(answer) // 2, len(answer)):
        got, reusable = answered(ends, answer[:cut], answer[cut:], closed=False)
        assert (got.body, reusable) == (body, True)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        OK + OK,
        OK + b"rubbish",
    ],
)
def test_a_connection_that_ends_or_says_more_than_was_asked_is_not_used_again(ends, answer):
    got, reusable = answered(ends, answer)
    assert (got.status, got.body, reusable) == (200, b"{}", False)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_what_is_no_whole_answer_is_an_error(ends, answer):
    with pytest.raises(ProtocolError):
        answered(ends, answer)


def test_a_compressed_answer_was_not_asked_for(ends):
    with pytest.raises(DecodeError, match="gzip"):
        answered(ends, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize("head", [b"Content-Length: 99999\r\n\r\n" + b"x" * 20_000, b"X: " + b"y" * 20_000])
def test_an_answer_without_end_is_not_read_to_it(ends, head):
    with pytest.raises((TooLong, ProtocolError)):
        answered(ends, b"HTTP/1.1 200 OK\r\n" + head, closed=False)


def test_the_time_limit_holds_for_the_answer_as_a_whole(ends):
    ours, theirs = ends
    stop = threading.Event()

    def drip() -> None:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stop.wait(0.02):
            theirs.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            exchange(ours, b"GET", timeout_s=0.2, most_bytes=10_000)
    finally:
        stop.set()
        thread.join()


def test_the_time_limit_holds_for_the_request_and_the_answer_together():
    assert_within(0.9, _an_exchange_that_is_slow_both_ways)


def _an_exchange_that_is_slow_both_ways() -> float:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # as little as the kernel allows

    def drain_late() -> None:
        threading.Event().wait(0.4)
        while theirs.recv(1 << 16):
            pass

    thread = threading.Thread(target=drain_late)
    thread.start()
    try:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            exchange(ours, b"x" * 100_000, timeout_s=0.6, most_bytes=10_000)
        return time.monotonic() - began
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        thread.join()
        ours.close()
        theirs.close()


def test_a_refusal_that_comes_before_the_request_was_read_is_heard(ends):
    ours, theirs = ends
    theirs.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    theirs.shutdown(socket.SHUT_RD)
    answer, _ = exchange(ours, b"x" * 1_000_000, timeout_s=5.0, most_bytes=10_000)
    assert answer.status == 413


def test_a_refusal_is_heard_although_the_server_reset_the_connection():
    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:  # closed with the rest of the request unread, which resets it
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        with socket.create_connection(listener.getsockname()) as connection:
            answer, reusable = exchange(connection, b"x" * 20_000_000, timeout_s=5.0, most_bytes=10_000)
        thread.join()
    assert (answer.status, reusable) == (413, False)
