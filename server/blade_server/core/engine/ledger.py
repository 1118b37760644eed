"""Which rows of a job are new: the memory that makes a job's effect once.

Each row has a 16-byte key: the digest of its item id (of its whole content if it has none; apart if it was rejected),
and for the n-th row with the same id a digest of that and n. The order of a result is not stable, so rows are told
apart by key, never by position.

In the database a job's keys stand in blocks, written before the items are sent, each with a byte for what became of
it.

In this process three structures answer "have I seen this key?" in bounded memory:

- `Past`: what earlier claims of the job recorded, 8 bytes a row, sorted; loaded only after a crash or a hand-over. The
  deletes of a sync's run stand apart in it: they are of no row.
- a Bloom filter of at most 64 MiB over the rows of this claim: "no" is certain, "yes" is checked in the ledger.
- the keys that are read but not yet in the ledger.

At 10 million rows the filter says a wrong "yes" to 2 in a million rows, each answered by one look at the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.arrow.arrays import as_bytes, values
from blade_server.model import Block

KEY_BYTES = 16
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Mark(IntEnum):
    """One byte of a block: what became of a row."""

    INTENDED = 0
    SUCCESS = 1
    ERROR = 2
    SKIPPED = 3
    UNSENT = 4
    """Handed back before it was sent."""
    CREATED = 5
    """Sent, and its sync did not know it before."""
    UNCHANGED = 6
    """There already as it is."""
    DELETED = 7
    DOUBTED = 8
    """Given up, and it may be there all the same."""

    @property
    def failed(self) -> bool:
        """Whether it counts as an error."""
        return self in {Mark.ERROR, Mark.DOUBTED}


def item_key(item_id: str) -> bytes:
    """The key of the first row with this item id."""
    return blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def item_keys(item_ids: pa.StringArray) -> list[bytes]:
    """`item_key` of each."""
    fresh, keys = blake2b(digest_size=KEY_BYTES), []
    for item_id in values(as_bytes(item_ids)):
        digest = fresh.copy()  # takes two thirds of the time of making one
        digest.update(item_id)
        keys.append(digest.digest())
    return keys


def repeat_key(key: bytes, occurrence: int) -> bytes:
    """The key of another row with the same id; `occurrence` counts from 1."""
    return blake2b(key, digest_size=KEY_BYTES, salt=occurrence.to_bytes(8, "big")).digest()


def heads(keys: Sequence[bytes]) -> NDArray[np.uint64]:
    """The first 8 bytes of each key, as numbers."""
    return np.frombuffer(b"".join(keys), dtype=">u8")[::2].astype(np.uint64)


def rejected_key(key: bytes) -> bytes:
    """The key of a row with this item id that could not become an item: it takes no other row's place."""
    return blake2b(key, digest_size=KEY_BYTES, person=b"rejected").digest()


class Verdict(IntEnum):
    """What to do with a row."""

    NEW = 0
    """Process it."""
    UNCERTAIN = 1
    """Process it, but look it up in the catalog first: an earlier claim may have sent it."""
    DONE = 2
    """An earlier claim recorded it: leave it."""
    DUPLICATE = 3
    """Another row of this job has its item id: record an error."""


class Admissions(NamedTuple):
    """Over rows in their order: the keys under which they stand in the ledger, the verdicts (see `Verdict`), and which
    of them have the item id of another row of the job.
    """

    keys: list[bytes]
    verdicts: NDArray[np.uint8]
    repeated: NDArray[np.bool_]


def first_block_of(epoch: int) -> int:
    """Number of the first block that a claim writes: those of later claims stand behind."""
    return epoch << 32


class Deletes:
    """What earlier claims of the job deleted, or were about to, by the first 8 bytes of their keys."""

    def __init__(self) -> None:
        self.done: set[int] = set()
        """Recorded: gone, or refused. The heads of their keys."""
        self.open: set[int] = set()
        """They may be at work."""

    def add(self, block: Block) -> None:
        """Takes in a block of deletes; what was handed back was not deleted."""
        for head, mark in zip(heads([block.keys]).tolist(), block.outcomes, strict=True):
            if mark == Mark.INTENDED:
                self.open.add(head)
            elif mark != Mark.UNSENT:
                self.done.add(head)

    def __bool__(self) -> bool:
        return bool(self.done or self.open)

    def __contains__(self, key: object) -> bool:
        assert isinstance(key, bytes)
        head = int.from_bytes(key[:8], "big")
        return head in self.done or head in self.open


