"""Items: rows as the catalog gets them, and the rows that did not get there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from blade_server.model.error_reason import Reason


class Item(NamedTuple):
    """One row as the catalog gets it. A tuple, because a job makes millions of them.

    `data_json` is the row as UTF-8 JSON with exact integers and decimals as strings; `last_modified` is RFC 3339 in
    UTC.
    """

    item_id: str
    data_type: str
    data_json: bytes
    classification: str
    last_modified: str | None
    metadata: Mapping[str, str]


class Stage(StrEnum):
    """Where an item failed."""

    TRANSFORM = "TRANSFORM"
    UPLOAD = "UPLOAD"


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemError:
    """One row that did not reach the catalog. `row_json` is cut off at `MAX_ROW_JSON_BYTES`.

    `identical`: it repeats not only the item id of another row but all of the row. `redacted`: without what only those
    may know who read the row.
    """

    item_id: str
    stage: Stage
    reason: Reason
    field: str = ""
    message: str
    attempts: int = 1
    row_json: str = ""
    create_time: datetime | None = None
    identical: bool = False
    redacted: bool = False


MAX_ROW_JSON_BYTES = 8192
"""Most of a failed row that is kept with its error."""
