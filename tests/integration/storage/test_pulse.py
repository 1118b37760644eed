"""Whether PostgreSQL answers and takes writes is known soon, by a connection that belongs to nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from tests.support.waiting import wait_until

from blade_server.storage import pulse
from blade_server.storage.clock import Clock
from blade_server.storage.pulse import Pulse


@pytest.fixture
def watched(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pulse, list[str], Any]]:
    """A pulse, what it has found, one after the other, and a cursor on the server."""
    monkeypatch.setattr(pulse, "EVERY_S", 0.02)
    found: list[str] = []
    looking = Pulse(postgres_url, Clock(), lambda: found.append(looking.trouble))
    server = postgres_url.replace("+psycopg2", "")
    with closing(psycopg2.connect(server.replace(server.partition("@/")[2].partition("?")[0], "postgres", 1))) as admin:
        admin.autocommit = True
        looking.start()
        yield looking, found, admin.cursor()
        looking.stop()


def test_a_server_that_lets_nobody_in_is_heard_of_and_so_is_its_return(watched: Any, postgres_url: str) -> None:
    looking, found, cursor = watched
    name = psycopg2.extensions.parse_dsn(postgres_url.replace("+psycopg2", ""))["dbname"]
    assert looking.trouble == ""
    cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    _put_out(cursor, name)
    wait_until(lambda: found == ["does not answer"])
    cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    wait_until(lambda: found == ["does not answer", ""])


def test_a_server_that_takes_no_writes_is_none_to_be_ready_with(watched: Any, postgres_url: str) -> None:
    _, found, cursor = watched
    name = psycopg2.extensions.parse_dsn(postgres_url.replace("+psycopg2", ""))["dbname"]
    cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    wait_until(lambda: _put_out(cursor, name) and found[-1:] == ["takes no writes"])
    cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    wait_until(lambda: found[-1:] == [""])


def test_it_compares_the_clocks(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "_QUESTION", pulse._QUESTION.replace("clock_timestamp()", "clock_timestamp() + '1 day'"))
    clock = Clock()
    looking = Pulse(postgres_url, clock, lambda: None)
    looking.start()
    wait_until(lambda: clock.wrong)
    looking.stop()
    assert -86401 < clock.offset_s < -86399


def _put_out(cursor: Any, name: str) -> bool:
    cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    return True
