"""blade.v1.ConfigService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from blade.v1 import config_service_pb2 as pb
from blade.v1 import cost_pb2
from blade.v1.config_service_pb2_grpc import ConfigServiceServicer
from blade_server.core.access.view import for_caller
from blade_server.core.sources.sources import Sources
from blade_server.errors import Invalid
from blade_server.model import StepOutcome
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.cost import source_cost_message
from blade_server.rpc.convert.fields import instant, optional
from blade_server.rpc.convert.source import id_count_message, set_fields, source_from, source_message, step_message
from blade_server.rpc.threads import Threads


class ConfigService(ConfigServiceServicer):
    """Converts, calls `core.sources`, converts back."""

    def __init__(self, sources: Sources, threads: Threads) -> None:
        self._sources = sources
        self._threads = threads

    async def AddSource(self, request: pb.AddSourceRequest, context: Context) -> pb.AddSourceResponse:
        data_type = request.data_type or request.source.data_type
        if request.source.data_type not in ("", data_type):
            raise Invalid.field(
                "data_type", f"{data_type!r} differs from source.data_type {request.source.data_type!r}"
            )
        request.source.data_type = data_type
        added = await self._threads.outward(
            self._sources.add,
            source_from(request.source),
            validate_only=request.validate_only,
            request_id=request.request_id,
            by=current(),
        )
        return pb.AddSourceResponse(
            source=source_message(added.source),
            steps=[step_message(step) for step in added.steps],
            item_ids=id_count_message(added.item_ids),
        )

    async def GetSource(self, request: pb.GetSourceRequest, context: Context) -> pb.GetSourceResponse:
        by = current()
        source = await self._threads.stored(self._sources.get, request.name, by=by)
        return pb.GetSourceResponse(source=source_message(for_caller(source, by)))

    async def ListSources(self, request: pb.ListSourcesRequest, context: Context) -> pb.ListSourcesResponse:
        by = current()
        sources, next_page_token = await self._threads.stored(
            self._sources.list,
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
            data_type=request.data_type,
            by=by,
        )
        shown = [source_message(for_caller(source, by)) for source in sources]
        return pb.ListSourcesResponse(sources=shown, next_page_token=next_page_token)

    async def UpdateSource(self, request: pb.UpdateSourceRequest, context: Context) -> pb.UpdateSourceResponse:
        fields = set(request.update_mask.paths) or set_fields(request.source)
        updated = await self._threads.outward(self._sources.update, source_from(request.source), fields, by=current())
        return pb.UpdateSourceResponse(
            source=source_message(updated.source), item_ids=id_count_message(updated.item_ids)
        )

    async def RemoveSource(self, request: pb.RemoveSourceRequest, context: Context) -> pb.RemoveSourceResponse:
        await self._threads.stored(self._sources.remove, request.name, request.etag, by=current())
        return pb.RemoveSourceResponse()

    async def TestSource(self, request: pb.TestSourceRequest, context: Context) -> pb.TestSourceResponse:
        tested = await self._threads.outward(self._sources.test, request.name, by=current())
        return pb.TestSourceResponse(
            passed=all(step.outcome is StepOutcome.PASSED for step in tested.steps),
            steps=[step_message(step) for step in tested.steps],
            item_ids=id_count_message(tested.item_ids),
        )

    async def ListSourceCosts(
        self, request: cost_pb2.ListSourceCostsRequest, context: Context
    ) -> cost_pb2.ListSourceCostsResponse:
        page = await self._threads.stored(
            self._sources.costs.list,
            since=instant(request, "since"),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
            by=current(),
        )
        return cost_pb2.ListSourceCostsResponse(
            costs=[source_cost_message(each) for each in page.costs],
            since=page.since,
            next_page_token=page.next_page_token,
        )
