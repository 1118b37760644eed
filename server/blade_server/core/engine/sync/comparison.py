"""The rows of a run beside what its sync knows: which items have to be sent, and which are there as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blade_server.arrow.digests import digests
from blade_server.arrow.items import Items
from blade_server.core.engine.batches import FACTS, Chunk, Equal, Facts, Seen
from blade_server.core.engine.ledger import Admissions, Mark, Verdict, item_key
from blade_server.core.engine.sync.blocks import ItemMark, Keys
from blade_server.core.engine.sync.cursor import CursorReader, cursor_field
from blade_server.core.engine.sync.known import Found, KnownItems
from blade_server.core.transform.classifications import ABOVE_CEILING
from blade_server.core.transform.transform import Rejected, Transformed
from blade_server.errors import Reason
from blade_server.model import MAX_ROW_JSON_BYTES, ItemError, Stage
from blade_server.model.sync import NullCursor


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run does with the rows that it reads.

    `sends_all`: also what is equal; `sends` False: nothing is sent. `adopts`: what the sync does not know is looked up
    first. `doubtful`: what the sync knows need not be so. `cursor`: column to follow; empty: none.
    """

    sends: bool = True
    sends_all: bool = False
    adopts: bool = False
    doubtful: bool = False
    cursor: str = ""
    null_cursor: NullCursor = NullCursor.READ


