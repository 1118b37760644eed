"""DestinationService over a dictionary."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

import re
from typing import Any

from blade.v1 import destination_service_pb2 as pb
from blade.v1.destination_pb2 import Destination, DestinationCapabilities
from blade.v1.source_pb2 import TestStep
from blade_client import errors
from blade_client.testing.checks import raise_for
from blade_client.testing.pages import page_of
from blade_client.testing.replays import Replays
from blade_client.testing.statuses import invalid

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_OWN = "default"
_STEPS = ("RESOLVE", "CONNECT", "AUTHENTICATE", "CAPABILITIES")
_CAN = DestinationCapabilities(max_batch_items=100, lookup=True, replaces_by_id=True, deletes=True, list=True)


class Destinations:
    """Destinations by name; each passes its test."""

    def __init__(self) -> None:
        self.stored = {_OWN: Destination(name=_OWN, display_name="The server's own catalog", read_only=True)}
        self._changes = 0
        self._replays = Replays()

    def CreateDestination(self, request: pb.CreateDestinationRequest, context: Any) -> pb.CreateDestinationResponse:
        stored = self._replays.answer(request.request_id, request)
        if stored is not None:
            return pb.CreateDestinationResponse(destination=stored)
        wanted = request.destination
        _check(wanted)
        if wanted.name in self.stored:
            raise errors.AlreadyExists(f"a destination named {wanted.name!r} exists", reason="DESTINATION_EXISTS")
        answer = pb.CreateDestinationResponse(destination=wanted, steps=_passed(), capabilities=_CAN)
        if not request.validate_only:
            kept = self._replays.remember(request.request_id, request, self._keep(wanted))
            answer.destination.CopyFrom(kept)
        return answer

    def GetDestination(self, request: pb.GetDestinationRequest, context: Any) -> pb.GetDestinationResponse:
        return pb.GetDestinationResponse(destination=self._named(request.name))

    def ListDestinations(self, request: pb.ListDestinationsRequest, context: Any) -> pb.ListDestinationsResponse:
        found = [self.stored[name] for name in sorted(self.stored, key=lambda name: (name != _OWN, name))]
        destinations, token = page_of(found, request, default=100)
        return pb.ListDestinationsResponse(destinations=destinations, next_page_token=token)

    def UpdateDestination(self, request: pb.UpdateDestinationRequest, context: Any) -> pb.UpdateDestinationResponse:
        current = self._changeable(request.destination.name, request.destination.etag)
        changed = Destination()
        changed.CopyFrom(current)
        given = {field.name for field, _ in request.destination.ListFields()} - {"name", "etag"}
        for path in request.update_mask.paths or given:
            if path not in changed.DESCRIPTOR.fields_by_name or path in {"name", "etag", "catalog_id", "read_only"}:
                raise invalid("update_mask", f"{path!r} is not a field that can change")
            if path == "timeout":
                changed.timeout.CopyFrom(request.destination.timeout)
            else:
                setattr(changed, path, getattr(request.destination, path))
        _check(changed)
        return pb.UpdateDestinationResponse(destination=self._keep(changed))

    def DeleteDestination(self, request: pb.DeleteDestinationRequest, context: Any) -> pb.DeleteDestinationResponse:
        del self.stored[self._changeable(request.name, request.etag).name]
        return pb.DeleteDestinationResponse()

    def TestDestination(self, request: pb.TestDestinationRequest, context: Any) -> pb.TestDestinationResponse:
        self._named(request.name)
        return pb.TestDestinationResponse(passed=True, steps=_passed(), capabilities=_CAN)

    def _keep(self, destination: Destination) -> Destination:
        kept = Destination()
        kept.CopyFrom(destination)
        kept.display_name = kept.display_name or kept.name
        kept.update_time.GetCurrentTime()
        if not kept.HasField("create_time"):
            kept.create_time.CopyFrom(kept.update_time)
        self._changes += 1
        kept.etag = f"etag-{self._changes}"
        kept.catalog_id = f"catalog of {kept.url}"
        self.stored[kept.name] = kept
        return kept

    def _named(self, name: str) -> Destination:
        if not name:
            raise invalid("name", "is required")
        if name not in self.stored:
            raise errors.NotFound(f"there is no destination {name!r}", reason="DESTINATION_NOT_FOUND")
        return self.stored[name]

    def _changeable(self, name: str, etag: str) -> Destination:
        if name == _OWN:
            raise errors.Precondition(f"{_OWN!r} is the server's own catalog", reason="DESTINATION_IN_USE")
        current = self._named(name)
        if etag not in ("", current.etag):
            raise errors.Conflict(f"destination {name!r} was changed by somebody else", reason="ETAG_MISMATCH")
        return current


def _check(destination: Destination) -> None:
    raise_for(
        [
            *(
                [("destination.name", f"{destination.name!r} is not a name")]
                if not _NAME.fullmatch(destination.name)
                else []
            ),
            *([("destination.url", "is required")] if not destination.url else []),
        ]
    )


def _passed() -> list[TestStep]:
    return [TestStep(kind=kind, outcome=TestStep.PASSED, duration_ms=1.0) for kind in _STEPS]
