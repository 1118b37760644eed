"""Folds of ledgers into what a sync knows, against the plain definition: any history, any interruption, any sizes."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
from sqlalchemy import text

from blade_server.arrow.packed_ids import packed
from blade_server.core.engine.ledger import Mark, item_key
from blade_server.core.engine.sync import blocks, fold
from blade_server.core.engine.sync.blocks import Columns, ItemMark, Keys
from blade_server.core.engine.sync.fold import Folder
from blade_server.storage.sync.stores import SyncStores

DIRTY, UNCERTAIN = ItemMark.DIRTY, ItemMark.UNCERTAIN
NEVER_SENT, UNCONFIRMED = ItemMark.NEVER_SENT, ItemMark.UNCONFIRMED


@pytest.fixture
def stores(database):
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sync (name, source, destination, spec, owner, create_time, update_time)"
                " VALUES ('s', 'x', 'default', '{}', '{}', now(), now())"
            )
        )
    return SyncStores.over(database)


@pytest.fixture
def small(monkeypatch):
    """Blocks, slices and readings of a few items."""
    for module, values in (
        (blocks, {"MOST": 16, "USUAL": 12}),
        (fold, {"LEAST": 6, "ITEMS_AT_ONCE": 60, "SLICE_ITEMS": 25, "SLICE_BLOCKS": 3}),
    ):
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


def add_job(database, number, ledger):
    """A final job with this ledger: (marks by id, digest, deletes) for each block."""
    job_id = f"job-{number:03}"
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO job (job_id, source_json, spec, plan, status, create_time, update_time, end_time, sync,"
                " kind, task, writes, folded) VALUES (:job_id, '{}', '{}', '{}', 'COMPLETED', now(), now(), now(), 's',"
                " 'SYNC', jsonb_build_object('run_number', CAST(:number AS int)), true, false)"
            ),
            {"job_id": job_id, "number": number},
        )
        for at, (marks, digest, deletes) in enumerate(ledger):
            connection.execute(
                text("INSERT INTO job_block VALUES (:job_id, :at, :keys, :marks, :contents, :ids, :deletes)"),
                {
                    "job_id": job_id,
                    "at": at,
                    "keys": b"".join(map(item_key, marks)),
                    "marks": bytes(marks.values()),
                    "contents": None if deletes else np.full(len(marks), digest, "<u8").tobytes(),
                    "ids": None if deletes else packed(list(marks)),
                    "deletes": deletes,
                },
            )


def stored(stores):
    """What the sync knows: id -> (digest, run, marks); the blocks are as they should be."""
    known, keys, lows = {}, [], []
    for block in stores.states.blocks("s", with_ids=True):
        columns = Columns.of(block)
        assert len(columns) <= blocks.MOST
        assert not lows or block.low > lows[-1]
        assert not keys or columns.keys.cut() == [] or block.low > keys[-1]
        assert all(key >= block.low for key in columns.keys.cut())
        lows.append(block.low)
        keys += columns.keys.cut()
        for item_id, digest, run, mark in zip(
            columns.the_ids.to_pylist(),
            columns.contents.tolist(),
            columns.runs.tolist(),
            columns.marks.tolist(),
            strict=True,
        ):
            known[item_id] = (digest, run, ItemMark(mark))
    assert keys == sorted(keys)
    assert keys == [item_key(item_id) for item_id in known]
    return known


def told(known, ledger, number):
    """The plain definition: the effects of one run, block by block."""
    known, opened, last = dict(known), set(), {}
    for marks, digest, deletes in ledger:
        for item_id, mark in marks.items():
            if mark is not Mark.UNSENT and not (deletes and mark is Mark.ERROR):
                last[item_id] = (mark, digest, deletes)
            if mark is Mark.INTENDED or mark is Mark.DELETED:
                opened.add(item_id)
    for item_id, (mark, digest, deletes) in last.items():
        before = known.get(item_id)
        if deletes and mark is Mark.DELETED:
            known.pop(item_id, None)
        elif deletes:
            known |= {item_id: (*before[:2], before[2] | UNCERTAIN)} if before else {}
        elif mark in {Mark.SUCCESS, Mark.CREATED}:
            known[item_id] = (digest, number, ItemMark(0))
        else:
            doubted = mark is Mark.INTENDED or item_id in opened
            known[item_id] = not_sent(before, (digest, number), doubted=doubted, failed=mark is Mark.ERROR)
    return known


def not_sent(before, sent_as, *, doubted, failed):
    """What becomes of an item that failed, or about which nobody knows."""
    dirty = DIRTY if failed else ItemMark(0)
    if before is None:
        return (*sent_as, dirty | (UNCERTAIN | UNCONFIRMED if doubted else NEVER_SENT))
    marks = before[2] | dirty
    if doubted and NEVER_SENT in marks:
        marks = (marks & ~NEVER_SENT) | UNCONFIRMED
    return (*before[:2], marks | (UNCERTAIN if doubted else ItemMark(0)))


def a_ledger(choose, known):
    """Some blocks, of which later ones may be of the same items, as after a takeover."""
    ledger = []
    for _ in range(choose.randint(1, 6)):
        deletes = bool(known) and choose.random() < 0.4
        ids = choose.sample(sorted(known), min(len(known), choose.randint(1, 60))) if deletes else []
        ids = ids or list({f"item-{choose.randrange(300)}" for _ in range(choose.randint(1, 60))})
        outcomes = [Mark.DELETED] * 6 + [Mark.INTENDED, Mark.UNSENT, Mark.ERROR]
        if not deletes:
            outcomes = [Mark.CREATED] * 4 + [Mark.SUCCESS] * 4 + [Mark.ERROR, Mark.INTENDED, Mark.UNSENT]
        ledger.append(({item_id: choose.choice(outcomes) for item_id in ids}, choose.getrandbits(60), deletes))
    return ledger


@pytest.mark.parametrize("seed", range(6))
def test_any_history_is_what_it_is_defined_to_be(database, stores, small, seed):
    choose = random.Random(seed)
    known = {}
    for number in range(1, 12):
        ledger = a_ledger(choose, known)
        add_job(database, number, ledger)
        known = told(known, ledger, number)
        if choose.random() < 0.7:  # else it is left to the next fold
            stops_at = choose.choice([0, 1, 3, 99])  # an interruption, and another server that begins anew
            go_on = partial(next, iter([True] * stops_at), False)
            Folder(stores.folds, "s", lambda call: call()).fold(settle_s=0.0, go_on=go_on)
            Folder(stores.folds, "s", lambda call: call()).fold(settle_s=0.0)
            assert stored(stores) == known
            state = stores.states.get("s")
            assert state.known_items == sum(NEVER_SENT not in marks for _, _, marks in known.values())
            assert state.dirty_items == sum(DIRTY in marks for _, _, marks in known.values())
    Folder(stores.folds, "s", lambda call: call()).fold(settle_s=0.0)
    assert stored(stores) == known
    assert stores.folds.unfolded("s") == []


def test_an_upload_that_failed_after_its_item_was_deleted_leaves_a_doubt(database, stores):
    folder = Folder(stores.folds, "s", lambda call: call())
    add_job(database, 1, [({"a": Mark.CREATED, "b": Mark.CREATED}, 1, False)])
    add_job(
        database,
        2,
        [({"a": Mark.DELETED, "b": Mark.INTENDED}, 0, True), ({"a": Mark.ERROR, "b": Mark.ERROR}, 2, False)],
    )
    folder.fold(settle_s=0.0)
    assert stored(stores) == dict.fromkeys(("a", "b"), (1, 1, DIRTY | UNCERTAIN))


def test_a_late_fold_of_an_older_run_writes_nothing(database, stores):
    add_job(database, 1, [({"a": Mark.CREATED}, 1, False)])
    (late,) = stores.folds.unfolded("s")
    folder = Folder(stores.folds, "s", lambda call: call())
    folder.fold(settle_s=0.0)
    add_job(database, 2, [({"a": Mark.SUCCESS}, 2, False)])
    folder.fold(settle_s=0.0)
    folder._fold(late, 0.0, lambda: True)
    assert stored(stores) == {"a": (2, 2, ItemMark(0))}
    assert stores.states.get("s").generation == 2


def test_requests_that_may_be_at_work_make_the_next_run_wait(database, stores):
    add_job(database, 1, [({"a": Mark.INTENDED}, 1, False)])
    Folder(stores.folds, "s", lambda call: call()).fold(settle_s=30.0)
    _, unsettled_s = stores.states.ages("s")
    assert 20 < unsettled_s <= 30


def test_keys_that_begin_alike_are_told_apart():
    alike = [bytes(8) + number.to_bytes(8, "big") for number in (1, 2, 5)]
    keys = Keys.of(b"".join([*alike, b"\xff" * 16]))
    wanted = Keys.of(b"".join([alike[2], bytes(8) + bytes([0] * 7 + [3]), b"\xff" * 16, alike[0], bytes(16)]))
    assert blocks.find(keys, wanted).tolist() == [2, -1, 3, 0, -1]
