"""What a job of a sync asks its catalog beside sending: with patience, and without writing anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from blade_server.arrow.items import Items
from blade_server.catalog import Capabilities, Catalog, Listing
from blade_server.core import retry
from blade_server.core.engine.halt import Control, Halt, HaltedError
from blade_server.errors import CatalogRejected, CatalogUnavailable
from blade_server.model import WaitReason
from blade_server.model.policy import RetryPolicy

T = TypeVar("T")

AT_ONCE = 500
"""Items in a look-up by id, and in a page of the list."""


class CatalogReads:
    """For any thread of the job. All methods block, and raise HaltedError, CatalogUnavailable once patience is over,
    CatalogDenied.
    """

    def __init__(self, catalog: Catalog, data_source: str, control: Control, policy: RetryPolicy) -> None:
        """For the items of one data source."""
        self._catalog = catalog
        self._data_source = data_source
        self._control = control
        self._policy = policy

    def capabilities(self) -> Capabilities:
        """What the catalog can do."""
        return self._insist(self._catalog.capabilities)

    def existing(self, item_ids: Sequence[str]) -> set[str]:
        """Which of these the catalog has."""
        found: set[str] = set()
        for at in range(0, len(item_ids), AT_ONCE):
            some = item_ids[at : at + AT_ONCE]
            found |= self._insist(lambda some=some: self._catalog.existing(self._data_source, some))  # type: ignore[misc]
        return found

    def stored(self, items: Items) -> set[str]:
        """The ids of those that are there with this content."""
        found: set[str] = set()
        for at in range(0, len(items), AT_ONCE):
            some = items[at : at + AT_ONCE]
            found |= self._insist(lambda some=some: self._catalog.stored(self._data_source, some))  # type: ignore[misc]
        return found

    def file(self, item_id: str) -> bytes | None:
        """The file of an item: None if it is not there, empty if the catalog gives none back."""
        return self._insist(lambda: self._catalog.file(self._data_source, item_id))

    def page(self, after: str) -> Listing:
        """A page of the catalog's list, with files."""
        return self._insist(lambda: self._catalog.list(self._data_source, after=after, limit=AT_ONCE))

    def _insist(self, call: Callable[[], T]) -> T:
        attempt = 0
        while True:
            halted = self._control.halted
            if halted not in {None, Halt.PAUSE}:  # whoever pauses waits for what is under way
                raise HaltedError(halted)
            try:
                with self._control.busy():
                    return call()
            except CatalogRejected as exc:  # a question that is refused says nothing about the items
                raise CatalogUnavailable(exc.message) from exc
            except CatalogUnavailable as exc:
                attempt += not exc.throttled
                if attempt > self._policy.attempts:
                    raise
                detail = f"the catalog does not answer a question: {exc.message}"
                seconds = retry.delay_s(max(1, attempt), self._policy.base_s, exc)
                self._control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)