class Comparison:
    """One reading; belongs to the reader's thread, but for `without_cursor` and `rejected`, which the thread that
    transforms may call. What it met is in `seen`.
    """

    def __init__(self, known: KnownItems, wanted: Wanted) -> None:
        known.anew()
        self._known = known
        self._wanted = wanted
        self.seen = Seen()
        self._cursor: CursorReader | None = None
        self._found = Found(np.zeros(0, np.bool_), np.zeros(0, np.uint64), np.zeros(0, np.uint8))

    def begin(self, schema: pa.Schema) -> None:
        """The result has this schema. Raises Precondition (CURSOR_UNUSABLE)."""
        if self._wanted.cursor:
            field = cursor_field(schema, self._wanted.cursor)
            self.seen.cursor_kind = field.type
            self._cursor = CursorReader(field, self.seen)

    def without_cursor(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        """The rows to go on with, and those that are rejected for want of a value of the cursor."""
        if self._cursor is None:
            return batch, None
        nulls = self._cursor.take(batch)
        if self._wanted.null_cursor is not NullCursor.REJECT or not pc.any(nulls).as_py():
            return batch, None
        return batch.filter(pc.invert(nulls)), batch.filter(nulls)

    def rejected(self, transformed: Transformed, fingerprints: Sequence[bytes]) -> list[Rejected]:
        """What becomes of rows without a value of the cursor."""
        assert self._cursor is not None
        rejected = [
            Rejected(
                ItemError(
                    item_id=item.item_id,
                    stage=Stage.TRANSFORM,
                    reason=Reason.CURSOR_UNUSABLE,
                    field=self._cursor.name,
                    message=f"column {self._cursor.name!r} is null, and it is the cursor (null_cursor: REJECT)",
                    row_json=item.data_json[:MAX_ROW_JSON_BYTES].decode("utf-8", "ignore"),
                ),
                fingerprint,
            )
            for item, fingerprint in zip(transformed.items, fingerprints, strict=False)
        ]
        return [*rejected, *transformed.rejected]

    def saw_rejected(self, rejected: Sequence[Rejected]) -> None:
        """These rows did not become items: the items of their ids are there all the same."""
        with_id = [row.error.item_id for row in rejected if row.error.item_id]
        self.seen.rows_without_id += len(rejected) - len(with_id)
        self.seen.above_ceiling += sum(row.error.reason is ABOVE_CEILING for row in rejected)
        if with_id:
            self._known.look(Keys.of(b"".join(map(item_key, with_id))))

    def meet(self, ids: Sequence[bytes]) -> Found:
        """What the sync knows of the items of a batch's rows, by the keys of their ids; before they are compared."""
        self._found = self._known.meet(Keys.of(b"".join(ids)))
        return self._found

    def compare(
        self, items: Items, ids: Sequence[bytes], admitted: Admissions, errors: Sequence[tuple[bytes, ItemError]]
    ) -> Chunk:
        """The chunk of admitted rows, which were met: what is sent, what is equal.

        Args:
            items: all items of a batch.
            ids: the keys of their ids.
            admitted: what the ledger says of them.
            errors: of the batch's rows, to go with the chunk.
        """
        found, contents = self._found, digests(items)
        open_ = admitted.verdicts <= Verdict.UNCERTAIN
        if not self._wanted.sends:
            return self._nothing_sent(items, admitted, np.flatnonzero(open_), errors)
        equal = open_ & self._is_equal(found, contents, admitted.verdicts)
        chosen = np.flatnonzero(open_ & ~equal)
        facts = self._facts(found, contents, chosen, admitted.verdicts)
        uncertain = (admitted.verdicts[chosen] == Verdict.UNCERTAIN) | facts["adopts"]
        uncertain |= found.known[chosen] & (found.marks[chosen] & ItemMark.UNCERTAIN > 0)
        uncertain |= self._wanted.doubtful
        every = len(chosen) == len(items)
        return Chunk(
            items=items if every else items.take(chosen),
            keys=admitted.keys if every else [admitted.keys[at] for at in chosen.tolist()],
            uncertain=frozenset(np.flatnonzero(uncertain).tolist()) if uncertain.any() else frozenset(),
            errors=errors,
            facts=facts,
            equal=self._equal(admitted, found, contents, np.flatnonzero(equal)),
        )

    def _is_equal(self, found: Found, contents: NDArray[np.uint64], verdicts: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which items are there as they are, for certain."""
        if self._wanted.sends_all or self._wanted.doubtful:
            return np.zeros(len(contents), np.bool_)
        certain = found.marks & (ItemMark.UNCERTAIN | ItemMark.NEVER_SENT) == 0
        equal: NDArray[np.bool_] = found.known & certain & (found.contents == contents) & (verdicts == Verdict.NEW)
        return equal

    def _facts(
        self,
        found: Found,
        contents: NDArray[np.uint64],
        chosen: NDArray[np.int64],
        verdicts: NDArray[np.uint8],
    ) -> Facts:
        facts = np.zeros(len(chosen), FACTS)
        facts["content"] = contents[chosen]
        never = ItemMark.NEVER_SENT | ItemMark.UNCONFIRMED
        facts["created"] = ~found.known[chosen] | (found.marks[chosen] & never > 0)
        if self._wanted.adopts:
            facts["adopts"] = ~found.known[chosen] & (verdicts[chosen] == Verdict.NEW)
        return facts

    @staticmethod
    def _equal(
        admitted: Admissions, found: Found, contents: NDArray[np.uint64], places: NDArray[np.int64]
    ) -> Equal | None:
        if not len(places):
            return None
        every = len(places) == len(admitted.keys)
        keys = admitted.keys if every else [admitted.keys[at] for at in places.tolist()]
        again = np.flatnonzero(found.marks[places])
        return Equal(
            keys=keys,
            mark=Mark.UNCHANGED,
            again=again.tolist(),
            contents=contents[places[again]].astype("<u8").tobytes(),
        )

    @staticmethod
    def _nothing_sent(
        items: Items, admitted: Admissions, places: NDArray[np.int64], errors: Sequence[tuple[bytes, ItemError]]
    ) -> Chunk:
        equal = Equal(keys=[admitted.keys[at] for at in places.tolist()], mark=Mark.SKIPPED)
        chunk = Chunk(items=items[:0], keys=[], errors=errors, facts=np.zeros(0, FACTS))
        return replace(chunk, equal=equal) if len(places) else chunk
