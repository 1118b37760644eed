"""blade.v1.QueryService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from collections.abc import Iterator

from blade.v1 import query_service_pb2 as pb
from blade.v1.query_service_pb2_grpc import QueryServiceServicer
from blade_server.core.direct.queries import Queries
from blade_server.core.direct.streams import ItemStream
from blade_server.model import RowQuery
from blade_server.rpc import arrow
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.fields import optional
from blade_server.rpc.convert.item import item_message, rejection_message
from blade_server.rpc.streams import StreamKind, Streams
from blade_server.rpc.threaded_stream import stream
from blade_server.rpc.threads import Threads

MAX_CHUNK_ROWS = 100
MAX_CHUNK_BYTES = 1024 * 1024


class QueryService(QueryServiceServicer):
    """Converts, calls `core.queries`, converts back; what a stream answers is made and serialised in its thread."""

    def __init__(self, queries: Queries, streams: Streams, threads: Threads) -> None:
        self._queries = queries
        self._streams = streams
        self._threads = threads

    async def QueryItems(self, request: pb.QueryItemsRequest, context: Context) -> None:  # type: ignore[override]
        asked, by = _asked(request), current()
        with self._streams.running(context, StreamKind.QUERIES) as running:
            await stream(
                self._threads.streams,
                lambda: running.of(self._queries.items(asked, by=by)),
                chunks,
                context.write,
            )

    async def QueryArrow(self, request: pb.QueryArrowRequest, context: Context) -> None:  # type: ignore[override]
        asked, by = _asked(request), current()
        options = arrow.write_options(request.compression)
        with self._streams.running(context, StreamKind.QUERIES) as running:
            await stream(
                self._threads.streams,
                lambda: running.of(self._queries.arrow(asked, by=by)),
                lambda batches: arrow.answers(batches, options),
                context.write,
            )

    async def GetItem(self, request: pb.GetItemRequest, context: Context) -> pb.GetItemResponse:
        item = await self._threads.outward(
            self._queries.item,
            data_type=request.data_type,
            source=request.source,
            item_id=request.item_id,
            by=current(),
        )
        return pb.GetItemResponse(item=item_message(item))


def _asked(request: pb.QueryItemsRequest | pb.QueryArrowRequest) -> RowQuery:
    return RowQuery(
        data_type=request.data_type,
        source=request.source,
        filter=request.filter,
        parameters=dict(request.parameters),
        columns=list(request.columns),
        order_by=list(request.order_by),
        limit=optional(request, "limit"),
        offset=request.offset,
    )


def chunks(rows_of: ItemStream) -> Iterator[bytes]:
    """Serialised QueryItemsResponses of at most 100 rows and, unless one row is larger, about 1 MiB."""
    for batch in rows_of:
        chunk, rows = pb.QueryItemsResponse(), 0
        size_bytes = 0
        for item in batch.items:
            if rows == MAX_CHUNK_ROWS or size_bytes > MAX_CHUNK_BYTES:
                yield chunk.SerializeToString()
                chunk, rows, size_bytes = pb.QueryItemsResponse(), 0, 0
            chunk.items.append(item_message(item))
            rows, size_bytes = rows + 1, size_bytes + len(item.data_json)
        for rejected in batch.rejected:
            if rows == MAX_CHUNK_ROWS:  # a rejection carries at most 8 KiB of its row
                yield chunk.SerializeToString()
                chunk, rows = pb.QueryItemsResponse(), 0
            chunk.rejections.append(rejection_message(rejected.error))
            rows += 1
        if rows:
            yield chunk.SerializeToString()
    if rows_of.more_rows:
        yield pb.QueryItemsResponse(more_rows=True).SerializeToString()
