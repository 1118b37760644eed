"""Answers of QueryArrow read by hand: the same as protobuf reads, without a copy, and only what is surely a batch."""

from __future__ import annotations

import pytest

from blade.v1.query_service_pb2 import ArrowTrailer, QueryArrowResponse
from blade_client.arrow_answer import record_batch


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_a_record_batch_is_a_view_of_the_answer(size: int) -> None:
    answer = QueryArrowResponse(record_batch=bytes(range(256)) * (size // 256) + bytes(size % 256)).SerializeToString()

    batch = record_batch(answer)

    assert batch is not None
    assert batch.obj is answer
    assert batch == QueryArrowResponse.FromString(answer).record_batch


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        QueryArrowResponse(schema=b"s" * 200).SerializeToString(),
        QueryArrowResponse(trailer=ArrowTrailer(row_count=3)).SerializeToString(),
        QueryArrowResponse(record_batch=b"x" * 200).SerializeToString()[:-1],
        QueryArrowResponse(record_batch=b"x" * 200).SerializeToString() + b"\x00",
        QueryArrowResponse(record_batch=b"x" * 200).SerializeToString()[:2],
        # A field that a later version may add behind it.
        QueryArrowResponse(record_batch=b"x" * 200).SerializeToString() + b"\x78\x01",
    ],
)
def test_anything_else_is_left_to_protobuf(answer: bytes) -> None:
    assert record_batch(answer) is None
