"""Reads the customer's five parts into what is stored, or says why one item is refused.

A form that is wrong as a form (a part missing or out of order) raises and concerns the whole request; an item that is
wrong in itself becomes a `Refusal` and leaves the others of its batch alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from blade_sandbox.catalog.multipart import Malformed, Part

FIELDS = ("file", "dataSource", "classification", "metadata", "timestamp")
"""The parts of one item; a batch repeats them in this order."""

_RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]00:00)", re.ASCII)


class Upload(NamedTuple):
    """One item as sent. `file` is the JSON exactly as it came; `metadata` a JSON object."""

    data_source: str
    item_id: str
    classification: str
    metadata: str
    timestamp: str
    file: bytes


class Refusal(NamedTuple):
    """One item that is not stored; `item_id` is None where the file names none."""

    item_id: str | None
    status: int
    error: str


def read_single(parts: Sequence[Part]) -> Upload | Refusal:
    """The item of a form with each part once, in any order; raises Malformed."""
    content = {part.name: part.content for part in parts}
    missing = [name for name in FIELDS if name not in content]
    if missing:
        raise Malformed(f"missing part {missing[0]!r}; an item has the parts {', '.join(FIELDS)}")
    if len(parts) != len(FIELDS):
        raise Malformed(f"{len(parts)} parts; an item has exactly one each of {', '.join(FIELDS)}")
    return _read([content[name] for name in FIELDS])


def read_batch(parts: Sequence[Part]) -> list[Upload | Refusal]:
    """The items of a form that repeats the parts in the order of `FIELDS`; raises Malformed."""
    if not parts:
        raise Malformed("the batch is empty")
    width = len(FIELDS)
    for at, part in enumerate(parts):
        if part.name != FIELDS[at % width]:
            raise Malformed(f"part {at + 1} is {part.name[:50]!r}; expected {FIELDS[at % width]!r}")
    if len(parts) % width:
        raise Malformed(f"the last item lacks its part {FIELDS[len(parts) % width]!r}")
    contents = [part.content for part in parts]
    return [_read(contents[at : at + width]) for at in range(0, len(contents), width)]


def _read(contents: Sequence[bytes]) -> Upload | Refusal:
    file, data_source, classification, metadata, timestamp = contents
    try:
        item = orjson.loads(file)
    except ValueError:
        return Refusal(None, 400, "file is not JSON")
    item_id = item.get("itemId") if isinstance(item, dict) else None
    if not isinstance(item_id, str) or not item_id:
        return Refusal(None, 422, "file has no itemId")
    if not isinstance(item.get("data"), dict):
        return Refusal(item_id, 422, "file has no object named data")
    try:
        error = _field_error(data_source, classification, metadata, timestamp)
    except UnicodeDecodeError:
        error = "a part is not UTF-8"
    if error is not None:
        return Refusal(item_id, 422, error)
    return Upload(data_source.decode(), item_id, classification.decode(), metadata.decode(), timestamp.decode(), file)


@lru_cache(maxsize=1024)
def _field_error(data_source: bytes, classification: bytes, metadata: bytes, timestamp: bytes) -> str | None:
    if not data_source.decode():
        return "dataSource is empty"
    if not classification.decode():
        return "classification is empty"
    try:
        is_object = isinstance(orjson.loads(metadata), dict)
    except ValueError:
        is_object = False
    if not is_object:
        return "metadata is not a JSON object"
    text = timestamp.decode()
    if not _RFC3339_UTC.fullmatch(text) or not _is_date(text):
        return f"timestamp is {text[:50]!r}; send RFC 3339 in UTC, as in 2024-01-10T10:00:00Z"
    return None


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return True
