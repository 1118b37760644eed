"""Which rows of a job are new: the memory that makes a job's effect once.

Each row has a 16-byte key: the digest of its item id (of its whole content if it has none; apart if it was rejected),
and for the n-th row with the same id a digest of that and n. The order of a result is not stable, so rows are told
apart by key, never by position.

In the database a job's keys stand in blocks, written before the items are sent, each with a byte for what became of
it.

In this process three structures answer "have I seen this key?" in bounded memory:

- `Past`: what earlier claims of the job recorded, 8 bytes a row, sorted; loaded only after a crash or a hand-over.
- a Bloom filter of 32 MiB over the rows of this claim: "no" is certain, "yes" is checked in the ledger.
- the keys that are read but not yet in the ledger.

At 10 million rows the filter says a wrong "yes" to 2 in 100,000 rows, each answered by one look at the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from hashlib import blake2b
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16


class Mark(IntEnum):
    """One byte of a block: what became of a row."""

    INTENDED = 0
    SUCCESS = 1
    ERROR = 2
    SKIPPED = 3
    UNSENT = 4
    """Handed back before it was sent."""


def item_key(item_id: str) -> bytes:
    """The key of the first row with this item id."""
    return blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


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


class Admission(NamedTuple):
    """The verdict over one row, and the key under which it stands in the ledger."""

    key: bytes
    verdict: Verdict


class Past:
    """What earlier claims recorded, and which of it this claim has met again. 9 bytes a row."""

    def __init__(self, keys: NDArray[np.uint64], uncertain: frozenset[bytes] = frozenset()) -> None:
        keys.sort()
        self._keys = keys
        self._met = np.zeros(len(keys), dtype=np.bool_)
        self.uncertain = uncertain

    @classmethod
    def load(cls, size: int, blocks: Iterable[tuple[bytes, bytes]]) -> Past:
        """From (keys, marks) blocks of at most `size` rows in all."""
        keys = np.empty(size, dtype=np.uint64)
        uncertain: set[bytes] = set()
        used = 0
        for digests, marks in blocks:
            mark = np.frombuffer(marks, dtype=np.uint8)
            head = np.frombuffer(digests, dtype=">u8")[::2]
            recorded = head[(mark >= Mark.SUCCESS) & (mark <= Mark.SKIPPED)]
            keys[used : used + len(recorded)] = recorded
            used += len(recorded)
            for at in np.flatnonzero(mark == Mark.INTENDED):
                uncertain.add(digests[at * KEY_BYTES : (at + 1) * KEY_BYTES])
        return cls(keys[:used], frozenset(uncertain))

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

    def meet(self, positions: NDArray[np.int64]) -> None:
        """Remembers that these were met."""
        self._met[positions] = True


class Bloom:
    """A set of keys that may say a wrong "yes" and never a wrong "no". 2^28 bits, 8 of them a key."""

    BITS = 28
    PROBES = np.arange(8, dtype=np.uint64)

    def __init__(self) -> None:
        self._bits = np.zeros(1 << (self.BITS - 3), dtype=np.uint8)

    def _places(self, digests: bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        words = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
        # Double hashing (Kirsch and Mitzenmacher 2006); the step is odd, so that the 8 places differ.
        bit = (words[:, :1] + (words[:, 1:] | np.uint64(1)) * self.PROBES) & np.uint64((1 << self.BITS) - 1)
        return bit >> np.uint64(3), (np.uint8(1) << (bit & np.uint64(7)).astype(np.uint8)).astype(np.uint8)

    def add_new(self, digests: bytes) -> NDArray[np.bool_]:
        """Adds keys and tells which of them may have been there before."""
        byte, mask = self._places(digests)
        there: NDArray[np.bool_] = ((self._bits[byte] & mask) != 0).all(axis=1)
        np.bitwise_or.at(self._bits, byte.ravel(), mask.ravel())
        return there


class Ledger:
    """Admits the rows of one claim, in the order in which they are read.

    `known` looks keys up in the part of the ledger that this claim has written (slow, rare). Not thread-safe but for
    `written`, which another thread may call.
    """

    def __init__(self, past: Past, known: Callable[[Sequence[bytes]], set[bytes]]) -> None:
        self._past = past
        self._known = known
        self._bloom = Bloom()
        self._unwritten: set[bytes] = set()
        # How many further rows an id had; grows with the number of different ids that occur more than once.
        self._repeats: dict[bytes, int] = {}

    def written(self, keys: Iterable[bytes]) -> None:
        """These stand in the ledger now."""
        self._unwritten.difference_update(keys)

    def admit(self, keys: Sequence[bytes]) -> list[Admission]:
        """The verdicts over a batch of rows, given the keys of their ids (or contents)."""
        if not keys:
            return []
        head = heads(keys)
        at = self._past.positions(head)
        _, first = np.unique(head, return_index=True)
        doubtful = np.ones(len(keys), dtype=np.bool_)
        doubtful[first] = False
        doubtful |= self._past.met(at)
        fresh = np.flatnonzero(~doubtful & (at < 0))
        doubtful[fresh] = self._bloom.add_new(b"".join([keys[i] for i in fresh.tolist()])) if len(fresh) else False
        self._past.meet(at[~doubtful & (at >= 0)])
        suspects = [keys[i] for i in np.flatnonzero(doubtful).tolist()]
        known = self._look_up(suspects)
        if not suspects and not len(self._past) and not self._past.uncertain:  # nearly always
            self._unwritten.update(keys)
            return list(map(Admission._make, zip(keys, repeat(Verdict.NEW))))
        return [
            self._repeat(key, known) if unclear else self._verdict(key, recorded=position >= 0)
            for key, unclear, position in zip(keys, doubtful.tolist(), at.tolist(), strict=True)
        ]

    def _verdict(self, key: bytes, *, recorded: bool) -> Admission:
        """A row whose id this claim has not met."""
        if recorded:
            return Admission(key, Verdict.DONE)
        self._unwritten.add(key)
        return Admission(key, Verdict.UNCERTAIN if key in self._past.uncertain else Verdict.NEW)

    def _look_up(self, suspects: Sequence[bytes]) -> set[bytes]:
        """Those that were met before. What waits to be written is noted first: it may be written while we ask."""
        waiting = {key for key in suspects if key in self._unwritten}
        rest = {key for key in suspects if key not in waiting and key not in self._repeats}
        return waiting | self._known(list(rest)) if rest else waiting

    def _repeat(self, key: bytes, known: set[bytes]) -> Admission:
        """A row whose id was seen before, or seems to have been."""
        position = self._past.positions(heads([key]))
        seen = (
            key in self._repeats
            or key in self._unwritten
            or key in known
            or (position[0] >= 0 and bool(self._past.met(position)[0]))
        )
        if not seen:
            self._unwritten.add(key)
            return Admission(key=key, verdict=Verdict.UNCERTAIN if key in self._past.uncertain else Verdict.NEW)
        occurrence = self._repeats[key] = self._repeats.get(key, 0) + 1
        again = repeat_key(key, occurrence)
        if self._past.positions(heads([again]))[0] >= 0:
            return Admission(key=again, verdict=Verdict.DONE)
        self._unwritten.add(again)
        return Admission(key=again, verdict=Verdict.DUPLICATE)
