"""QueryArrow's answers, read without a copy: protobuf copies each megabyte twice, which takes longer than sending."""

from __future__ import annotations

from blade.v1.query_service_pb2 import QueryArrowResponse

_RECORD_BATCH_TAG = QueryArrowResponse.RECORD_BATCH_FIELD_NUMBER << 3 | 2  # 2: length-delimited


def record_batch(answer: bytes) -> memoryview | None:
    """The record batch in a serialised QueryArrowResponse, as a view of it.

    None if it is anything else than that one field, which is for QueryArrowResponse to read.
    """
    if not answer or answer[0] != _RECORD_BATCH_TAG:
        return None
    length = position = 0
    for octet in answer[1:11]:
        length |= (octet & 0x7F) << 7 * position
        position += 1
        if octet < 0x80:
            break
    start = 1 + position
    return memoryview(answer)[start:] if length == len(answer) - start else None
