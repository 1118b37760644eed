"""blade.v1.AuditService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from blade.v1 import audit_service_pb2 as pb
from blade.v1.audit_service_pb2_grpc import AuditServiceServicer
from blade_server.core.audit.log import AuditLog
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.audit import anchor_from, entry_message, exported_message, filter_from
from blade_server.rpc.convert.fields import optional
from blade_server.rpc.streams import StreamKind, Streams
from blade_server.rpc.threads import Threads


class AuditService(AuditServiceServicer):
    """Converts, calls `core.audit`, converts back."""

    def __init__(self, log: AuditLog, streams: Streams, threads: Threads) -> None:
        self._log = log
        self._streams = streams
        self._threads = threads

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        entries, next_page_token = await self._threads.stored(
            self._log.list,
            filter_from(request),
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
        )
        return pb.ListAuditEntriesResponse(
            entries=[entry_message(entry) for entry in entries], next_page_token=next_page_token
        )

    async def ExportAuditLog(self, request: pb.ExportAuditLogRequest, context: Context) -> None:  # type: ignore[override]
        first = request.first
        with self._streams.running(context, StreamKind.EXPORTS):
            while entries := await self._threads.outward(self._log.exported, first):
                answer = pb.ExportAuditLogResponse(entries=[exported_message(entry) for entry in entries])
                await context.write(answer.SerializeToString())
                first = entries[-1].number + 1

    async def VerifyAuditLog(self, request: pb.VerifyAuditLogRequest, context: Context) -> pb.VerifyAuditLogResponse:
        found = await self._threads.outward(self._log.verify, anchor_from(request))
        return pb.VerifyAuditLogResponse(
            intact=not found.problem,
            entry_count=found.entry_count,
            problem=found.problem,
            first_wrong=found.first_wrong,
            head_number=found.head.number,
            head_hash=found.head.hash.hex() if found.head.number else "",
        )
