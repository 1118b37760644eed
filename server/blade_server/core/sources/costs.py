"""What sources take in the warehouse: counted for calls without a job, and told by source."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time

from blade_server.core import paging
from blade_server.core.paging import make_token, read_token
from blade_server.errors import StorageUnavailable
from blade_server.model.access import Caller
from blade_server.model.cost import NO_COST, SourceCost
from blade_server.storage.costs import CostStore
from blade_server.warehouse import Tally

log = logging.getLogger(__name__)

DEFAULT_PAGE_SIZE = 100


@dataclass(frozen=True, kw_only=True)
class CostPage:
    """`since`: midnight (UTC) of the first day. `next_page_token`: empty on the last page."""

    costs: list[SourceCost]
    since: datetime
    next_page_token: str


class Costs:
    """Of the sources of all replicas. Thread-safe."""

    def __init__(self, store: CostStore) -> None:
        self._store = store

    @contextmanager
    def counted(self, source: str) -> Iterator[Tally]:
        """What is tallied meanwhile is kept for the source, if it is stored by then; else it is lost and logged."""
        tally = Tally()
        try:
            yield tally
        finally:
            cost = tally.cost
            if cost != NO_COST:
                try:
                    self._store.add(source, cost)
                except StorageUnavailable as exc:  # no reason to refuse what was done
                    log.warning("what source %s took in the warehouse was not counted (%s): %s", source, cost, exc)

    def list(
        self, *, by: Caller, since: datetime | None = None, page_size: int | None = None, page_token: str = ""
    ) -> CostPage:
        """A page of the sources that took something since a day, by default the first of this month. Raises Invalid."""
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        day = datetime.now(UTC).date().replace(day=1) if since is None else since.astimezone(UTC).date()
        scope = f"source costs\0{'' if since is None else day}{by.bound}"
        found = self._store.page(since=day, after=read_token(page_token, scope=scope), limit=size + 1, seen=by.sees)
        more = len(found) > size
        return CostPage(
            costs=found[:size],
            since=datetime.combine(day, time(), UTC),
            next_page_token=make_token(found[size - 1].source, scope=scope) if more else "",
        )
