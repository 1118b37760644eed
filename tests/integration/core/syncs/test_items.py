"""What a sync knows of single items: shown, and forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import text
from tests.integration.core.syncs.conftest import SOURCE, asked, audited
from tests.support.access import called_by

from blade_server.core.engine.ledger import item_key
from blade_server.core.engine.sync.blocks import FIRST, Columns, ItemMark, Keys
from blade_server.core.syncs.reset import MAX_IDS
from blade_server.errors import AccessDenied, Invalid, NotFound, Precondition, Reason
from blade_server.model.access import Role
from blade_server.model.sync import ItemState
from blade_server.storage.sync.folds import FoldSlice, Unfolded
from blade_server.storage.sync.state import StateStore

IDS = [f"P-{number}" for number in range(3000)]
DIRTY, UNCERTAIN, MISSING = "P-1", "P-2", "P-3"


@pytest.fixture
def known(sync, database) -> Sequence[str]:
    """As after run 4, which sent these items; the odd ones among them are what their names say."""
    ids = sorted(IDS, key=item_key)
    marks = {DIRTY: ItemMark.DIRTY, UNCERTAIN: ItemMark.UNCERTAIN | ItemMark.DIRTY}
    columns = Columns(
        keys=Keys.of(b"".join(map(item_key, ids))),
        contents=np.arange(1, len(ids) + 1, dtype=np.uint64),
        runs=np.full(len(ids), 4, np.uint32),
        marks=np.array([marks.get(item_id, 0) for item_id in ids], np.uint8),
        ids=pa.array(ids, pa.string()),
    )
    with database.begin() as connection:
        stored = FoldSlice(connection, Unfolded(sync="maintenance", job_id="", run_number=4))
        stored.put(columns.split(FIRST))
        stored.count(len(ids), 2)
        connection.execute(text("INSERT INTO sync_run VALUES ('maintenance', 4, 'job-4', now())"))
        missing = "INSERT INTO sync_missing VALUES ('maintenance', :key, :id, 5, now(), 'job-5', 1)"
        connection.execute(text(missing), {"key": item_key(MISSING), "id": MISSING})
    return ids


def test_an_item_is_shown_while_the_source_is_switched_off(syncs, known, database) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE source SET enabled = false"))
    assert syncs.item("maintenance", "P-0").state is ItemState.SENT
    with pytest.raises(Precondition, match="switched off"):
        syncs.backfill("maintenance", asked(), column="number", from_value="1")


@pytest.mark.parametrize(
    ("item_id", "state"),
    [
        ("P-0", ItemState.SENT),
        ("P-2999", ItemState.SENT),
        (DIRTY, ItemState.DIRTY),
        (UNCERTAIN, ItemState.UNCERTAIN),
        (MISSING, ItemState.MISSING),
    ],
)
def test_an_item_says_which_run_sent_it_and_what_is_wrong(syncs, known, item_id, state) -> None:
    item = syncs.item("maintenance", item_id)
    assert (item.item_id, item.state, item.run_number, item.job_id) == (item_id, state, 4, "job-4")
    assert item.sent_time is not None
    assert (item.missing_since is None) is (item_id != MISSING)


def test_an_item_that_the_sync_does_not_know_is_not_found(syncs, known, recorder, database) -> None:
    with pytest.raises(NotFound, match="knows of no item 'P-3000'") as caught:
        syncs.item("maintenance", "P-3000")
    assert caught.value.reason is Reason.ITEM_NOT_FOUND
    for item_id in ("", "x" * 10_000):
        with pytest.raises(Invalid):
            syncs.item("maintenance", item_id)
    viewer = called_by("vera", Role.READER, (Role.VIEWER, f"source:{SOURCE}"))
    with pytest.raises(AccessDenied):
        syncs.item("maintenance", "P-0", by=viewer)
    recorder.flush()
    assert len(audited(database, "sync:maintenance")) == 2


def test_a_sync_that_knows_nothing_knows_no_item(syncs, sync) -> None:
    with pytest.raises(NotFound):
        syncs.item("maintenance", "P-0")


def contents(database) -> dict[str, int]:
    blocks = [Columns.of(block) for block in StateStore(database).blocks("maintenance", with_ids=True)]
    return {
        item_id: int(content)
        for columns in blocks
        for item_id, content in zip(columns.the_ids.to_pylist(), columns.contents, strict=True)
    }


def test_named_items_are_forgotten_and_stay_the_syncs(syncs, known, database) -> None:
    before = contents(database)
    wanted = [*IDS[::100], DIRTY, "unknown", "P-0"]
    sync, forgotten = syncs.reset("maintenance", wanted, reason="sent twice")
    assert forgotten == 31
    assert (sync.state.known_items, sync.state.dirty_items, sync.state.generation) == (3000, 32, 1)
    after = contents(database)
    assert {item_id for item_id in IDS if after[item_id] != before[item_id]} == {*IDS[::100], DIRTY}
    assert {after[item_id] for item_id in (*IDS[::100], DIRTY)} == {0}
    assert syncs.item("maintenance", "P-100").state is ItemState.DIRTY
    assert audited(database, "sync:maintenance")[-1] == ("sent twice", "31 items forgotten")
    assert {item for block in StateStore(database).marked("maintenance") for item in [block.low]}


def test_nothing_is_forgotten_of_what_nobody_knows(syncs, sync) -> None:
    assert syncs.reset("maintenance", ["P-0"])[1] == 0
    for wrong in (["x"] * (MAX_IDS + 1), [""], ["x" * 10_000]):
        with pytest.raises(Invalid, match="item_ids"):
            syncs.reset("maintenance", wrong)


def test_items_wait_for_what_the_last_job_did(syncs, known, set_job) -> None:
    run = syncs.run("maintenance", asked())
    for status, reason in (("RUNNING", Reason.SYNC_BUSY), ("FAILED", Reason.SYNC_STATE)):
        set_job(run.job_id, status=status)
        with pytest.raises(Precondition) as caught:
            syncs.reset("maintenance", ["P-0"])
        assert caught.value.reason is reason
    set_job(run.job_id, folded=True)
    assert syncs.reset("maintenance", ["P-0"])[1] == 1
