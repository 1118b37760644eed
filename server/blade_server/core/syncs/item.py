"""What a sync knows of one item."""

from __future__ import annotations

from blade_server.core.audit.recorder import Recorder
from blade_server.core.engine.ledger import item_key
from blade_server.core.engine.sync.blocks import Columns, ItemMark, Keys, find
from blade_server.core.syncs.sync_jobs import SyncJobs
from blade_server.core.transform.transform import MAX_ITEM_ID_CHARACTERS
from blade_server.errors import Invalid, NotFound, Reason
from blade_server.model.access import Caller
from blade_server.model.sync import ItemState, SyncItem
from blade_server.storage.sync.items import ItemStore


class ShowSyncItem:
    """Thread-safe."""

    def __init__(self, jobs: SyncJobs, items: ItemStore, recorder: Recorder) -> None:
        self._jobs = jobs
        self._items = items
        self._recorder = recorder

    def __call__(self, name: str, item_id: str, *, by: Caller) -> SyncItem:
        """When it was sent, by which run, and what is wrong with it; as of the last run that ended.

        Raises NotFound: the sync, or it knows of no such item; AccessDenied, Invalid.
        """
        if not item_id or len(item_id) > MAX_ITEM_ID_CHARACTERS:
            raise Invalid.field("item_id", f"has not 1 to {MAX_ITEM_ID_CHARACTERS} characters")
        sync = self._jobs.found(name, by=by)
        self._jobs.check_no_ceiling(sync, by=by)
        self._recorder.read(by, f"sync:{name}")
        key = item_key(item_id)
        block = self._items.block(name, key)
        columns = Columns.none() if block is None else Columns.of(block)
        place = int(find(columns.keys, Keys.of(key))[0])
        if place < 0:
            raise NotFound(f"sync {name!r} knows of no item {item_id!r}", reason=Reason.ITEM_NOT_FOUND)
        number, mark = int(columns.runs[place]), ItemMark(int(columns.marks[place]))
        missing_since, sent = self._items.missing_since(name, key), self._items.run(name, number)
        return SyncItem(
            item_id=item_id,
            state=_state(mark, missing=missing_since is not None),
            run_number=number,
            job_id=sent.job_id if sent else "",
            sent_time=sent.end_time if sent else None,
            missing_since=missing_since,
        )


def _state(mark: ItemMark, *, missing: bool) -> ItemState:
    if ItemMark.UNCERTAIN in mark:
        return ItemState.UNCERTAIN
    if ItemMark.DIRTY in mark:
        return ItemState.DIRTY
    return ItemState.MISSING if missing else ItemState.SENT
