"""One item into the catalog on demand: is it there? fetch, transform, upload, count."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from blade_server.arrow.items import Items
from blade_server.catalog import Catalog, Encoded, Uploaded, encode
from blade_server.core import retry
from blade_server.core.audit.recorder import Recorder
from blade_server.core.checks import raise_for
from blade_server.core.destinations.catalogs import Catalogs, OpenCatalog
from blade_server.core.direct.queries import Queries
from blade_server.core.sources.rules import check_pairs
from blade_server.core.sources.sources import Sources
from blade_server.core.transform.classifications import is_above
from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable, Invalid, Precondition, Reason
from blade_server.model import Item, Source
from blade_server.model.access import Caller, View
from blade_server.model.policy import DirectPolicy
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
        self,
        policy: DirectPolicy,
        sources: Sources,
        catalogs: Catalogs,
        store: SourceStore,
        queries: Queries,
        *,
        recorder: Recorder,
    ) -> None:
        self._retry = policy.retry
        self._classifications = policy.source.classifications
        self._sources = sources
        self._catalogs = catalogs
        self._store = store
        self._queries = queries
        self._recorder = recorder

    def ingest(
        self,
        *,
        by: Caller,
        data_type: str = "",
        source: str = "",
        item_id: str,
        replace: bool = False,
        metadata: Mapping[str, str] | None = None,
        destination: str = "",
    ) -> Ingested:
        """Bring one item into the catalog. Repeating the call is safe.

        Args: as in blade.v1.IngestItemRequest.

        Raises:
            NotFound: no row that is there for the caller has the id.
            Precondition: two rows have it, the row cannot become an item, or the destination does not take it.
            CatalogRejected, CatalogDenied, CatalogUnavailable, Warehouse...: as they are, after the retries.
        """
        raise_for(check_pairs("metadata", metadata or {}))
        if not item_id:
            raise Invalid.field("item_id", "is required")
        found = self._sources.find(data_type, source, by=by)
        view = self._sources.view(found, by=by)
        item: Item | None = None
        if view.ceiling:  # else an answer of the catalog would tell of items above it
            self._recorder.read(by, f"source:{found.name}")
            item = self._row(found, view, item_id, metadata)
        with self._catalogs.open(destination or found.config.destination) as opened:
            existed = self._tried(lambda: item_id in opened.catalog.existing(found.data_source, [item_id]))
            if existed and not replace:
                return Ingested(outcome=IngestOutcome.ALREADY_EXISTS)
            with self._recorder.outside(by, f"source:{found.name}", "upload of an item"):
                item = item or self._row(found, view, item_id, metadata)
                self._check_ceiling(opened, item)
                encoded = encode(found.data_source, Items.of([item]))
                replaced = self._upload(opened.catalog, encoded) or existed
        self._store.count_items(found.name, 1)
        return Ingested(
            outcome=IngestOutcome.REPLACED if replaced else IngestOutcome.CREATED,
            item=item,
            bytes_uploaded=encoded.size_bytes,
        )

    def _row(self, source: Source, view: View, item_id: str, metadata: Mapping[str, str] | None) -> Item:
        return self._tried(lambda: self._queries.item_of(source, view, item_id, metadata or {}))

    def _check_ceiling(self, opened: OpenCatalog, item: Item) -> None:
        to = opened.destination
        if not is_above(self._classifications, item.classification, to.ceiling):
            return
        raise Precondition(
            f"item {item.item_id!r} is {item.classification}, and destination {to.name!r} takes items up to "
            f"{to.ceiling}",
            reason=Reason.CLASSIFICATION_ABOVE_CEILING,
        )

    def _upload(self, catalog: Catalog, encoded: Encoded) -> bool:
        """Whether the catalog says that it replaced an item.

        After an answer that was lost it looks whether the item arrived: a catalog may not replace by id.
        """
        upload = _Upload(catalog, encoded)
        try:
            return bool(self._tried(upload.attempt).replaced)
        except CatalogUnavailable as exc:
            left_s = upload.settled_at - time.monotonic()
            if left_s <= 0:
                raise
            message = f"{exc.message}; the item may yet be stored: look for it, or ingest it again, in {left_s:.0f} s"
            raise CatalogUnavailable(message, retry_after_s=left_s, maybe_stored=True) from exc

    def _tried(self, call: Callable[[], T]) -> T:
        return retry.call(call, attempts=self._retry.attempts, base_s=self._retry.base_s)


class _Upload:
    """The upload of one item, in attempts that never make a second copy of it."""

    def __init__(self, catalog: Catalog, encoded: Encoded) -> None:
        self.settled_at = 0.0
        """From then on no request can be at work, on the monotonic clock."""
        self._catalog = catalog
        self._encoded = encoded
        self._refusal: CatalogRejected | CatalogDenied | None = None
        self._unsure = False
        self._sent_at = 0.0
        self._new_scope()

    def _new_scope(self) -> None:
        self._scope = secrets.token_hex(8)  # the same contents may be sent later, after others under the same id

    def attempt(self) -> Uploaded:
        """Raises CatalogUnavailable, CatalogDenied, CatalogRejected."""
        if self._unsure and self._is_stored():
            return Uploaded()
        try:
            uploaded = self._catalog.upload(self._encoded, scope=self._scope, before_request=self._before_request)
        except CatalogUnavailable as exc:
            self._unsure = self._unsure or exc.maybe_stored
            self._settle(exc.at_work)
            raise
        except (CatalogRejected, CatalogDenied) as exc:
            self._refusal = exc
            if not (self._unsure and self._is_stored()):  # it says nothing of an earlier attempt
                raise
            return Uploaded()
        if not uploaded.refused:
            return uploaded
        self._unsure = True
        self._settle(bool(uploaded.at_work))
        self._new_scope()  # that was an answer: what is sent now is no repeat
        reason, retry_it = uploaded.refused[0]
        self._refusal = None if retry_it else CatalogRejected(f"the catalog refused the item: {reason}")
        raise CatalogUnavailable(f"the catalog could not take the item: {reason}", maybe_stored=True)

    def _before_request(self) -> None:
        self._sent_at = time.monotonic()

    def _settle(self, at_work: bool) -> None:
        if at_work:
            self.settled_at = self._sent_at + self._catalog.settle_s

    def _is_stored(self) -> bool:
        """Raises what the item is if it is not, and CatalogUnavailable if nobody can say yet."""
        looked_at = time.monotonic()
        try:
            stored = self._catalog.stored(self._encoded.data_source, self._encoded.items)
        except (CatalogRejected, CatalogDenied) as exc:  # a look-up that is refused says nothing about the item
            raise CatalogUnavailable(exc.message, maybe_stored=True) from exc
        if stored:
            return True
        if looked_at < self.settled_at:
            if self._refusal is not None:
                message = f"{self._refusal.message}, after an upload that got no answer"
                raise CatalogUnavailable(message, maybe_stored=True)
            can = self._catalog.capabilities()
            if not (can.replaces or can.honours_keys):
                message = "the upload got no answer, and the item is not in the catalog"
                raise CatalogUnavailable(message, maybe_stored=True)
        elif self._refusal is not None:
            raise self._refusal
        return False
