"""blade.v1.IngestService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from blade.v1 import ingest_service_pb2 as pb
from blade.v1.ingest_service_pb2_grpc import IngestServiceServicer
from blade_server.core.direct.ingest import Ingest
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.item import ingest_outcome, item_message
from blade_server.rpc.threads import Threads


class IngestService(IngestServiceServicer):
    """Converts, calls `core.ingest`, converts back."""

    def __init__(self, ingest: Ingest, threads: Threads) -> None:
        self._ingest = ingest
        self._threads = threads

    async def IngestItem(self, request: pb.IngestItemRequest, context: Context) -> pb.IngestItemResponse:
        ingested = await self._threads.outward(
            self._ingest.ingest,
            by=current(),
            data_type=request.data_type,
            source=request.source,
            item_id=request.item_id,
            replace=request.replace,
            metadata=dict(request.metadata),
            destination=request.destination,
        )
        return pb.IngestItemResponse(
            outcome=ingest_outcome(ingested.outcome),
            item=item_message(ingested.item) if ingested.item is not None else None,
            bytes_uploaded=ingested.bytes_uploaded,
        )
