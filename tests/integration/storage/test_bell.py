"""The listener against a real PostgreSQL: rings, lost connections, half-open ones."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import Empty, Queue
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
from sqlalchemy import make_url
from tests.support.pooler import pgbouncer

from blade_server.storage import bell
from blade_server.storage.bell import Listener
from blade_server.storage.connect import Pooling, Target
from blade_server.storage.database import BELL

TIMEOUT_S = 60.0


class Heard:
    """A listener, and what it has heard so far: sets of ids, or None for "read everything again"."""

    def __init__(self, url: str | Target, **options: float) -> None:
        self.events: Queue[frozenset[str] | None] = Queue()
        self.listener = Listener(url, self.events.put, lambda: self.events.put(None), **options)
        self.listener.start()

    def next(self) -> frozenset[str] | None:
        return self.events.get(timeout=TIMEOUT_S)


@pytest.fixture
def listen() -> Iterator[Callable[..., Heard]]:
    all_heard = []

    def begin(url: str | Target, **options: float) -> Heard:
        all_heard.append(Heard(url, **options))
        return all_heard[-1]

    yield begin
    for heard in all_heard:
        heard.listener.stop()


def execute(url: str, *statements: str) -> None:
    _, arguments = make_url(url).get_dialect()().create_connect_args(make_url(url))
    connection = psycopg2.connect(**arguments)
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def ring(url: str, *job_ids: str) -> None:
    execute(url, *(f"SELECT pg_notify({BELL}, '{job_id}')" for job_id in job_ids))


def test_the_first_connect_says_read_everything_and_rings_name_their_jobs(
    postgres_url: str, listen: Callable[..., Heard]
) -> None:
    heard = listen(postgres_url)
    assert heard.next() is None

    ring(postgres_url, "job-a", "job-b")

    rung = heard.next()
    while rung != {"job-a", "job-b"}:
        rung = (rung or frozenset()) | (heard.next() or frozenset())


def test_a_lost_connection_comes_back_and_everything_is_read_again(
    postgres_url: str, listen: Callable[..., Heard]
) -> None:
    heard = listen(postgres_url)
    assert heard.next() is None

    execute(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'blade-listener' AND datname = current_database()",
    )

    assert heard.next() is None
    ring(postgres_url, "job-a")
    assert heard.next() == {"job-a"}


def test_a_silent_connection_is_pinged_and_goes_on_hearing(postgres_url: str, listen: Callable[..., Heard]) -> None:
    heard = listen(postgres_url, ping_s=0.05)
    assert heard.next() is None
    with pytest.raises(Empty):  # pings are not rings, and the connection is kept
        heard.events.get(timeout=0.3)

    ring(postgres_url, "job-a")

    assert heard.next() == {"job-a"}


def test_a_callback_that_fails_does_not_end_the_listening(postgres_url: str) -> None:
    events: Queue[str] = Queue()

    def on_ring(job_ids: frozenset[str]) -> None:
        events.put("rung")
        raise RuntimeError("a bug")

    listener = Listener(postgres_url, on_ring, lambda: events.put("connected"))
    listener.start()
    try:
        assert events.get(timeout=TIMEOUT_S) == "connected"
        ring(postgres_url, "job-a")
        assert events.get(timeout=TIMEOUT_S) == "rung"
        assert events.get(timeout=TIMEOUT_S) == "connected"
    finally:
        listener.stop()


class Line:
    """A TCP line to PostgreSQL that can go dead without either end being told."""

    def __init__(self, url: str) -> None:
        query = parse_qs(urlsplit(url).query)
        self._socket_path = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._server = socket.create_server(("127.0.0.1", 0))
        self._alive = threading.Event()
        self._alive.set()
        self._open: list[socket.socket] = []
        port = self._server.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{port}/{urlsplit(url).path.lstrip('/')}"
        threading.Thread(target=self._accept, daemon=True).start()

    def go_dead(self) -> None:
        """What is on the line now hangs; new connections work."""
        self._alive.clear()
        self._alive = threading.Event()
        self._alive.set()

    def close(self) -> None:
        self._server.close()
        for end in self._open:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            called = socket.socket(socket.AF_UNIX)
            called.connect(self._socket_path)
            self._open += [caller, called]
            for source, target in ((caller, called), (called, caller)):
                threading.Thread(target=self._carry, args=(source, target, self._alive), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, alive: threading.Event) -> None:
        try:
            while data := source.recv(65536):
                if alive.is_set():
                    target.sendall(data)
        except OSError:
            pass


@pytest.fixture
def line(postgres_url: str) -> Iterator[Line]:
    line = Line(postgres_url)
    yield line
    line.close()


def test_a_connection_that_went_dead_without_a_word_is_found_and_replaced(
    postgres_url: str, line: Line, listen: Callable[..., Heard]
) -> None:
    heard = listen(line.url, ping_s=0.1, timeout_s=0.5)
    assert heard.next() is None

    line.go_dead()

    assert heard.next() is None
    ring(postgres_url, "job-a")
    assert heard.next() == {"job-a"}


def test_a_stop_is_heard_while_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        listener = Listener(f"postgresql://x@127.0.0.1:{mute.getsockname()[1]}/x", print, print, timeout_s=600)
        listener.start()
        caller, _ = mute.accept()

        with caller:
            listener.stop()


def test_a_stop_is_heard_between_attempts() -> None:
    listener = Listener("postgresql://x@127.0.0.1:1/x", print, print)
    listener.start()

    listener.stop()


def test_of_several_hosts_one_that_is_silent_is_left_for_another(
    postgres_url: str, line: Line, listen: Callable[..., Heard]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = f"127.0.0.1:{mute.getsockname()[1]}"
        heard = listen(line.url.replace("@", f"@{silent},"), timeout_s=0.5)
        assert heard.next() is None
        ring(postgres_url, "job-a")
        assert heard.next() == {"job-a"}


# ------------------------------------------------------------------------------------------------- poolers


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[Target]:
    with pgbouncer(postgres_url, "transaction") as url:
        yield Target(url=url, pooling=Pooling.TRANSACTION)


def test_behind_a_pooler_in_transaction_mode_everything_is_read_again_each_second(
    pooled: Target, listen: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "POLL_S", 0.05)
    heard = listen(pooled)
    connections = [heard.next() for _ in range(4)]
    assert connections == [None] * 4


def test_around_a_pooler_the_bell_is_heard(pooled: Target, postgres_url: str, listen: Callable[..., Heard]) -> None:
    heard = listen(replace(pooled, listen_url=postgres_url))
    assert heard.next() is None
    ring(postgres_url, "job-a")
    assert heard.next() == {"job-a"}


def test_a_pooler_in_session_mode_lets_the_bell_through(postgres_url: str) -> None:
    with pgbouncer(postgres_url, "session") as url:
        heard = Heard(Target(url=url, pooling=Pooling.SESSION))
        assert heard.next() is None
        ring(postgres_url, "job-a")
        assert heard.next() == {"job-a"}
        heard.listener.stop()
