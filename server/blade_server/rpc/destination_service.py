"""blade.v1.DestinationService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from blade.v1 import destination_service_pb2 as pb
from blade.v1.destination_service_pb2_grpc import DestinationServiceServicer
from blade_server.core.destinations.destinations import Destinations
from blade_server.model import StepOutcome
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.destination import (
    capabilities_message,
    destination_from,
    destination_message,
    set_fields,
)
from blade_server.rpc.convert.fields import optional
from blade_server.rpc.convert.source import step_message
from blade_server.rpc.threads import Threads


class DestinationService(DestinationServiceServicer):
    """Converts, calls `core.destinations`, converts back."""

    def __init__(self, destinations: Destinations, threads: Threads) -> None:
        self._destinations = destinations
        self._threads = threads

    async def CreateDestination(
        self, request: pb.CreateDestinationRequest, context: Context
    ) -> pb.CreateDestinationResponse:
        created = await self._threads.outward(
            self._destinations.create,
            destination_from(request.destination),
            validate_only=request.validate_only,
            request_id=request.request_id,
            by=current(),
        )
        return pb.CreateDestinationResponse(
            destination=destination_message(created.destination),
            steps=[step_message(step) for step in created.steps],
            capabilities=capabilities_message(created.capabilities),
        )

    async def GetDestination(self, request: pb.GetDestinationRequest, context: Context) -> pb.GetDestinationResponse:
        destination = await self._threads.stored(self._destinations.get, request.name)
        return pb.GetDestinationResponse(destination=destination_message(destination))

    async def ListDestinations(
        self, request: pb.ListDestinationsRequest, context: Context
    ) -> pb.ListDestinationsResponse:
        destinations, next_page_token = await self._threads.stored(
            self._destinations.list,
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
            by=current(),
        )
        return pb.ListDestinationsResponse(
            destinations=[destination_message(destination) for destination in destinations],
            next_page_token=next_page_token,
        )

    async def UpdateDestination(
        self, request: pb.UpdateDestinationRequest, context: Context
    ) -> pb.UpdateDestinationResponse:
        fields = set(request.update_mask.paths) or set_fields(request.destination)
        updated = await self._threads.outward(
            self._destinations.update, destination_from(request.destination), fields, by=current()
        )
        return pb.UpdateDestinationResponse(destination=destination_message(updated))

    async def DeleteDestination(
        self, request: pb.DeleteDestinationRequest, context: Context
    ) -> pb.DeleteDestinationResponse:
        await self._threads.stored(self._destinations.delete, request.name, request.etag, by=current())
        return pb.DeleteDestinationResponse()

    async def TestDestination(self, request: pb.TestDestinationRequest, context: Context) -> pb.TestDestinationResponse:
        tested = await self._threads.outward(self._destinations.test, request.name, by=current())
        return pb.TestDestinationResponse(
            passed=all(step.outcome is StepOutcome.PASSED for step in tested.steps),
            steps=[step_message(step) for step in tested.steps],
            capabilities=capabilities_message(tested.capabilities),
        )
