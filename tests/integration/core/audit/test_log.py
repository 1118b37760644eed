"""What was done to the log is found: entries that were changed, taken out, put elsewhere, cut off or written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool
from tests.support.access import called

from blade_server.core.audit.audit import Audit
from blade_server.core.audit.heads import Heads
from blade_server.core.audit.log import AuditLog
from blade_server.core.audit.prune import prune
from blade_server.errors import Invalid, Precondition
from blade_server.model.access import Deed
from blade_server.model.audit import NO_HASH, AuditFilter, Head, content_of, hash_of
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database

SOMEBODY = called("somebody")


@pytest.fixture
def store(database: Database) -> AuditStore:
    return AuditStore(database)


@pytest.fixture
def log(store: AuditStore) -> AuditLog:
    """Of ten entries."""
    store.append([(SOMEBODY, Deed(about=f"job:{number}")) for number in range(1, 11)])
    return AuditLog(store)


@pytest.fixture
def intruder(postgres_url: str, log: AuditLog) -> Iterator[Callable[..., None]]:
    """Does to the log what a superuser can."""
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.connect() as connection:
        yield lambda *statements: _do(connection, statements)
    engine.dispose()


def _do(connection: Connection, statements: tuple[str, ...]) -> None:
    connection.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER USER"))
    for statement in statements:
        connection.exec_driver_sql(statement)
    connection.execute(text("ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_stays"))
    connection.commit()


def test_a_log_that_nobody_touched_is_whole(log, store):
    found = log.verify()
    assert (found.problem, found.first_wrong, found.entry_count, found.head) == ("", 0, 10, store.head())
    assert log.verify(store.head()) == found


def test_an_empty_log_is_whole(store):
    assert AuditLog(store).verify().head == Head(number=0, hash=NO_HASH)


def _numbered(old: int, new: int) -> str:
    content = f"""replace(content, '"number":{old},', '"number":{new},')"""
    return f"UPDATE audit_entry SET content = {content} WHERE number = {old}"


@pytest.mark.parametrize(
    ("statements", "first_wrong", "words"),
    [
        (["UPDATE audit_entry SET content = replace(content, 'job:4', 'job:7') WHERE number = 4"], 4, "entry 4 does"),
        (["UPDATE audit_entry SET hash = sha256('x') WHERE number = 10"], 10, "entry 10 does"),
        (["DELETE FROM audit_entry WHERE number = 4"], 4, "missing: entry 4"),
        (["DELETE FROM audit_entry WHERE number IN (4, 5, 6)"], 4, "missing: entries 4 to 6"),
        (["DELETE FROM audit_entry WHERE number <= 2"], 1, "missing: entries 1 to 2"),
        ([_numbered(4, 99), _numbered(5, 4), _numbered(99, 5)], 4, "entry 4 does"),
        (
            [
                "DELETE FROM audit_entry WHERE number = 4",
                _numbered(5, 4),
                "DELETE FROM audit_entry WHERE number > 4",
            ],
            4,
            "entry 4 does",
        ),
        (["UPDATE audit_entry SET content = content || ' ' WHERE number = 1"], 1, "entry 1 does"),
    ],
    ids=["changed", "hash", "missing", "several", "beginning", "reordered", "renumbered", "blank"],
)
def test_what_was_done_to_it_is_found(log, intruder, statements, first_wrong, words):
    intruder(*statements)
    found = log.verify()
    assert found.first_wrong == first_wrong
    assert words in found.problem


def test_an_end_that_was_cut_off_shows_by_an_anchor_alone(log, store, intruder):
    anchor = store.head()
    intruder("DELETE FROM audit_entry WHERE number >= 9")
    assert log.verify().problem == ""
    found = log.verify(anchor)
    assert (found.first_wrong, found.head.number) == (9, 8)
    assert "cut off: entry 10" in found.problem


def test_a_log_that_was_written_anew_shows_by_an_anchor_alone(log, store, intruder):
    anchor = Head(number=9, hash=store.after(8, limit=1)[0].hash)
    previous, statements = NO_HASH, ["TRUNCATE audit_entry"]
    for number in range(1, 12):
        content = content_of(number, "2026-01-01T00:00:00.000000Z", SOMEBODY, Deed(about="job:8"))
        previous = hash_of(previous, content)
        values = f"convert_from('\\x{content.encode().hex()}', 'UTF8'), '\\x{previous.hex()}'"
        statements.append(f"INSERT INTO audit_entry (content, hash) VALUES ({values})")
    intruder("ALTER TABLE audit_entry DISABLE TRIGGER audit_log_stays", *statements)
    assert log.verify().problem == ""
    assert log.verify(anchor).first_wrong == 9


def test_pages_of_it_go_on_where_the_last_one_ended_and_are_bound_to_the_filter_and_the_caller(log):
    first, token = log.list(AuditFilter(), by=SOMEBODY, page_size=6)
    rest, end = log.list(AuditFilter(), by=SOMEBODY, page_size=6, page_token=token)
    assert [entry.number for entry in (*first, *rest)] == list(range(10, 0, -1))
    assert end == ""
    for wanted, page_size, words in ((AuditFilter(object="job:1"), 6, "page_token"), (AuditFilter(), 1001, "1001")):
        with pytest.raises(Invalid, match=words):
            log.list(wanted, by=SOMEBODY, page_size=page_size, page_token=token)


# ----------------------------------------------------------------------------------------------------------- pruned


@pytest.fixture
def old(log: AuditLog, store: AuditStore, intruder: Callable[..., None]) -> None:
    """Entries 1 to 4 are of May 2020, 5 and 6 of June."""
    previous, statements = NO_HASH, []
    for entry in store.after(0, limit=10):
        month = {1: "05", 2: "05", 3: "05", 4: "05", 5: "06", 6: "06"}.get(entry.number)
        time = f"2020-{month}-15T00:00:00.000000Z" if month else entry.fields["time"]
        content = content_of(entry.number, time, SOMEBODY, Deed(about=entry.fields["object"]))
        previous = hash_of(previous, content)
        values = f"content = convert_from('\\x{content.encode().hex()}', 'UTF8'), hash = '\\x{previous.hex()}'"
        statements.append(f"UPDATE audit_entry SET {values} WHERE number = {entry.number}")
    intruder(*statements)


@pytest.fixture
def pruning(store: AuditStore, tmp_path: Path, old: None) -> Callable[..., Any]:
    """`pruning(before)`: into the file `export`, with an anchor in `anchors`."""
    heads = Heads(store, tmp_path / "anchors")
    return lambda before, export="export": prune(store, heads, before=before, export=tmp_path / export, operator="otto")


def test_whole_months_go_into_a_file_and_the_chain_goes_on_behind_them(log, store, pruning, tmp_path):
    assert log.verify().problem == ""
    anchor = Head(number=7, hash=store.after(6, limit=1)[0].hash)
    last = store.after(3, limit=1)[0]
    gone = pruning(date(2020, 6, 29))
    assert (gone.number, gone.hash) == (4, last.hash)
    assert [entry.number for entry in store.after(0, limit=99)] == list(range(5, 12))
    told = store.after(10, limit=1)[0].fields
    assert (told["method"], told["actor"], told["object"]) == ("blade prune-audit", "otto", "audit:4")

    previous = NO_HASH
    for number, line in enumerate((tmp_path / "export").read_text().splitlines(), 1):
        hash_, _, content = line.partition(" ")
        previous = hash_of(previous, content)
        assert hash_ == previous.hex()
        assert f'"number":{number},' in content
    assert number == 4
    assert (tmp_path / "anchors").read_text().startswith("10 ")

    found = log.verify(anchor)
    assert (found.problem, found.entry_count, found.head.number) == ("", 7, 11)
    assert log.exported(0)[0].number == 5
    assert log.verify(gone).problem == ""
    with pytest.raises(Invalid, match="entry 3 was pruned"):
        log.verify(Head(number=3, hash=NO_HASH))


def test_pruning_again_takes_what_is_old_by_then(log, store, pruning, tmp_path):
    pruning(date(2020, 6, 1))
    assert pruning(date(2020, 6, 1), "nothing").number == 4
    assert not (tmp_path / "nothing").exists()
    assert pruning(date(2020, 7, 1), "more").number == 6
    assert len((tmp_path / "more").read_text().splitlines()) == 2
    assert log.verify().problem == ""
    assert store.after(0, limit=1)[0].number == 7


def test_a_pruning_that_was_interrupted_is_ended_by_the_next(log, store, pruning, monkeypatch):
    drop = store.drop
    monkeypatch.setattr(store, "drop", lambda number, limit: drop(number, limit=2) and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pruning(date(2020, 6, 1))
    assert store.after(0, limit=1)[0].number == 3
    assert log.verify().problem == ""
    assert log.exported(1)[0].number == 5
    monkeypatch.undo()
    pruning(date(2020, 6, 1))
    assert store.after(0, limit=1)[0].number == 5


def test_what_follows_the_pruned_part_cannot_be_taken_out_unseen(log, pruning, intruder):
    pruning(date(2020, 6, 1))
    intruder("DELETE FROM audit_entry WHERE number = 5")
    assert log.verify().problem == "missing: entry 5"


def test_what_is_pruned_while_somebody_verifies_is_not_missing(log, store, pruning, monkeypatch):
    after, prunes = store.after, [lambda: pruning(date(2020, 6, 1))]

    def pruned_first(number: int, limit: int) -> Any:
        if prunes:
            prunes.pop()()
        return after(number, limit=limit)

    monkeypatch.setattr(store, "after", pruned_first)
    found = log.verify()
    assert (found.problem, found.entry_count) == ("", 7)


def test_a_log_that_is_not_whole_and_a_file_that_is_there_are_not_pruned(log, store, pruning, intruder, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(FileExistsError, match="taken is there already; name a new file"):
        pruning(date(2020, 6, 1), "taken")
    intruder("DELETE FROM audit_entry WHERE number = 2")
    with pytest.raises(Precondition, match="not whole, so nothing is deleted: missing: entry 2"):
        pruning(date(2020, 6, 1))
    assert (tmp_path / "taken").read_text() == "mine"
    assert not (tmp_path / "export").exists()
    assert len(store.after(0, limit=99)) == 9


# ------------------------------------------------------------------------------------------------------------ heads


def test_the_head_is_told_when_it_has_moved(store, tmp_path, caplog):
    heads = Heads(store, tmp_path / "anchors")
    store.append([(SOMEBODY, Deed())])
    with caplog.at_level("INFO"):
        for _ in range(2):
            heads.tell()
    assert [line.split()[:2] for line in (tmp_path / "anchors").read_text().splitlines()] == [str(store.head()).split()]
    assert caplog.text.count(f"the audit log ends with {store.head()}") == 1
    store.append([(SOMEBODY, Deed())])
    heads.tell()
    assert (tmp_path / "anchors").read_text().count("\n") == 2


def test_an_anchor_file_that_cannot_be_written_ends_the_start(store, tmp_path):
    with pytest.raises(ValueError, match=r"BLADE_AUDIT_ANCHOR_FILE is .*nowhere/anchors', which cannot be written"):
        Audit.over(store, tmp_path / "nowhere" / "anchors").start()
