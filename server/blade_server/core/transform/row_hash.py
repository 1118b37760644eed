"""`{row:hash}`: 16 hex digits of a row's content, the same in whatever batch, order and column order it comes.

They are the first of the SHA-256 of a text in UTF-8: for each column that is not null, in the order of the names' code
points, the name as a JSON string, `:`, the number of characters of the value, `:`, the value, and `,`. A value is
written as in the item's JSON, without quotes and escapes around and in text (and NaN as `"nan"`):
`"n":1:7,"note":5:a "b",`.

`core.sql.item_id_sql` writes the same as SQL, where every column has a type that SQL spells in one way.
"""

from __future__ import annotations

from hashlib import sha256

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import as_bytes, as_text, fill_null, join_text, values
from blade_server.core.transform.json_columns import bare_texts

DIGITS = 16


def row_hashes(batch: pa.RecordBatch) -> pa.StringArray:
    """The hash of each row of a batch, whose columns are valid ones of plain types."""
    pieces = []
    for name in sorted(batch.schema.names):
        texts = bare_texts(batch.column(name))
        pieces.append(fill_null(join_text(prefix(name), as_text(pc.utf8_length(texts)), ":", texts, ","), ""))
    contents = values(as_bytes(join_text(*pieces)))
    return pa.array([sha256(content).hexdigest()[:DIGITS] for content in contents], pa.string())


def prefix(name: str) -> str:
    """What stands before the length of a value."""
    return orjson.dumps(name).decode() + ":"
