"""Rows keep their values on the way into a Struct."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from google.protobuf import json_format

from blade.v1 import (
    ingest_service_pb2,
)
from blade_server import model
from blade_server.rpc.convert.item import ingest_outcome, item_message


@pytest.mark.parametrize(
    ("data_json", "data"),
    [
        (b'{"n": 9007199254740992, "m": -9007199254740992}', {"n": 2.0**53, "m": -(2.0**53)}),
        (b'{"n": 9007199254740993, "m": -9007199254740993}', {"n": "9007199254740993", "m": "-9007199254740993"}),
        (b'{"n": 123456789012345678901234567890}', {"n": "123456789012345678901234567890"}),
        (
            b'{"deep": [{"n": 9007199254740993}, null, true, 1.5]}',
            {"deep": [{"n": "9007199254740993"}, None, True, 1.5]},
        ),
        ('{"ключ": "зна́чение 🚀"}'.encode(), {"ключ": "зна́чение 🚀"}),
        (b"{}", {}),
    ],
)
def test_a_row_keeps_its_values_and_integers_that_doubles_cannot_hold_become_strings(
    data_json: bytes, data: dict[str, Any]
) -> None:
    item = item_message(model.Item("P-1", "maintenance", data_json, "UNCLASS", None, {"source": "parts"}))

    assert json_format.MessageToDict(item.data) == data
    assert not item.HasField("last_modified")


def test_the_last_change_of_an_item_is_a_timestamp() -> None:
    item = item_message(model.Item("P-1", "m", b"{}", "UNCLASS", "2024-02-29T23:59:59.123456Z", {}))

    assert item.last_modified.ToDatetime(tzinfo=UTC) == datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)


def test_the_outcomes_of_an_ingestion_map_by_name() -> None:
    class Outcome(StrEnum):
        ALREADY_EXISTS = "ALREADY_EXISTS"

    assert ingest_outcome(Outcome.ALREADY_EXISTS) == ingest_service_pb2.IngestItemResponse.Outcome.ALREADY_EXISTS
