"""Items, rows that could not become one, and what an ingestion did."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from google.protobuf.struct_pb2 import Struct

from blade.v1 import ingest_service_pb2, item_pb2
from blade_server import model
from blade_server.rpc.convert.fields import REASONS

_MAX_EXACT_INT = 2**53  # beyond it JSON readers, and Struct itself, round


def item_message(item: model.Item) -> item_pb2.Item:
    """An item; integers beyond 2^53 become strings, because a Struct holds doubles."""
    answer = item_pb2.Item(
        item_id=item.item_id,
        data_type=item.data_type,
        data=_struct(item.data_json),
        classification=item.classification,
        metadata=item.metadata,
    )
    if item.last_modified is not None:
        answer.last_modified.FromJsonString(item.last_modified)
    return answer


def _struct(data_json: bytes) -> Struct:
    # The json of the standard library, because orjson rounds integers beyond 64 bits.
    struct = Struct()
    struct.update(json.loads(data_json, parse_int=_exact_int))
    return struct


def _exact_int(digits: str) -> int | str:
    value = int(digits)
    return value if abs(value) <= _MAX_EXACT_INT else digits


def rejection_message(error: model.ItemError) -> item_pb2.ItemRejection:
    """A row that could not become an item."""
    return item_pb2.ItemRejection(
        item_id=error.item_id,
        reason=REASONS[error.reason],
        field=error.field,
        message=error.message,
        row_json=error.row_json,
    )


def ingest_outcome(outcome: StrEnum) -> Any:
    """The outcome of an ingestion, by its name."""
    return ingest_service_pb2.IngestItemResponse.Outcome.Value(outcome.name)
