"""Destinations: the catalogs that items can be sent to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.field_mask_pb2 import FieldMask

from blade.v1 import destination_service_pb2 as pb
from blade.v1.destination_pb2 import Destination
from blade_client.calls import Calls, names, new_request_id, pages


class DestinationCalls:
    """DestinationService; it is `BladeClient.destinations`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(
        self, destination: Destination, *, validate_only: bool = False, request_id: str | None = None
    ) -> pb.CreateDestinationResponse:
        """Tests the destination step by step and stores it.

        Args:
            destination: The destination; name and url are needed.
            validate_only: Test only, store nothing.
            request_id: Makes the call repeatable. Default: a new one, so that a retry of this call is safe.

        Returns:
            The destination as stored, the steps of the test, and what the catalog can do.

        Raises:
            ConnectionTestFailed: A step failed; nothing was stored.
            AlreadyExists, Invalid: The name is taken; a field is wrong, or the host or credentials are not allowed.
        """
        request = pb.CreateDestinationRequest(
            destination=destination, validate_only=validate_only, request_id=request_id or new_request_id()
        )
        return self._calls.unary(lambda s: s.destination.CreateDestination, request, repeatable=True)

    def get(self, name: str) -> Destination:
        """One destination. Raises NotFound."""
        request = pb.GetDestinationRequest(name=name)
        return self._calls.unary(lambda s: s.destination.GetDestination, request, repeatable=True).destination

    def list(self, *, page_size: int | None = None) -> Iterator[Destination]:
        """All destinations in the order of their names, `default` first, fetched page by page as they are read."""

        def fetch(token: str) -> tuple[Iterable[Destination], str]:
            request = pb.ListDestinationsRequest(page_size=page_size, page_token=token)
            page = self._calls.unary(lambda s: s.destination.ListDestinations, request, repeatable=True)
            return page.destinations, page.next_page_token

        return pages(fetch)

    def update(self, destination: Destination, *, fields: Iterable[str] = ()) -> Destination:
        """Changes a destination, all named fields or none, after a test where one is due.

        The call is not repeated by itself after a broken connection: read the destination to see whether it went
        through.

        Args:
            destination: The new values; `name` says which one, `etag` (if set) makes the call fail with Conflict when
                somebody else changed it meanwhile.
            fields: Such as `url` or `ceiling`. Default: every field that is set in `destination`.

        Raises:
            NotFound, Conflict, Invalid, ConnectionTestFailed, Precondition (`default`).
        """
        mask = FieldMask(paths=names(fields))
        request = pb.UpdateDestinationRequest(destination=destination, update_mask=mask if mask.paths else None)
        return self._calls.unary(lambda s: s.destination.UpdateDestination, request, repeatable=False).destination

    def delete(self, name: str, *, etag: str = "") -> None:
        """Forgets a destination; the items that are there stay.

        The call is not repeated by itself after a broken connection.

        Raises:
            NotFound, Conflict (another etag), Precondition (a sync, a source or a job names it).
        """
        request = pb.DeleteDestinationRequest(name=name, etag=etag)
        self._calls.unary(lambda s: s.destination.DeleteDestination, request, repeatable=False)

    def test(self, name: str) -> pb.TestDestinationResponse:
        """Takes the four steps of the test, at most 30 s. A failed step is no error. Raises NotFound."""
        request = pb.TestDestinationRequest(name=name)
        return self._calls.unary(lambda s: s.destination.TestDestination, request, repeatable=True)
