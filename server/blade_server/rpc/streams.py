"""Streams that run for long: each is looked at again and again, and ends once its caller may not have it any more."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from typing import Protocol, TypeVar

from blade_server.core.access.door import Door, Shown
from blade_server.core.access.method import Needs, check_method
from blade_server.errors import AccessDenied, BladeError, QuotaExceeded, Unauthenticated, check_may
from blade_server.model import Source
from blade_server.model.access import Caller, Kind, Principal
from blade_server.model.policy import PrincipalLimits
from blade_server.rpc.caller import Context, Lines, current
from blade_server.rpc.threads import Threads

log = logging.getLogger(__name__)

EVERY_S = 4.0
"""With the look-up itself a revocation is known within 5 s."""


class StreamKind(StrEnum):
    """What is counted for each principal. EXPORTS have no limit: an auditor is one of few."""

    QUERIES = "direct query streams"
    WATCHERS = "watchers"
    EXPORTS = "exports of the audit log"


class OfSource(Protocol):
    """Rows of a source."""

    source: Source


R = TypeVar("R", bound=OfSource)


class Stream:
    """One that runs, and who it is for as of now."""

    def __init__(self, by: Caller, shown: Shown) -> None:
        self.by = by
        self.shown = shown
        self.about: tuple[str, str] | None = None
        """Name and data type of the source that it is about, as soon as somebody knows."""
        self.error: BladeError | None = None
        self._looked_at: tuple[str, str] | None = None
        self._task = asyncio.current_task()

    def of(self, rows: R) -> R:
        """Says what it is about. Any thread."""
        self.about = rows.source.name, rows.source.data_type
        return rows

    def look(self, now: Principal) -> None:
        """Ends it if its caller, as he is now, may not have it."""
        if now.grants == self.by.principal.grants and self.about == self._looked_at:
            return
        self._looked_at = self.about
        self.by = replace(self.by, principal=now)
        try:
            if self.about is None:
                check_method(now, Needs(role=self.by.needs, anywhere=True))
            else:
                check_may(self.by, *self.about, f"source {self.about[0]!r}")
        except AccessDenied as exc:
            self.end(exc)

    def end(self, error: BladeError) -> None:
        """Its caller gets the error. The first one counts."""
        if self.error is None and self._task is not None:
            self.error = error
            self._task.cancel()

    def ended(self) -> BladeError | None:
        """The error to raise in the place of the cancellation that `end` made, None if somebody else cancelled it."""
        if self.error is not None and self._task is not None:
            self._task.uncancel()
        return self.error


class Streams:
    """All that run on this server. Belongs to one event loop."""

    def __init__(
        self, door: Door, threads: Threads, lines: Lines, limits: PrincipalLimits, *, every_s: float = EVERY_S
    ) -> None:
        self._door = door
        self._threads = threads
        self._lines = lines
        self._most = {StreamKind.QUERIES: limits.queries, StreamKind.WATCHERS: limits.watchers, StreamKind.EXPORTS: 0}
        self._every_s = every_s
        self._running: dict[Stream, None] = {}
        self._counts: Counter[tuple[StreamKind, str]] = Counter()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def running(self, context: Context, kind: StreamKind) -> Iterator[Stream]:
        """What runs inside is the current call's stream.

        Raises QuotaExceeded if its principal has too many; Unauthenticated or AccessDenied once he may not have it.
        """
        by = current()
        stream = Stream(by, self._lines.read(context).shown)
        if by.principal.kind is Kind.OFF:
            yield stream
            return
        with self._place(kind, by.principal.name):
            self._running[stream] = None
            if self._looking is None or self._looking.done():
                self._looking = asyncio.get_running_loop().create_task(self._look(), name="streams")
            try:
                yield stream
            except asyncio.CancelledError:
                error = stream.ended()
                if error is None:
                    raise
                raise error from None
            finally:
                del self._running[stream]

    def close(self) -> None:
        """Looks no more."""
        if self._looking is not None:
            self._looking.cancel()

    @contextmanager
    def _place(self, kind: StreamKind, name: str) -> Iterator[None]:
        most = self._most[kind]
        if most and self._counts[kind, name] >= most:
            raise QuotaExceeded(
                f"{name!r} has {most} {kind} on this server, the limit of one principal "
                f"(BLADE_PRINCIPAL_{kind.name}); end some, or try again later",
                subject=f"{kind} of a principal",
                retry_after_s=5.0,
            )
        self._counts[kind, name] += 1
        try:
            yield
        finally:
            self._counts[kind, name] -= 1
            if not self._counts[kind, name]:
                del self._counts[kind, name]

    async def _look(self) -> None:
        while self._running:
            await asyncio.sleep(self._every_s)
            shown: dict[Shown, list[Stream]] = defaultdict(list)
            for stream in self._running:
                shown[stream.shown].append(stream)
            await asyncio.gather(*(self._look_at(each, streams) for each, streams in shown.items()))

    async def _look_at(self, shown: Shown, streams: list[Stream]) -> None:
        """Those that were begun with the same token."""
        try:
            principal = await self._threads.stored(self._door.identify_anew, shown)
        except Unauthenticated as exc:
            for stream in streams:
                stream.end(exc)
        except BladeError as exc:  # who does not answer ends nothing
            log.warning("%d streams go on without a look at their callers: %s", len(streams), exc.message)
        except Exception:
            log.exception("a bug kept %d streams from a look at their callers", len(streams))
        else:
            for stream in streams:
                stream.look(principal)
