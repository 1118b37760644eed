"""The pool's connections as the system sees them."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import make_url

from blade_server.storage.database import Database


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def over_tcp(postgres_url: str) -> Iterator[str]:
    """The tests' PostgreSQL, which has a unix socket only, over TCP; for one connection."""
    url = make_url(postgres_url)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket(socket.AF_UNIX) as inner:

        def relay() -> None:
            outer, _ = listening.accept()
            inner.connect(f"{url.query['host']}/.s.PGSQL.{url.query['port']}")
            with outer:
                threading.Thread(target=_pump, args=(inner, outer), daemon=True).start()
                _pump(outer, inner)

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        there = url.set(host="127.0.0.1", port=port, query={"sslmode": "disable", "gssencmode": "disable"})
        yield there.render_as_string(hide_password=False)
        thread.join(5)


@pytest.mark.skipif(sys.platform != "linux", reason="the option is Linux's")
def test_a_machine_that_vanishes_while_a_query_is_on_its_way_is_given_up_within_seconds(over_tcp: str) -> None:
    database = Database(over_tcp, pool_size=1)
    with database.begin() as connection, socket.socket(fileno=socket.dup(connection.connection.fileno())) as own:
        assert 5_000 <= own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000
    database.close()


def test_the_pool_tells_what_is_in_use_what_is_idle_and_who_waits(postgres_url, wait_until):
    database = Database(postgres_url, pool_size=2)
    with database.read(), ThreadPoolExecutor(1) as others:
        with database.begin():
            assert database.pool_counts() == (2, 0, 0)
            waiting = others.submit(database.max_connections)
            wait_until(lambda: database.pool_counts() == (2, 0, 1))
        assert waiting.result(30)
        assert database.pool_counts() == (1, 1, 0)
    database.close()
