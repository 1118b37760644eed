"""Digests of the content of items, by which a sync knows what it has sent already.

The content is what `same_item` compares: the file as parsed, without `metadata.job`. The id is left out, since digests
are compared under one id only. Rows must have their columns in the order of their names, so that equal content has
equal digests whatever the order in which a table has its columns.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import orjson
from numpy.typing import NDArray

from blade_server.arrow.arrays import as_bytes, fill_null, join_bytes, values
from blade_server.arrow.items import Items

DIGEST_BYTES = 8
FORMAT = 1
"""Part of every digest: what is digested in another way has another number, and nothing seems to be equal to it."""


def digests(items: Items) -> NDArray[np.uint64]:
    """The digest of each item, 8 bytes of BLAKE2b as a number."""
    common = blake2b(_common(items), digest_size=blake2b.PERSON_SIZE).digest()
    # JSON has no raw NUL, and neither has a classification.
    contents = join_bytes(
        items.rows, b"\0", as_bytes(items.classifications), b"\0", as_bytes(fill_null(items.last_modified, ""))
    )
    # In one call each: three quarters of the time of a copy of one that has begun, and its update.
    made = [blake2b(content, digest_size=DIGEST_BYTES, person=common).digest() for content in values(contents)]
    return np.frombuffer(b"".join(made), np.dtype("<u8"))


def _common(items: Items) -> bytes:
    """What all items of a job share."""
    metadata = {name: value for name, value in items.metadata.items() if name != "job"}
    return orjson.dumps([FORMAT, items.data_type, metadata], option=orjson.OPT_SORT_KEYS)
