"""Batches: what the uploads of a job carry, and the chunks of a result out of which they are cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.arrow.items import Items
from blade_server.catalog import Encoded, encode
from blade_server.core.engine.ledger import Mark
from blade_server.errors import BladeError
from blade_server.model import ItemError

BATCH_BYTES = 8 << 20
"""A batch of large items ends early."""
ENCODED_BYTES = BATCH_BYTES
"""About so many bytes of items are encoded at a time."""

FACTS = np.dtype([("content", "<u8"), ("created", np.bool_), ("adopts", np.bool_)])
"""What a sync's run knows of each item that it sends: the digest of its content, whether the sync did not know it, and
whether an equal one that is there already is taken for its own."""
Facts: TypeAlias = "NDArray[np.void]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Equal:
    """Rows of which a sync's run has nothing to send: they stand in the ledger as `mark`, and are counted.

    `again`: places of items that are equal to what was sent and were not so when they were read last; `contents` are
    the digests of those.
    """

    keys: Sequence[bytes]
    mark: Mark
    again: Sequence[int] = ()
    contents: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Some rows of the result that have to be processed. `keys`, `uncertain` (places) and `facts` are those of `items`.

    `facts` are of a sync's run, see FACTS; `equal` are the rows for whose items it has nothing to do.
    """

    items: Items
    keys: Sequence[bytes]
    uncertain: frozenset[int] = frozenset()
    errors: Sequence[tuple[bytes, ItemError]] = ()
    facts: Facts | None = None
    equal: Equal | None = None

    def parted(self) -> tuple[Chunk, Chunk]:
        """What is certain, with the errors, and what is uncertain."""
        certain = [at for at in range(len(self.items)) if at not in self.uncertain]
        uncertain = sorted(self.uncertain)
        return (
            Chunk(
                items=self.items.take(certain),
                keys=[self.keys[at] for at in certain],
                errors=self.errors,
                facts=None if self.facts is None else self.facts[certain],
            ),
            Chunk(
                items=self.items.take(uncertain),
                keys=[self.keys[at] for at in uncertain],
                uncertain=frozenset(range(len(uncertain))),
                facts=None if self.facts is None else self.facts[uncertain],
            ),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The result is read to its end. `seen`: what a sync's run looked for on the way."""

    rows_read: int
    seen: Seen | None = None


@dataclass(kw_only=True, slots=True)
class Seen:
    """What a reading has met: rows without an item id, rows above the destination's ceiling, and of the cursor column
    its type, the greatest value (as text; empty: none) and how many have none. `future`: a greater value lay too far
    ahead to be one.
    """

    rows_without_id: int = 0
    above_ceiling: int = 0
    cursor_kind: pa.DataType | None = None
    watermark: str = ""
    null_cursors: int = 0
    future: str = ""


@dataclass(kw_only=True, slots=True)
class Doubt:
    """What is known of an item that may be stored, since an upload of it got no good answer. Times are monotonic."""

    settled_at: float = 0.0
    """From then on no request for it can be at work: if a look-up does not find it, it is not there."""
    due: float = 0.0
    """It is not looked up before."""
    looks: int = 0
    """Look-ups that did not find it."""
    request: tuple[int, ...] = ()
    """The places that were sent together; none: an earlier claim did it."""
    scope: str = ""
    free: bool = False
    """It may be sent again although a request may be at work: the catalog bears that, some only of the same request."""
    adopts: bool = False
    """Nothing was sent: if an equal item is there, it need not be."""


@dataclass(kw_only=True, slots=True)
class Group:
    """Items of a batch that are sent together as far as they can be, and how that has gone so far."""

    places: list[int]
    at_once: int | None = None
    """So many go in a request; None: as many as may."""
    attempt: int = 0
    failing_since: float = 0.0
    suspects: dict[int, float] = field(default_factory=dict)
    """Single items that fail although the catalog is well, and since when."""

    def forget(self) -> None:
        """The next failure is a first one."""
        self.attempt, self.failing_since = 0, 0.0


class Verdict(NamedTuple):
    """What an item is if a look-up does not find it: for good, or once others that began after `since` came through."""

    error: BladeError
    attempts: int
    since: float | None = None


class Batch:
    """Items that travel together.

    `keys` are the ledger's, in the order of the items; a batch of rows that never became items has no `encoded`, only
    keys and `errors`. `marks` and what is known of the way of single items (`doubts`, `groups`, `failures`, `verdicts`)
    belong to the thread that holds the batch, `recorded` (the marks, as far as reports have arrived) to the job's
    thread. `due`: when something can be done for the items that are left, on the monotonic clock. `answers` counts
    those after which an item has to be sent anew, and not the same request again. `facts` are of a sync's run;
    `item_ids` of a batch that deletes, which has no items.
    """

    __slots__ = (
        "answers",
        "doubts",
        "due",
        "encoded",
        "errors",
        "facts",
        "failures",
        "groups",
        "item_ids",
        "keys",
        "marks",
        "number",
        "recorded",
        "size_bytes",
        "verdicts",
    )

    def __init__(
        self,
        number: int,
        keys: Sequence[bytes],
        encoded: Encoded | None = None,
        *,
        uncertain: Iterable[int] = (),
        settled_at: float = 0.0,
        errors: Sequence[tuple[bytes, ItemError]] = (),
        facts: Facts | None = None,
    ) -> None:
        """`uncertain`: places that an earlier claim may have sent; until `settled_at` that may be under way."""
        self.number = number
        self.keys = keys
        self.encoded = encoded
        self.marks = bytearray(len(keys))
        self.recorded = bytearray(len(keys))
        self.facts = facts
        self.item_ids: Sequence[str] | None = None
        self.doubts = {at: Doubt(settled_at=settled_at) for at in uncertain}
        if facts is not None:
            for at, doubt in self.doubts.items():
                if facts["adopts"][at]:
                    doubt.adopts, doubt.settled_at = True, 0.0
        self.groups: list[Group] = []
        self.failures: dict[int, int] = {}
        self.verdicts: dict[int, Verdict] = {}
        self.answers = 0
        self.due = 0.0
        self.errors = errors
        self.size_bytes = encoded.size_bytes if encoded is not None else 0

    @classmethod
    def of_deletes(cls, number: int, keys: Sequence[bytes], item_ids: Sequence[str]) -> Batch:
        """Items to delete."""
        batch = cls(number, keys)
        batch.item_ids = item_ids
        return batch

    @property
    def deletes(self) -> bool:
        """Whether its items are deleted, and not sent."""
        return self.item_ids is not None

    @property
    def items(self) -> Items:
        """The items; of a batch that has them."""
        assert self.encoded is not None
        return self.encoded.items

    @property
    def open(self) -> list[int]:
        """The places of the items that nothing has become of yet."""
        if (self.encoded is None and self.item_ids is None) or Mark.INTENDED not in self.marks:
            return []
        return [at for at, mark in enumerate(self.marks) if mark == Mark.INTENDED]

    @property
    def uncertain(self) -> set[int]:
        """The places of items that may be stored."""
        return set(self.doubts)

    def mark(self, places: Sequence[int], mark: Mark) -> None:
        """This has become of the items there: that thread's word."""
        _put(self.marks, places, mark)
        if self.doubts:
            for at in places:
                self.doubts.pop(at, None)

    def record(self, places: Sequence[int], mark: Mark) -> None:
        """The same, now that the job's thread has heard of it."""
        _put(self.recorded, places, mark)

    def record_sent(self, places: Sequence[int]) -> int:
        """They were sent; of a sync's run, some of them are new to it: how many."""
        _put(self.recorded, places, Mark.SUCCESS)
        if self.facts is None:
            return 0
        some = np.fromiter(places, np.intp, len(places))
        created = some[self.facts["created"][some]].tolist()
        if created:
            _put(self.recorded, created, Mark.CREATED)
        return len(created)


def _put(marks: bytearray, places: Sequence[int], mark: Mark) -> None:
    if len(places) == len(marks):
        marks[:] = bytes([mark]) * len(marks)
        return
    for at in places:
        marks[at] = mark


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The same has become of the items at some places of a batch; `left`: its thread lets the batch go."""

    batch: Batch
    mark: Mark = Mark.INTENDED
    places: Sequence[int] = ()
    bytes_uploaded: int = 0
    errors: Sequence[tuple[bytes, ItemError]] = ()
    left: bool = False


class Supply:
    """Cuts chunks into batches: `batch_size` items each, fewer if they are large or the last.

    Items are encoded some at a time, as many as a few batches: in a request they take more room than as columns.
    """

    def __init__(self, batch_size: int, data_source: str) -> None:
        self._batch_size = batch_size
        self._data_source = data_source
        self._chunks: deque[tuple[Chunk, bool]] = deque()
        self._items: Items | None = None
        self._keys: list[bytes] = []
        self._uncertain: set[int] = set()
        self._facts: Facts | None = None
        self._at = 0
        self._encoded: Encoded | None = None
        self._encoded_from = 0
        self._used_up = 0
        self._errors: deque[tuple[bytes, ItemError]] = deque()

    def __bool__(self) -> bool:
        return bool(self._chunks or self._errors or self._at < len(self._keys))

    def add(self, chunk: Chunk, *, counts: bool = True) -> None:
        """Another chunk of the result; `counts`: it is one that the reader waits to see used up."""
        self._chunks.append((chunk, counts))

    def used_up(self) -> int:
        """Chunks that were cut since the last call."""
        used_up, self._used_up = self._used_up, 0
        return used_up

    def next(self, number: int, at_end: bool, settled_at: float = 0.0) -> Batch | None:
        """The next batch, or None if there is none yet (or no full one, unless the result is at its end)."""
        while self._chunks and not self._full and not self._errors:
            chunk, counts = self._chunks.popleft()
            self._take_chunk(chunk)
            self._used_up += counts
        if self._errors and not self._full:  # after the items of their chunk, or all errors would seem to come first
            errors = [self._errors.popleft() for _ in range(min(self._batch_size, len(self._errors)))]
            return Batch(number, [key for key, _ in errors], errors=errors)
        left = len(self._keys) - self._at
        if self._items is None or left == 0 or not (self._full or at_end):
            return None
        start, encoded = self._at, self._next_encoded(self._items, min(left, self._batch_size))
        self._at = stop = start + len(encoded)
        uncertain = [at - start for at in range(start, stop) if at in self._uncertain] if self._uncertain else ()
        facts = None if self._facts is None else self._facts[start:stop]
        return Batch(number, self._keys[start:stop], encoded, uncertain=uncertain, settled_at=settled_at, facts=facts)

    @property
    def _full(self) -> bool:
        """Whether there is a batch by number or by bytes: large rows do not wait for a full number."""
        if self._items is None:
            return False
        many = len(self._keys) - self._at >= self._batch_size
        return many or bool(self._items.rows.slice(self._at).nbytes >= BATCH_BYTES)

    def _take_chunk(self, chunk: Chunk) -> None:
        """What is left of the last chunk, and this one: together, as a request has one boundary."""
        self._errors.extend(chunk.errors)
        rest = self._at
        shift = len(self._keys) - rest
        self._items = Items.joined([self._items[rest:], chunk.items]) if shift and self._items else chunk.items
        self._keys = [*self._keys[rest:], *chunk.keys]
        self._uncertain = {at - rest for at in self._uncertain if at >= rest} | {at + shift for at in chunk.uncertain}
        if chunk.facts is not None:
            left = [] if self._facts is None else [self._facts[rest:]]
            self._facts = np.concatenate([*left, chunk.facts])
        self._at, self._encoded = 0, None

    def _next_encoded(self, items: Items, most: int) -> Encoded:
        """The next items, which take at most BATCH_BYTES together or are one."""
        encoded, at = self._encoded, self._at - self._encoded_from
        if encoded is None or len(encoded) - at < most:
            encoded, at = encode(self._data_source, items[self._at :], about_bytes=ENCODED_BYTES), 0
            self._encoded, self._encoded_from = encoded, self._at
        ends = encoded.ends
        begin = int(ends[at - 1]) if at else 0
        fitting = int(np.searchsorted(ends[at : at + most], begin + BATCH_BYTES, side="right"))
        return encoded.cut(at, at + max(1, fitting))
