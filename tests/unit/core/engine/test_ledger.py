"""What the ledger lets through: each row once, whatever the order, the duplicates and the past."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from blade_server.core.engine import ledger as ledger_module
from blade_server.core.engine.ledger import (
    KEY_BYTES,
    Bloom,
    Contents,
    Ledger,
    Likeness,
    Mark,
    Past,
    Verdict,
    item_key,
    item_keys,
    repeat_key,
)
from blade_server.model import Block

NOTHING = np.empty(0, dtype=np.uint64)


def block(keys, outcomes, **more):
    return Block(number=1, keys=keys, outcomes=outcomes, **more)


def no_past():
    return Past(NOTHING.copy())


def verdicts(ledger, ids):
    return list(ledger.admit([item_key(item_id) for item_id in ids]).verdicts)


def past_of(marks):
    keys = b"".join(item_key(item_id) for item_id in marks)
    return Past.load(len(marks), [block(keys, bytes(marks.values()))])


def test_new_rows_are_new_and_a_second_row_with_an_id_is_a_duplicate():
    ledger = Ledger(no_past(), lambda keys: set())
    assert verdicts(ledger, ["a", "b", "a", "a"]) == [Verdict.NEW, Verdict.NEW, Verdict.DUPLICATE, Verdict.DUPLICATE]
    assert verdicts(ledger, ["c", "b"]) == [Verdict.NEW, Verdict.DUPLICATE]


def test_the_keys_of_repeated_rows_differ_and_are_the_same_in_every_run():
    ledger = Ledger(no_past(), lambda keys: set())
    keys = ledger.admit([item_key("a")] * 3).keys
    assert keys == [item_key("a"), repeat_key(item_key("a"), 1), repeat_key(item_key("a"), 2)]
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_a_duplicate_is_found_after_its_first_row_has_left_the_memory_for_the_ledger():
    written = set()
    ledger = Ledger(no_past(), lambda keys: written & set(keys))
    ledger.admit([item_key("a")])
    ledger.written([item_key("a")])
    written.add(item_key("a"))
    assert verdicts(ledger, ["a"]) == [Verdict.DUPLICATE]


def test_a_wrong_yes_of_the_filter_is_corrected_by_the_ledger(monkeypatch):
    monkeypatch.setattr(Bloom, "add_new", lambda self, digests: np.ones(len(digests) // KEY_BYTES, dtype=np.bool_))
    asked = []
    ledger = Ledger(no_past(), lambda keys: asked.extend(keys) or set())
    assert verdicts(ledger, ["a", "b"]) == [Verdict.NEW, Verdict.NEW]
    assert sorted(asked) == sorted([item_key("a"), item_key("b")])


def test_what_earlier_claims_recorded_is_done_and_what_they_only_intended_is_uncertain():
    marks = {
        "success": Mark.SUCCESS,
        "error": Mark.ERROR,
        "skipped": Mark.SKIPPED,
        "intended": Mark.INTENDED,
        "unsent": Mark.UNSENT,
    }
    ledger = Ledger(past_of(marks), lambda keys: set())
    assert verdicts(ledger, [*marks, "new"]) == [
        Verdict.DONE,
        Verdict.DONE,
        Verdict.DONE,
        Verdict.UNCERTAIN,
        Verdict.NEW,
        Verdict.NEW,
    ]


def test_a_row_that_is_done_and_comes_twice_is_a_duplicate_the_second_time():
    ledger = Ledger(past_of({"a": Mark.SUCCESS}), lambda keys: set())
    assert verdicts(ledger, ["a", "a"]) == [Verdict.DONE, Verdict.DUPLICATE]


def test_a_duplicate_that_an_earlier_claim_recorded_is_done():
    keys = item_key("a") + repeat_key(item_key("a"), 1)
    past = Past.load(2, [block(keys, bytes([Mark.SUCCESS, Mark.ERROR]))])
    ledger = Ledger(past, lambda keys: set())
    assert verdicts(ledger, ["a", "a", "a"]) == [Verdict.DONE, Verdict.DONE, Verdict.DUPLICATE]


@pytest.mark.parametrize("seed", range(5))
def test_any_number_of_crashes_and_any_order_record_each_row_once(seed):
    """Against the plain definition: the rows of a table with repeated ids, read in another order after each crash."""
    choose = random.Random(seed)
    rows = [f"id-{choose.randrange(400)}" for _ in range(1500)]
    recorded: dict[bytes, Mark] = {}
    for _ in range(6):
        choose.shuffle(rows)
        past = Past.load(len(recorded), [block(b"".join(recorded), bytes(recorded.values()))])
        written: set[bytes] = set()
        ledger = Ledger(past, lambda keys, written=written: written & set(keys))
        crash_at = choose.randrange(len(rows) + 1)
        for start in range(0, crash_at, 70):
            batch = rows[start : min(start + 70, crash_at)]
            for key, verdict in zip(*ledger.admit([item_key(row) for row in batch])[:2], strict=True):
                if verdict == Verdict.DONE:
                    assert recorded[key] in {Mark.SUCCESS, Mark.ERROR}
                    continue
                assert recorded.get(key) is None, "recorded twice"
                ledger.written([key])
                written.add(key)
                recorded[key] = Mark.ERROR if verdict == Verdict.DUPLICATE else Mark.SUCCESS
    past = Past.load(len(recorded), [block(b"".join(recorded), bytes(recorded.values()))])
    ledger = Ledger(past, lambda keys: set())
    for key, verdict in zip(*ledger.admit([item_key(row) for row in rows])[:2], strict=True):
        if verdict != Verdict.DONE:
            recorded[key] = Mark.ERROR if verdict == Verdict.DUPLICATE else Mark.SUCCESS
    assert len(recorded) == len(rows)
    assert sum(mark is Mark.SUCCESS for mark in recorded.values()) == len(set(rows))


@pytest.mark.parametrize("expected", [None, 200_000])
def test_the_filter_never_forgets_and_is_seldom_wrong(expected):
    bloom = Bloom(expected)
    digests = b"".join(item_key(f"row {number}") for number in range(200_000))
    assert not bloom.add_new(digests[: 1000 * KEY_BYTES]).any()
    bloom.add_new(digests)
    assert bloom.add_new(digests).all()
    strangers = b"".join(item_key(f"stranger {number}") for number in range(10_000))
    assert bloom.add_new(strangers).sum() == 0


def test_a_filter_for_fewer_keys_than_came_forgets_none_either():
    bloom = Bloom(10)
    digests = b"".join(item_key(f"row {number}") for number in range(20_000))
    bloom.add_new(digests)
    assert bloom.add_new(digests).all()


@pytest.mark.parametrize("expected", [10, 1000, 100_000])
def test_a_filter_stays_seldom_wrong_where_a_table_has_grown_since_it_was_counted(expected):
    bloom, wrong = Bloom(expected), 0
    for start in range(0, 300_000, 10_000):
        wrong += int(bloom.add_new(b"".join(item_key(f"row {at}") for at in range(start, start + 10_000))).sum())
    assert wrong < 30


def test_the_keys_of_a_column_are_those_of_its_texts():
    ids = ["a", "", "ü ☃ 💥", "x" * 500]
    assert item_keys(pa.array(["before", *ids]).slice(1)) == [item_key(item_id) for item_id in ids]


FIRST, OTHER, EQUAL = Likeness  # the first one of an id is like no other


def likeness(rows, at_once):
    """Of rows, pairs of an id and a content."""
    ledger, contents, found = Ledger(no_past(), lambda keys: set()), Contents(len(rows)), []
    for start in range(0, len(rows), at_once):
        batch = rows[start : start + at_once]
        keys = [item_key(item_id) for item_id, _ in batch]
        repeated = ledger.admit(keys).repeated
        rows_in_it = pa.array([content for _, content in batch], pa.binary())
        found += map(Likeness, contents.compare(keys, rows_in_it, repeated).tolist())
    return found


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_a_row_that_repeats_all_of_the_first_one_is_told_from_one_that_repeats_its_id(at_once):
    rows = [("a", b"1"), ("b", b"1"), ("a", b"1"), ("a", b"2"), ("a", b"2"), ("b", b"1"), ("a", b"1"), ("c", b"2")]
    assert likeness(rows, at_once) == [FIRST, FIRST, EQUAL, OTHER, OTHER, EQUAL, EQUAL, FIRST]


def test_contents_are_told_apart_by_the_thousand():
    rows = [(str(at % 5000), b"%d" % (at if at % 3 else at % 5000)) for at in range(20_000)]
    assert likeness(rows, 1000) == [FIRST if at < 5000 else OTHER if at % 3 else EQUAL for at in range(20_000)]


def test_what_repeats_a_row_that_was_read_unwatched_may_be_other_or_equal(monkeypatch):
    monkeypatch.setattr(ledger_module, "WATCHED_ROWS", 20)
    rows = [(str(at), b"%d" % at) for at in range(50)]
    first = [FIRST] * 50
    # 5 was read while all rows were watched, 40 was not; from here on they are again.
    rows += [("5", b"5"), ("40", b"40"), ("5", b"6"), ("60", b"60"), ("60", b"60"), ("60", b"61")]
    unknown = Likeness.UNKNOWN
    assert likeness(rows, 10) == [*first, EQUAL, unknown, unknown, FIRST, EQUAL, unknown]


def test_a_large_job_without_a_repeated_id_remembers_little_of_its_contents():
    contents, rows = Contents(10_000_000), ledger_module.WATCHED_ROWS
    keys = [item_key(str(at)) for at in range(rows)]
    content = pa.array([key * 2 for key in keys], pa.binary())
    tracemalloc.start()
    contents.compare(keys, content, np.zeros(rows, dtype=np.bool_))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 << 20


def test_in_a_doubtful_ledger_all_is_uncertain_that_is_not_recorded():
    keys = b"".join(map(item_key, ["sent", "failed", "handed back"]))
    past = Past.load(3, [block(keys, bytes([Mark.SUCCESS, Mark.ERROR, Mark.UNSENT]))], doubtful=True)
    ledger = Ledger(past, lambda keys: set())
    rows = ["sent", "failed", "handed back", "never heard of", "never heard of"]
    done, unsure = Verdict.DONE, Verdict.UNCERTAIN
    assert verdicts(ledger, rows) == [done, done, unsure, unsure, Verdict.DUPLICATE]


def test_what_earlier_claims_deleted_is_no_row_and_is_looked_up_when_it_is_one_again():
    keys = b"".join(map(item_key, ["gone", "handed back", "at work"]))
    deletes = block(keys, bytes([Mark.DELETED, Mark.UNSENT, Mark.INTENDED]), deletes=True)
    past = Past.load(3, [deletes])
    assert len(past) == 0
    assert (len(past.deletes.done), len(past.deletes.open)) == (1, 1)
    rows = ["gone", "handed back", "at work", "another"]
    new, unsure = Verdict.NEW, Verdict.UNCERTAIN
    assert verdicts(Ledger(past, lambda keys: set()), rows) == [unsure, new, unsure, new]


def test_rows_that_were_there_already_or_given_up_in_doubt_are_done():
    marks = {"a": Mark.CREATED, "b": Mark.UNCHANGED, "c": Mark.DOUBTED, "d": Mark.INTENDED}
    rows = verdicts(Ledger(past_of(marks), lambda keys: set()), [*marks, "e"])
    assert rows == [Verdict.DONE, Verdict.DONE, Verdict.DONE, Verdict.UNCERTAIN, Verdict.NEW]