class Past:
    """What earlier claims recorded, and which of it this claim has met again. 9 bytes a row.

    `doubtful`: the ledger may lack what was sent, so that all else is uncertain. `deletes`: what they deleted, which
    may be items of rows that are there again.
    """

    def __init__(
        self,
        keys: NDArray[np.uint64],
        uncertain: frozenset[bytes] = frozenset(),
        *,
        doubtful: bool = False,
        deletes: Deletes | None = None,
    ) -> None:
        keys.sort()
        self._keys = keys
        self._met = np.zeros(len(keys), dtype=np.bool_)
        self._uncertain = uncertain
        self._doubtful = doubtful
        self.deletes = deletes or Deletes()

    @classmethod
    def none(cls, *, doubtful: bool = False) -> Past:
        """Nothing was recorded."""
        return cls(np.empty(0, dtype=np.uint64), doubtful=doubtful)

    @classmethod
    def load(cls, size: int, blocks: Iterable[Block], *, doubtful: bool = False) -> Past:
        """From blocks of at most `size` rows in all."""
        keys = np.empty(size, dtype=np.uint64)
        uncertain: set[bytes] = set()
        deletes = Deletes()
        used = 0
        for block in blocks:
            if block.deletes:
                deletes.add(block)
                continue
            mark = np.frombuffer(block.outcomes, dtype=np.uint8)
            head = np.frombuffer(block.keys, dtype=">u8")[::2]
            recorded = head[(mark != Mark.INTENDED) & (mark != Mark.UNSENT)]
            keys[used : used + len(recorded)] = recorded
            used += len(recorded)
            for at in np.flatnonzero(mark == Mark.INTENDED):
                uncertain.add(block.keys[at * KEY_BYTES : (at + 1) * KEY_BYTES])
        return cls(keys[:used], frozenset(uncertain), doubtful=doubtful, deletes=deletes)

    def __len__(self) -> int:
        return len(self._keys)

    def positions(self, head: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where each key stands, or -1."""
        if not len(self._keys):
            return np.full(len(head), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self._keys, head), len(self._keys) - 1)
        return np.where(self._keys[at] == head, at, -1)

    def met(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether this claim has met these before; -1 has not been met."""
        return np.where(positions >= 0, self._met[positions] if len(self._met) else False, False)

    @property
    def certain(self) -> bool:
        """Whether nothing can have been sent but what is recorded."""
        return not (self._doubtful or self._uncertain or self.deletes)

    def verdict(self, key: bytes) -> Verdict:
        """Over a row that is not recorded."""
        uncertain = self._doubtful or key in self._uncertain or key in self.deletes
        return Verdict.UNCERTAIN if uncertain else Verdict.NEW

    def meet(self, positions: NDArray[np.int64]) -> None:
        """Remembers that these were met."""
        self._met[positions] = True


class Bloom:
    """A set of keys that may say a wrong "yes" and never a wrong "no": 8 bits set for a key.

    It is as large as `rows` keys need, at most 64 MiB, because the first visit to a page of memory is dear: ten keys in
    64 MiB took 10 ms. When more keys come than were expected (a view that has grown since it was counted), a second
    filter of the full size stands behind the first.
    """

    MIN_BITS, MAX_BITS = 12, 23  # of a word's place

    def __init__(self, rows: int | None = None) -> None:
        """`rows`: how many keys are expected; None: nobody knows."""
        wanted = self.MAX_BITS if rows is None else rows.bit_length()  # a word for each key, while there is room
        self._first = _Words(min(max(self.MIN_BITS, wanted), self.MAX_BITS))
        self._room = self._first.size
        self._second: _Words | None = None

    def add_new(self, digests: bytes) -> NDArray[np.bool_]:
        """Adds keys and tells which of them may have been there before."""
        halves = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
        self._room -= len(halves)
        if self._room < 0 and self._second is None and self._first.bits < self.MAX_BITS:
            self._second = _Words(self.MAX_BITS)
        if self._second is None:
            return self._first.look(halves, add=True)
        return self._first.look(halves) | self._second.look(halves, add=True)

    def has(self, digests: bytes) -> NDArray[np.bool_]:
        """Which of the keys may be there."""
        halves = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
        there = self._first.look(halves)
        return there if self._second is None else there | self._second.look(halves)


class _Words:
    """The bits of a filter.

    Those of a key lie in two words, four in each (a blocked filter: Putze, Sanders and Singler 2007), so that a key
    costs two visits to memory instead of eight.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.size = 1 << bits
        self._words = np.zeros(self.size, dtype=np.uint64)

    def look(self, halves: NDArray[np.uint64], *, add: bool = False) -> NDArray[np.bool_]:
        """Which of the keys, each as two numbers, may be there; then they are, if asked for."""
        there = np.ones(len(halves), dtype=np.bool_)
        for number in (0, 1):
            place = (halves[:, 0] >> np.uint64(self.bits * number)) & np.uint64(self.size - 1)
            mask = np.zeros(len(halves), dtype=np.uint64)
            for bit in range(24 * number, 24 * number + 24, 6):
                mask |= np.uint64(1) << ((halves[:, 1] >> np.uint64(bit)) & np.uint64(63))
            there &= (self._words[place] & mask) == mask
            if add:
                np.bitwise_or.at(self._words, place, mask)
        return there


class Ledger:
    """Admits the rows of one claim, in the order in which they are read.

    `known` looks keys up in the part of the ledger that this claim has written (slow, rare). Not thread-safe but for
    `written`, which another thread may call.
    """

    def __init__(
        self, past: Past, known: Callable[[Sequence[bytes]], set[bytes]], *, expected_rows: int | None = None
    ) -> None:
        self._past = past
        self._known = known
        self._bloom = Bloom(expected_rows)
        self._unwritten: set[bytes] = set()
        # How many further rows an id had; grows with the number of different ids that occur more than once.
        self._repeats: dict[bytes, int] = {}

    def written(self, keys: Iterable[bytes]) -> None:
        """These stand in the ledger now."""
        if self._unwritten:
            self._unwritten.difference_update(keys)

    def admit_known(self, keys: Sequence[bytes], known: NDArray[np.bool_], again: NDArray[np.bool_]) -> Admissions:
        """As `admit`, where somebody else keeps which of the `known` ids came `again`: they are not looked for here.

        All batches are admitted in this way, or none. Where an earlier claim has recorded rows, it is `admit`.
        """
        if len(self._past) or not self._past.certain:
            return self.admit(keys)
        admitted, verdicts, repeated = list(keys), np.zeros(len(keys), dtype=np.uint8), again.copy()
        others = np.flatnonzero(~known)
        if len(others):
            some, verdicts[others], repeated[others] = self.admit(_at(others, keys))
            for at, key in zip(others.tolist(), some, strict=True):
                admitted[at] = key
        for at in np.flatnonzero(again).tolist():
            admitted[at] = self._repeated(keys[at])
            self._unwritten.add(admitted[at])
        verdicts[again] = Verdict.DUPLICATE
        return Admissions(admitted, verdicts, repeated)

    def _repeated(self, key: bytes) -> bytes:
        """The key of one more row with the same id."""
        occurrence = self._repeats[key] = self._repeats.get(key, 0) + 1
        return repeat_key(key, occurrence)

    def admit(self, keys: Sequence[bytes]) -> Admissions:
        """The verdicts over a batch of rows, given the keys of their ids (or contents)."""
        if not keys:
            return Admissions([], np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.bool_))
        head = heads(keys)
        at = self._past.positions(head)
        recorded, doubtful = at >= 0, stood_before(head) | self._past.met(at)
        fresh = np.flatnonzero(~(doubtful | recorded))
        if len(fresh):
            doubtful[fresh] = self._bloom.add_new(b"".join(_at(fresh, keys)))
        self._past.meet(at[recorded & ~doubtful])
        suspects = np.flatnonzero(doubtful)
        known = self._look_up(_at(suspects, keys)) if len(suspects) else set()  # before any of these counts as seen
        verdicts = np.where(recorded, Verdict.DONE, Verdict.NEW).astype(np.uint8)
        new = np.flatnonzero(~(doubtful | recorded))
        self._admit_new(_at(new, keys), new, verdicts)
        if not len(suspects):
            return Admissions(list(keys), verdicts, doubtful)
        return self._admit_suspects(keys, suspects, known, verdicts, self._past.met(at[suspects]))

    def _admit_new(self, keys: Sequence[bytes], places: NDArray[np.int64], verdicts: NDArray[np.uint8]) -> None:
        """Rows whose id this claim has not met and no claim has recorded."""
        self._unwritten.update(keys)
        if not self._past.certain:
            verdicts[places] = [self._past.verdict(key) for key in keys]

    def _look_up(self, suspects: Sequence[bytes]) -> set[bytes]:
        """Those that were met before. What waits to be written is noted first: it may be written while we ask."""
        waiting = {key for key in suspects if key in self._unwritten}
        rest = {key for key in suspects if key not in waiting and key not in self._repeats}
        return waiting | self._known(list(rest)) if rest else waiting

    def _admit_suspects(
        self,
        keys: Sequence[bytes],
        places: NDArray[np.int64],
        known: set[bytes],
        verdicts: NDArray[np.uint8],
        met: NDArray[np.bool_],
    ) -> Admissions:
        """Rows whose ids were seen before, or seem to have been, beside the others."""
        admitted, repeated = list(keys), np.zeros(len(keys), dtype=np.bool_)
        fresh = []
        for i, met_before in zip(places.tolist(), met.tolist(), strict=True):
            key = keys[i]
            if key in self._repeats or key in self._unwritten or key in known or met_before:
                admitted[i], repeated[i] = self._repeated(key), True
            else:
                self._unwritten.add(key)
                fresh.append(i)
        verdicts[fresh] = [self._past.verdict(keys[i]) for i in fresh]
        again = np.flatnonzero(repeated)
        if len(again):
            done = self._past.positions(heads(_at(again, admitted))) >= 0
            verdicts[again] = np.where(done, Verdict.DONE, Verdict.DUPLICATE)
            self._unwritten.update(_at(again[~done], admitted))
        return Admissions(admitted, verdicts, repeated)


class Likeness(IntEnum):
    """What a row that repeats an item id is to the row that its id stood for first."""

    UNKNOWN = 0
    OTHER = 1
    EQUAL = 2


WATCHED_ROWS = 50_000
"""Rows are compared until there were so many without a repeated id, and again from the next repeat on: nearly all jobs
have none, and to remember the content of a row costs a twentieth of all that is done with it."""


class Contents:
    """Whether a row that repeats an item id repeats the whole row: in bounded memory, as the ids themselves.

    OTHER is certain; EQUAL is wrong as seldom as the filter's "yes".
    """

    def __init__(self, expected_rows: int | None = None) -> None:
        self._expected_rows = expected_rows
        self._bloom: Bloom | None = None
        self._quiet_rows = 0
        self._missed = False

    def compare(self, keys: Sequence[bytes], rows: pa.BinaryArray, repeated: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """A batch of rows, in their order: the `Likeness` of each that repeats an id (of the others, UNKNOWN).

        Args:
            keys: of the item ids.
            rows: what is in them.
            repeated: which of them repeat an id, as `Admissions` has it.
        """
        likeness = np.zeros(len(keys), dtype=np.uint8)
        repeats = bool(repeated.any())
        if not self._watches(len(keys), repeats):
            return likeness
        if self._bloom is None:  # for what is watched at least: few jobs go on, and their filter grows
            self._bloom = Bloom(min(self._expected_rows or WATCHED_ROWS, WATCHED_ROWS))
        content = np.fromiter(map(hash, values(rows)), np.int64, len(keys)).view(np.uint64)
        digests = np.column_stack((content ^ heads(keys), content * _ODD))
        if not repeats:
            self._bloom.add_new(digests.tobytes())
            return likeness
        self._bloom.add_new(digests[~repeated].tobytes())
        other = Likeness.UNKNOWN if self._missed else Likeness.OTHER
        likeness[repeated] = np.where(self._bloom.has(digests[repeated].tobytes()), Likeness.EQUAL, other)
        return likeness

    def _watches(self, rows: int, repeats: bool) -> bool:
        if rows and (repeats or self._quiet_rows < WATCHED_ROWS):
            self._quiet_rows = 0 if repeats else self._quiet_rows + rows
            return True
        self._missed = self._missed or rows > 0
        return False


def stood_before(numbers: NDArray[np.uint64] | NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these are equal to one that stands before them."""
    ordered = np.sort(numbers)
    if not (ordered[1:] == ordered[:-1]).any():  # as nearly always: a third of the time
        return np.zeros(len(numbers), dtype=np.bool_)
    order = np.argsort(numbers, kind="stable")
    again = np.zeros(len(numbers), dtype=np.bool_)
    again[order[1:]] = numbers[order[1:]] == numbers[order[:-1]]
    return again


def _at(places: NDArray[np.int64], keys: Sequence[bytes]) -> Sequence[bytes]:
    return keys if len(places) == len(keys) else [keys[i] for i in places.tolist()]
