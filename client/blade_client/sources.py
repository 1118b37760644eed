"""Sources: what is configured on the server, and whether it works."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from google.protobuf.field_mask_pb2 import FieldMask

from blade.v1 import config_service_pb2 as pb
from blade.v1.cost_pb2 import ListSourceCostsRequest, SourceCost
from blade.v1.source_pb2 import Source
from blade_client.calls import Calls, names, new_request_id, pages, timestamp


class SourceCalls:
    """The part of BladeClient that speaks to ConfigService."""

    _calls: Calls

    def add_source(
        self,
        source: Source,
        *,
        data_type: str = "",
        validate_only: bool = False,
        request_id: str | None = None,
    ) -> pb.AddSourceResponse:
        """Tests the connection step by step and stores the source.

        Args:
            source: The source; name, data_type and config are needed.
            data_type: Default: `source.data_type`.
            validate_only: Test only, store nothing.
            request_id: Makes the call repeatable. Default: a new one, so that a retry of this call is safe.

        Returns:
            The source as stored, and the steps of the test.

        Raises:
            ConnectionTestFailed: A step failed; nothing was stored.
            AlreadyExists, Invalid: The name is taken; a field is wrong.
        """
        request = pb.AddSourceRequest(
            data_type=data_type,
            source=source,
            validate_only=validate_only,
            request_id=request_id or new_request_id(),
        )
        return self._calls.unary(lambda s: s.config.AddSource, request, repeatable=True)

    def get_source(self, name: str) -> Source:
        """One source. Raises NotFound."""
        request = pb.GetSourceRequest(name=name)
        return self._calls.unary(lambda s: s.config.GetSource, request, repeatable=True).source

    def list_sources(self, *, data_type: str = "", page_size: int | None = None) -> Iterator[Source]:
        """All sources in the order of their names, fetched page by page as they are read."""

        def fetch(token: str) -> tuple[Iterable[Source], str]:
            request = pb.ListSourcesRequest(page_size=page_size, page_token=token, data_type=data_type)
            page = self._calls.unary(lambda s: s.config.ListSources, request, repeatable=True)
            return page.sources, page.next_page_token

        return pages(fetch)

    def update_source(self, source: Source, *, fields: Iterable[str] = ()) -> Source:
        """Changes a source, all named fields or none.

        The call is not repeated by itself after a broken connection: read the source to see whether it went through.

        Args:
            source: The new values; `name` says which source, `etag` (if set) makes the call fail with Conflict when
                somebody else changed the source meanwhile.
            fields: Paths such as `enabled` or `config.table`. Default: every field that is set in `source`.

        Raises:
            NotFound, Conflict, Invalid, ConnectionTestFailed.
        """
        return self.update_source_response(source, fields=fields).source

    def update_source_response(self, source: Source, *, fields: Iterable[str] = ()) -> pb.UpdateSourceResponse:
        """As `update_source`; the answer also has the count of item ids, if the connection had to be tested."""
        mask = FieldMask(paths=names(fields))
        request = pb.UpdateSourceRequest(source=source, update_mask=mask if mask.paths else None)
        return self._calls.unary(lambda s: s.config.UpdateSource, request, repeatable=False)

    def remove_source(self, name: str, *, etag: str = "") -> None:
        """Removes a source; what it brought into the catalog stays.

        The call is not repeated by itself after a broken connection.

        Raises:
            NotFound, Conflict (another etag), Precondition (it has jobs that are not final).
        """
        request = pb.RemoveSourceRequest(name=name, etag=etag)
        self._calls.unary(lambda s: s.config.RemoveSource, request, repeatable=False)

    def test_source(self, name: str) -> pb.TestSourceResponse:
        """Takes the seven steps of the connection test, at most 30 s. A failed step is no error. Raises NotFound."""
        request = pb.TestSourceRequest(name=name)
        return self._calls.unary(lambda s: s.config.TestSource, request, repeatable=True)

    def list_source_costs(self, *, since: datetime | None = None, page_size: int | None = None) -> Iterator[SourceCost]:
        """What sources took in the warehouse, in the order of their names, fetched page by page as they are read.

        Args:
            since: From the beginning of this day (UTC) on; aware. Default: the first day of this month.
            page_size: Sources a call, 1 to 1000. Default: 100.

        Raises:
            ValueError: A time without a zone.
        """
        day = timestamp(since)

        def fetch(token: str) -> tuple[Iterable[SourceCost], str]:
            request = ListSourceCostsRequest(since=day, page_size=page_size, page_token=token)
            page = self._calls.unary(lambda s: s.config.ListSourceCosts, request, repeatable=True)
            return page.costs, page.next_page_token

        return pages(fetch)
