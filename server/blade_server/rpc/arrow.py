"""Record batches as the messages of QueryArrow: the schema, IPC messages of at most about 2 MiB, the trailer.

The answers are put together as bytes, each megabyte copied once: Arrow's own buffers are joined behind the field's tag.
A protobuf message would copy it twice more, and Arrow's writer once more in memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal, Protocol

import pyarrow as pa

from blade.v1 import query_service_pb2
from blade_server.errors import Invalid, Precondition, Reason

MESSAGE_BYTES = 2 * 1024 * 1024
"""Each message wakes four threads, whatever its size; and clients that were not told otherwise take 4 MiB."""
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_RECORD_BATCH_TAG = bytes(
    [query_service_pb2.QueryArrowResponse.RECORD_BATCH_FIELD_NUMBER << 3 | 2]  # 2: length-delimited
)
_COMPRESSIONS: dict[int, Literal["lz4", "zstd"] | None] = {
    query_service_pb2.QueryArrowRequest.COMPRESSION_UNSPECIFIED: None,
    query_service_pb2.QueryArrowRequest.LZ4: "lz4",
    query_service_pb2.QueryArrowRequest.ZSTD: "zstd",
}


class Batches(Protocol):
    """What core gives for an Arrow query."""

    @property
    def schema(self) -> pa.Schema:
        """Known before the first batch."""

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...


def write_options(compression: Any) -> pa.ipc.IpcWriteOptions:
    """Raises Invalid for a number that names no compression."""
    if compression not in _COMPRESSIONS:
        raise Invalid.field("compression", f"{compression} is not a compression; there are LZ4 and ZSTD")
    return pa.ipc.IpcWriteOptions(compression=_COMPRESSIONS[compression])


def answers(batches: Batches, options: pa.ipc.IpcWriteOptions) -> Iterator[bytes]:
    """Serialised QueryArrowResponses, lazily.

    Raises Precondition(ITEM_REJECTED) for a row too large for one message; and whatever the batches raise.
    """
    schema = batches.schema
    schema_message = schema.serialize().to_pybytes()
    yield query_service_pb2.QueryArrowResponse(schema=schema_message).SerializeToString()
    has_dictionaries = any(_has_dictionary(field.type) for field in schema)
    messages: Callable[[pa.RecordBatch], Iterable[list[Any]]] = (
        partial(_several, options=options) if has_dictionaries else _Pieces(schema, options)
    )
    row_count = 0
    for batch in batches:
        for part in slices(batch, MESSAGE_BYTES):
            for pieces in messages(part):
                size_bytes = sum(map(len, pieces))
                if size_bytes > MAX_MESSAGE_BYTES - 16:
                    raise Precondition(
                        f"row {row_count + 1} has {size_bytes} bytes, more than one message can carry "
                        f"({MAX_MESSAGE_BYTES}); leave large columns out with `columns`",
                        reason=Reason.ITEM_REJECTED,
                    )
                yield b"".join((_RECORD_BATCH_TAG, _varint(size_bytes), *pieces))
            row_count += part.num_rows
    trailer = query_service_pb2.ArrowTrailer(row_count=row_count)
    yield query_service_pb2.QueryArrowResponse(trailer=trailer).SerializeToString()


def slices(batch: pa.RecordBatch, limit_bytes: int) -> Iterator[pa.RecordBatch]:
    """Zero-copy parts of a batch, in order, of at most one and a half times the limit, unless one row is larger."""
    parts = -(-batch.nbytes // limit_bytes)
    if parts <= 1:
        if batch.num_rows:
            yield batch
        return
    rows = max(1, batch.num_rows // parts)
    for offset in range(0, batch.num_rows, rows):
        part = batch.slice(offset, rows)
        if part.nbytes > limit_bytes * 3 // 2 and part.num_rows > 1:
            yield from slices(part, limit_bytes)
        else:
            yield part


class _Pieces:
    """A file for Arrow's writer that keeps what it is given and copies nothing: headers, and buffers where they lie."""

    closed = False  # asked for by pa.PythonFile, as `flush` is

    def __init__(self, schema: pa.Schema, options: pa.ipc.IpcWriteOptions) -> None:
        self._written: list[Any] = []
        file = pa.PythonFile(self, "w")  # type: ignore[arg-type]  # the stub asks for io.IOBase, Arrow for these methods
        self._writer = pa.ipc.new_stream(file, schema, options=options)
        self._schema_bytes = schema.serialize().size  # written in front of the first batch

    def __call__(self, batch: pa.RecordBatch) -> list[list[Any]]:
        """The one encapsulated IPC message of a batch without dictionaries, in pieces."""
        self._writer.write_batch(batch)
        pieces, self._written = self._written, []
        while self._schema_bytes > 0:
            self._schema_bytes -= len(pieces.pop(0))
        return [pieces]

    def write(self, piece: Any) -> None:
        self._written.append(piece)

    def flush(self) -> None: ...


def _several(batch: pa.RecordBatch, options: pa.ipc.IpcWriteOptions) -> Iterator[list[Any]]:
    """The encapsulated IPC messages of a batch: its dictionaries, and itself."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    for message in [*pa.ipc.MessageReader.open_stream(sink.getvalue())][1:]:
        yield [message.serialize()]


def _has_dictionary(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return True
    return any(_has_dictionary(type_.field(i).type) for i in range(type_.num_fields))


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)
