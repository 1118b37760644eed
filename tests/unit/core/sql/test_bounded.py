"""Long SQL: read elsewhere with the same result, for so long and no longer, and only while its caller waits."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.nouns import a_source
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

from blade_server.core import caller, sql
from blade_server.core.sql import Reach, apart, bounded
from blade_server.errors import BladeError, Deadline, Invalid, QuotaExceeded, Reason, Unavailable
from blade_server.model import RowQuery

SOURCE = a_source()
LONG = "SELECT * FROM parts UNION ALL " * 40 + "SELECT * FROM parts"
ENDLESS = "SELECT * FROM parts UNION ALL " * 8000 + "SELECT * FROM parts"
"""Takes a processor about 20 s."""


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[apart.Apart]:
    """A process of this test's own."""
    own = apart.Apart()
    monkeypatch.setattr(bounded, "_apart", own)
    yield own
    own.close()


def test_long_sql_is_read_as_short_sql_is(reader):
    assert sql.resolve(LONG, Reach([SOURCE])) == sql.resolve.__wrapped__(LONG, Reach([SOURCE]))
    assert reader._process is not None, "it was read here"
    statement = sql.resolve(LONG, Reach([SOURCE])).statement
    (table,) = sql.tables(statement)
    assert sql.pin(statement, {table: 7}).count("VERSION AS OF 7") == 41
    asked = RowQuery(filter=" OR ".join(f"id = {number}" for number in range(100)), columns=["id"])
    assert sql.select(SOURCE, asked) == sql.select.__wrapped__(SOURCE, asked)


def test_short_sql_is_read_here(reader):
    sql.resolve("SELECT * FROM parts", Reach([SOURCE]))
    sql.select(SOURCE, RowQuery(filter="id = 1"))
    assert reader._process is None


NESTED = "SELECT * FROM parts WHERE a = " + "DATE(" * 29 + "b" + ")" * 29
"""Short, and takes a parser that tries both ways at each bracket many hours."""


def test_short_sql_that_is_nested_deeply_is_no_exception(reader, monkeypatch):
    monkeypatch.setattr(apart, "CPU_S", 1)
    assert len(NESTED) < bounded.SHORT_CHARS
    with pytest.raises(Invalid, match="takes more than 1 s"):
        sql.resolve(NESTED, Reach([SOURCE]))
    with pytest.raises(Invalid, match="takes more than 1 s"):
        sql.select(SOURCE, RowQuery(filter=NESTED.partition("WHERE ")[2]))


def test_who_leaves_while_short_sql_is_read_is_not_held():
    left = threading.Event()
    left.set()
    with bounded._here, caller.working_for(left), pytest.raises(Deadline):
        sql.resolve("SELECT * FROM parts", Reach([SOURCE]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_reader_is_no_fault_of_the_sql(reader, number):
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(
            sql.resolve, "SELECT * FROM parts UNION ALL " * 400 + "SELECT * FROM parts", Reach([SOURCE])
        )
        wait_until(lambda: reader._process is not None, say=lambda: "it was not begun")
        reader._process.send_signal(number)
        assert asking.result(60).source == SOURCE


def test_a_reader_that_dies_each_time_is_told_as_such(reader, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unavailable, match="cannot be read now"):
        sql.resolve(LONG, Reach([SOURCE]))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Unavailable, match="cannot be read now"):
        sql.resolve(LONG, Reach([SOURCE]))


def test_it_runs_where_less_memory_is_allowed(reader):
    limits = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))"
    ask = "from tests.unit.core.sql.test_bounded import *; assert sql.resolve(LONG, Reach([SOURCE])).source == SOURCE"
    done = subprocess.run([sys.executable, "-c", f"{limits}; {ask}"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_what_is_wrong_is_said_as_for_short_sql():
    for wrong in (LONG.replace("parts", "nowhere"), LONG + " UNION", LONG + "; DROP TABLE x"):
        with pytest.raises(Invalid) as there:
            sql.resolve(wrong, Reach([SOURCE]))
        with pytest.raises(Invalid) as here:
            sql.resolve.__wrapped__(wrong, Reach([SOURCE]))
        assert (there.value.violations, there.value.reason) == (here.value.violations, here.value.reason)


def test_what_takes_too_long_is_refused_and_the_next_is_read(monkeypatch):
    monkeypatch.setattr(apart, "CPU_S", 1)
    with pytest.raises(Invalid, match="sql: takes more than 1 s of processor time") as refused:
        sql.resolve(ENDLESS, Reach([SOURCE]))
    assert refused.value.reason is Reason.INVALID_SQL
    assert sql.resolve(LONG, Reach([SOURCE])).source == SOURCE


def test_a_caller_who_leaves_ends_it(reader):
    left = threading.Event()

    def ask() -> None:
        with caller.working_for(left):
            sql.resolve(ENDLESS, Reach([SOURCE]))

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        wait_until(lambda: reader._process is not None, say=lambda: "it was not begun")
        process = reader._process
        left.set()
        with pytest.raises(Deadline):
            asking.result(30)
    assert process is not None
    assert process.poll() is not None, "it reads on for nobody"


def test_those_who_leave_while_they_wait_are_never_read(reader, monkeypatch):
    began = []
    monkeypatch.setattr(reader, "call", lambda *_, **__: began.append(1))
    left = threading.Event()

    def ask() -> None:
        with caller.working_for(left):
            sql.resolve(LONG, Reach([SOURCE]))

    with ThreadPoolExecutor() as pool, bounded._turn:
        asking = [pool.submit(ask) for _ in range(3)]
        left.set()
        for each in asking:
            with pytest.raises(Deadline):
                each.result(30)
    assert not began


def test_more_than_can_be_read_in_time_is_refused_at_once():
    left = threading.Event()

    def ask() -> BladeError | None:
        with caller.working_for(left):
            try:
                sql.resolve(LONG, Reach([SOURCE]))
            except BladeError as exc:
                return exc
            return None

    with ThreadPoolExecutor(20) as pool, bounded._turn:
        asking = [pool.submit(ask) for _ in range(1 + bounded.MAX_WAITING)]
        wait_until(lambda: not bounded._places._value, say=lambda: "they do not wait")
        refused = pool.submit(ask).result(30)
        assert isinstance(refused, QuotaExceeded)
        assert refused.retry_after_s > 0
        left.set()
        assert all(isinstance(each.result(30), Deadline) for each in asking)


def test_one_that_ends_because_nothing_came_for_long_is_started_again(reader):
    # Ends over the request without having read it, as one does whose time is over at that moment.
    program = "import sys; sys.stdin.buffer.read(1)"
    reader._process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert sql.resolve(LONG, Reach([SOURCE])).source == SOURCE


def test_it_gets_no_secret(reader, monkeypatch):
    monkeypatch.setenv("DATABRICKS_TOKEN", "canary")
    sql.resolve(LONG, Reach([SOURCE]))
    assert reader._process is not None
    assert b"canary" not in Path(f"/proc/{reader._process.pid}/environ").read_bytes()
