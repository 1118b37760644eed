"""The form bodies of uploads, made column by column.

The parts of many items are put together by Arrow in one go, which leaves the interpreter lock to others and takes a
tenth of the time of joining them one by one. Values stand in part bodies only, never in headers, so nothing in an item
can add a header; the boundary is 128 random bits made after the content.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.arrow.arrays import as_bytes, contents, fill_null, join_bytes
from blade_server.arrow.items import Items
from blade_server.arrow.json_text import json_strings

_FILE = (
    b'Content-Disposition: form-data; name="file"; filename="blade_item.json"\r\nContent-Type: application/json\r\n\r\n'
)
_FIELD = b'Content-Disposition: form-data; name="%s"\r\n\r\n'

_FIXED_BYTES = 700
"""Roughly what an item takes beside its row and its metadata."""


def files(items: Items) -> pa.BinaryArray:
    """`blade_item.json` of each item. The row's own JSON is passed through as it is."""
    return join_bytes(
        b'{"itemId":',
        as_bytes(json_strings(items.ids)),
        b',"dataType":%b,"data":' % orjson.dumps(items.data_type),
        items.rows,
        b',"classification":',
        as_bytes(json_strings(items.classifications)),
        b',"lastModified":',
        as_bytes(fill_null(json_strings(items.last_modified), "null")),
        b',"metadata":%b}' % orjson.dumps(dict(items.metadata)),
    )


def encode(data_source: str, items: Items, *, about_bytes: int | None = None) -> Encoded:
    """The items of one data source as they stand in a body: five parts each, in the contract's order.

    Items that were never modified get the present as their timestamp. Given `about_bytes`, only as many of the first
    items as take about so much, and at least one. Raises UnicodeEncodeError for a data source that is not Unicode.
    """
    if about_bytes is not None:
        items = items[: _count(items, about_bytes)]
    boundary = secrets.token_hex(16).encode()
    between = b"\r\n--%b\r\n" % boundary
    uploaded_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parts = join_bytes(
        b"--%b\r\n" % boundary + _FILE,
        files(items),
        between + _FIELD % b"dataSource" + data_source.encode() + between + _FIELD % b"classification",
        as_bytes(items.classifications),
        between + _FIELD % b"metadata" + orjson.dumps(dict(items.metadata)) + between + _FIELD % b"timestamp",
        as_bytes(fill_null(items.last_modified, uploaded_at)),
        b"\r\n",
    )
    return Encoded(data_source, items, parts, boundary)


def _count(items: Items, size_bytes: int) -> int:
    """How many of the items take about so many bytes once they are encoded; at least one."""
    metadata = len(orjson.dumps(dict(items.metadata)))
    each = _FIXED_BYTES + 2 * metadata + items.rows.nbytes // max(1, len(items))
    return max(1, size_bytes // int(each))


class Encoded:
    """Items and their parts, immutable: any of them can be sent, again and again, in a body made anew."""

    __slots__ = ("_boundary", "_parts", "data_source", "items")

    def __init__(self, data_source: str, items: Items, parts: pa.BinaryArray, boundary: bytes) -> None:
        self.data_source = data_source
        self.items = items
        self._parts = parts
        self._boundary = boundary

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def ends(self) -> NDArray[np.int32]:
        """Where the parts of each item end, counted in bytes from the first one's beginning."""
        begins, _ = contents(self._parts)
        ends: NDArray[np.int32] = begins[1:] - begins[0]
        return ends

    @property
    def size_bytes(self) -> int:
        """Bytes of all parts."""
        begins, _ = contents(self._parts)
        return int(begins[-1] - begins[0])

    @property
    def closing_bytes(self) -> int:
        """Bytes of a body that holds nothing."""
        return len(self._closing)

    def cut(self, start: int, stop: int) -> Encoded:
        """The items from `start` to before `stop`, without a copy."""
        parts = self._parts.slice(start, stop - start)
        return Encoded(self.data_source, self.items[start:stop], parts, self._boundary)

    def take(self, places: Sequence[int]) -> Encoded:
        """The items at these places, in rising order."""
        if not places or places[-1] - places[0] == len(places) - 1:
            return self.cut(places[0], places[-1] + 1) if places else self.cut(0, 0)
        parts = self._parts.take(pa.array(places, pa.int64()))
        return Encoded(self.data_source, self.items.take(places), parts, self._boundary)

    def body(self) -> tuple[str, bytes]:
        """Content-Type and body."""
        begins, data = contents(self._parts)
        parts = data[begins[0] : begins[-1]].data
        return f"multipart/form-data; boundary={self._boundary.decode()}", b"".join([parts, self._closing])

    @property
    def _closing(self) -> bytes:
        return b"--%b--\r\n" % self._boundary
