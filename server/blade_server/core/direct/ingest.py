"""One item into the catalog on demand: is it there? fetch, transform, upload, count."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from blade_server.arrow.items import Items
from blade_server.catalog import Catalog, Encoded, Uploaded, encode
from blade_server.core import retry
from blade_server.core.direct.queries import Queries
from blade_server.core.sources.rules import check_pairs
from blade_server.core.sources.sources import Sources
from blade_server.errors import CatalogUnavailable, Invalid, Violation
from blade_server.model import Item
from blade_server.model.policy import RetryPolicy
from blade_server.storage.sources import SourceStore

T = TypeVar("T")


class IngestOutcome(StrEnum):
    """What happened to the item."""

    CREATED = "CREATED"
    REPLACED = "REPLACED"
    ALREADY_EXISTS = "ALREADY_EXISTS"


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What happened; `item` and `bytes_uploaded` only if it was uploaded."""

    outcome: IngestOutcome
    item: Item | None = None
    bytes_uploaded: int = 0


class Ingest:
    """Ingests single items. Thread-safe; transient errors are tried again by the one retry policy."""

    def __init__(
        self, policy: RetryPolicy, sources: Sources, catalog: Catalog, store: SourceStore, queries: Queries
    ) -> None:
        self._retry = policy
        self._sources = sources
        self._catalog = catalog
        self._store = store
        self._queries = queries

    def ingest(
        self,
        *,
        data_type: str = "",
        source: str = "",
        item_id: str,
        replace: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Ingested:
        """Bring one item into the catalog. Repeating the call is safe.

        Args: as in blade.v1.IngestItemRequest.

        Raises:
            NotFound: no row has the id.
            Precondition: two rows have it, or the row cannot become an item.
            CatalogRejected, CatalogDenied, CatalogUnavailable, Warehouse...: as they are, after the retries.
        """
        if wrong := list(check_pairs("metadata", metadata or {})):
            raise Invalid([Violation(field=field, description=text) for field, text in wrong])
        if not item_id:
            raise Invalid.field("item_id", "is required")
        found = self._sources.find(data_type, source)
        existed = self._tried(lambda: item_id in self._catalog.existing(found.data_source, [item_id]))
        if existed and not replace:
            return Ingested(outcome=IngestOutcome.ALREADY_EXISTS)
        item = self._tried(lambda: self._queries.item(source=found.name, item_id=item_id, metadata=metadata))
        encoded = encode(found.data_source, Items.of([item]))
        replaced = self._upload(encoded) or existed
        self._store.count_items(found.name, 1)
        return Ingested(
            outcome=IngestOutcome.REPLACED if replaced else IngestOutcome.CREATED,
            item=item,
            bytes_uploaded=encoded.size_bytes,
        )

    def _upload(self, encoded: Encoded) -> bool:
        """Whether the catalog says that it replaced an item.

        After an answer that was lost it looks whether the item arrived: a catalog may not replace by id.
        """
        unsure = False
        scope = secrets.token_hex(8)  # the same contents may be sent again later, after others under the same id

        def attempt() -> Uploaded:
            nonlocal unsure
            if unsure and self._catalog.stored(encoded.data_source, encoded.items):
                return Uploaded()
            try:
                uploaded = self._catalog.upload(encoded, scope=scope)
            except CatalogUnavailable as exc:
                unsure = unsure or exc.maybe_stored
                raise
            if uploaded.refused and uploaded.refused[0].retry:
                unsure = True
                reason = uploaded.refused[0].reason
                raise CatalogUnavailable(f"the catalog could not take the item: {reason}", maybe_stored=True)
            return uploaded

        return bool(self._tried(attempt).replaced)

    def _tried(self, call: Callable[[], T]) -> T:
        return retry.call(call, attempts=self._retry.attempts, base_s=self._retry.base_s)
