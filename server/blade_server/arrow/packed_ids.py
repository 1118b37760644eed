"""Item ids packed into bytes and back, column by column: two bytes for the length of each in UTF-8, then all of them.

How many there are is known to whoever keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from blade_server.arrow.arrays import contents

_LENGTH = np.dtype("<u2")


def packed(ids: pa.StringArray | Sequence[str]) -> bytes:
    """At most 65,535 bytes each, none of them null."""
    array = ids if isinstance(ids, pa.StringArray) else pa.array(ids, pa.string())
    begins, data = contents(array)
    return np.diff(begins).astype(_LENGTH).tobytes() + data[begins[0] : begins[-1]].tobytes()


def unpacked(packed_ids: Sequence[bytes], counts: Sequence[int]) -> pa.StringArray:
    """All of them, of which each is of as many ids as were packed. Raises ValueError if it cannot be so many."""
    pairs = list(zip(packed_ids, (count * _LENGTH.itemsize for count in counts), strict=True))
    count = sum(counts)
    lengths = np.frombuffer(b"".join(ids[:cut] for ids, cut in pairs), _LENGTH, count)
    begins = np.zeros(count + 1, np.int32)
    np.cumsum(lengths, out=begins[1:])
    text = b"".join(ids[cut:] for ids, cut in pairs)
    if len(text) != begins[-1]:
        raise ValueError(f"{count} ids take {begins[-1]} bytes, and there are {len(text)}")
    array: pa.StringArray = pa.StringArray.from_buffers(count, pa.py_buffer(begins.tobytes()), pa.py_buffer(text))
    return array
