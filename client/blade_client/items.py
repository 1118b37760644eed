"""Rows of a source, read straight from the warehouse, and single items brought into the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from blade.v1 import ingest_service_pb2, query_service_pb2
from blade.v1.item_pb2 import Item
from blade_client.calls import Calls, names
from blade_client.query_result import QueryResult

_COMPRESSIONS: dict[str, query_service_pb2.QueryArrowRequest.Compression] = {
    "none": query_service_pb2.QueryArrowRequest.COMPRESSION_UNSPECIFIED,
    "lz4": query_service_pb2.QueryArrowRequest.LZ4,
    "zstd": query_service_pb2.QueryArrowRequest.ZSTD,
}


class ItemCalls:
    """The part of BladeClient that speaks to QueryService and IngestService."""

    _calls: Calls

    def query(
        self,
        data_type: str = "",
        *,
        source: str = "",
        filter: str = "",  # noqa: A002 - the contract's name
        parameters: Mapping[str, str] | None = None,
        columns: Sequence[str] = (),
        order_by: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        compression: Literal["none", "lz4", "zstd"] = "none",
        timeout_s: float | None = None,
    ) -> QueryResult:
        """Describes a query; it runs when the result is read.

        Args:
            data_type: Data type of the source; or name it by `source`.
            source: Name of the source. Default: the one source of that data type.
            filter: One SQL boolean expression, for example `priority = :p`.
            parameters: Values of the filter's `:name` parameters.
            columns: Columns to return, or one. Default: all.
            order_by: Columns, or one, each with an optional ` desc`. Default: the warehouse's order.
            limit: At most this many rows. Default: 100 when read as items, all when read as Arrow.
            offset: Rows to skip first.
            compression: Of the Arrow stream; worth it on slow links only.
            timeout_s: Longest time of one reading, first row to last. Default: no limit.

        Returns:
            An iterable of items that can also be read `.to_arrow()` or `.to_pandas()`. Errors come from reading it.
        """
        shared: dict[str, Any] = {
            "data_type": data_type,
            "source": source,
            "filter": filter,
            "parameters": dict(parameters or {}),
            "columns": names(columns),
            "order_by": names(order_by),
            "limit": limit,
            "offset": offset,
        }
        return QueryResult(
            self._calls,
            items=query_service_pb2.QueryItemsRequest(**shared),
            arrow=query_service_pb2.QueryArrowRequest(**shared, compression=_COMPRESSIONS[compression]),
            timeout_s=timeout_s,
        )

    def get_item(self, data_type: str, item_id: str, *, source: str = "") -> Item:
        """One row as an item.

        Raises:
            NotFound: No row has the id.
            Precondition: More than one row has it, or the row cannot become an item.
        """
        request = query_service_pb2.GetItemRequest(data_type=data_type, item_id=item_id, source=source)
        return self._calls.unary(lambda s: s.query.GetItem, request, repeatable=True).item

    def ingest_item(
        self,
        data_type: str,
        item_id: str,
        *,
        source: str = "",
        replace: bool = False,
        metadata: Mapping[str, str] | None = None,
        destination: str = "",
    ) -> ingest_service_pb2.IngestItemResponse:
        """Brings one row into the catalog; repeating it is safe.

        After a broken connection the call is made again; the outcome is ALREADY_EXISTS if the first one got through.

        Args:
            data_type: Data type of the source.
            item_id: Id of the item.
            source: Name of the source. Default: the one source of that data type.
            replace: Upload even if the catalog has the item.
            metadata: Pairs added to the item's metadata.
            destination: Name of the destination. Default: the source's.

        Raises:
            NotFound, Precondition: as get_item; the item is above the destination's ceiling.
            Unavailable: The warehouse or the catalog does not answer.
        """
        request = ingest_service_pb2.IngestItemRequest(
            data_type=data_type,
            item_id=item_id,
            source=source,
            replace=replace,
            metadata=dict(metadata or {}),
            destination=destination,
        )
        return self._calls.unary(lambda s: s.ingest.IngestItem, request, repeatable=True)
