"""Progress for any number of watchers: each job is read once for all of them, and a slow one just skips.

A ring of the bell (storage/bell.py) says which jobs changed; what they are now is read from storage. There is no
queue anywhere: a watcher always gets the newest snapshot, so it can fall behind but never lag.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias

from blade_server.errors import BladeError, Invalid, NotFound, QuotaExceeded, Reason, ShuttingDown
from blade_server.metrics.families import WATCHERS
from blade_server.model import Job

log = logging.getLogger(__name__)

DEFAULT_INTERVAL_S = 1.0
MIN_INTERVAL_S = 0.2
MAX_INTERVAL_S = 60.0
STATES_PER_S = 5
"""Changes of status and pending action sent to one watcher in any second, beside the final one; a job can be paused and
resumed as fast as somebody clicks."""
REASON_EVERY_S = 1.0
"""Another reason to wait goes out at once, but so often at most: where a warehouse is slower than the catalog,
"waits for rows" comes and goes with every batch, and a job may have thousands of watchers."""

_PAUSE_AFTER_ERROR_S = 0.5


Send: TypeAlias = Callable[[Job, bool], Awaitable[None]]
"""Takes a job as last committed, and whether this is a heartbeat: sent before, and nothing newer is due."""


class Feed:
    """The watchers of one process. Belongs to the event loop in which `start` is called; `ring` is for any thread."""

    def __init__(
        self,
        read: Callable[[Collection[str]], Sequence[Job]],
        *,
        max_watchers: int,
        poll_s: float = 5.0,
        heartbeat_s: float = 15.0,
    ) -> None:
        """Nothing runs yet.

        Args:
            read: the jobs with these ids as last committed, absent ones left out (JobStore.get_many). Blocking.
            max_watchers: streams at once.
            poll_s: how often watched jobs are read without a ring, in case one was lost.
            heartbeat_s: longest silence of a stream.
        """
        self._read = read
        self._max_watchers = max_watchers
        self._poll_s = poll_s
        self._heartbeat_s = heartbeat_s
        self._watched: dict[str, _Watched] = {}
        self._watchers = 0
        self._wanted: set[str] = set()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "feed")

    def start(self) -> None:
        """Starts reading."""
        self._loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()
        self._round: asyncio.Future[Exception | None] = self._loop.create_future()
        self._reader = self._loop.create_task(self._read_for_ever(), name="feed")

    async def close(self) -> None:
        """Ends every stream with ShuttingDown, those that come later too. Harmless if called again."""
        if self._closed:
            return
        self._closed = True
        self._reader.cancel()
        await asyncio.wait([self._reader])
        self._round.set_result(None)
        for watched in self._watched.values():
            watched.wake_all()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def ring(self, job_ids: Iterable[str]) -> None:
        """These jobs have changed. Any thread; jobs nobody watches cost nothing."""
        self._loop.call_soon_threadsafe(self._want, frozenset(job_ids))

    def ring_all(self) -> None:
        """Any job may have changed: rings may have been lost. Any thread."""
        self._loop.call_soon_threadsafe(lambda: self._want(self._watched.keys()))

    async def watch(
        self, job_id: str, min_interval_s: float | None, send: Send, *, may_see: Callable[[Job], bool]
    ) -> None:
        """Sends the job now, then a newer snapshot at most once in `min_interval_s` (default 1, from 0.2 to 60).

        A change of state (status, pending action, wait reason) does not wait for the interval: it goes out at once, up
        to `STATES_PER_S` and a reason each `REASON_EVERY_S`, the final one always. The last snapshot goes out again as
        a heartbeat when nothing was sent for a while. Returns after a final state. Waits for `send` before it looks for
        the next, so whoever is slow skips.

        `may_see` is asked each time: whoever may not know of the job any more is told that there is none.

        Raises Invalid, NotFound, QuotaExceeded, StorageUnavailable (only before the first snapshot), ShuttingDown; and
        whatever `send` raises.
        """
        interval_s = DEFAULT_INTERVAL_S if min_interval_s is None else min_interval_s
        if not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
            raise Invalid.field(
                "min_interval", f"{interval_s:g} s is not between {MIN_INTERVAL_S} and {MAX_INTERVAL_S:.0f} s"
            )
        if not job_id:
            raise Invalid.field("job_id", "is required")
        with self._seat(job_id) as watched:
            await self._read_anew(job_id)
            with _Watcher(watched, interval_s, self._heartbeat_s) as watcher:
                while True:
                    if self._closed:
                        raise ShuttingDown("this server is stopping; watch again, any replica will do")
                    job = watched.job
                    if job is None or not may_see(job):
                        raise NotFound(
                            f"there is no job {job_id!r}",
                            reason=Reason.JOB_NOT_FOUND,
                        )
                    if watcher.takes(job):
                        await send(job, False)
                        if job.status.final:
                            return
                    elif watcher.last is not None and watcher.breaks_silence():
                        await send(watcher.last, True)
                    else:
                        await watcher.sleep()

    @contextmanager
    def _seat(self, job_id: str) -> Iterator[_Watched]:
        if self._watchers >= self._max_watchers:
            raise QuotaExceeded(
                f"this server has {self._watchers} watchers, its limit; try again later or another replica",
                subject="watchers",
                retry_after_s=5.0,
            )
        self._watchers += 1
        WATCHERS.inc()
        watched = self._watched.setdefault(job_id, _Watched())
        watched.seats += 1
        try:
            yield watched
        finally:
            self._watchers -= 1
            WATCHERS.dec()
            watched.seats -= 1
            if not watched.seats:
                del self._watched[job_id]

    async def _read_anew(self, job_id: str) -> None:
        """Returns after a read that began after this call, shared with all who wait for one now."""
        if self._closed:
            return
        self._want([job_id])
        error = await asyncio.shield(self._round)
        if error is not None:
            raise error

    def _want(self, job_ids: Iterable[str]) -> None:
        self._wanted.update(job_id for job_id in job_ids if job_id in self._watched)
        if self._wanted:
            self._bell.set()

    async def _read_for_ever(self) -> None:
        poll_at_s = self._loop.time() + self._poll_s
        while True:
            try:
                async with asyncio.timeout_at(poll_at_s):
                    await self._bell.wait()
            except TimeoutError:
                self._wanted.update(self._watched)
                poll_at_s = self._loop.time() + self._poll_s
            self._bell.clear()
            wanted, self._wanted = self._wanted, set()
            round_, self._round = self._round, self._loop.create_future()
            error: Exception | None = None
            try:
                error = await self._read_round(wanted)
            finally:  # also when the feed is closed during the read: somebody waits for this round
                round_.set_result(error)
            if error is not None:
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                self._want(wanted)

    async def _read_round(self, wanted: Collection[str]) -> Exception | None:
        """Reads and hands out; a failure costs the watchers that are there already nothing but time."""
        if not wanted:
            return None
        try:
            jobs = await self._loop.run_in_executor(self._thread, self._read, wanted)
        except Exception as exc:
            # What is no BladeError is a bug; whoever subscribes now gets it and its traceback is logged there.
            level = logging.WARNING if isinstance(exc, BladeError) else logging.ERROR
            log.log(level, "%d watched jobs could not be read: %s", len(wanted), exc)
            return exc
        found = {job.job_id: job for job in jobs}
        for job_id in wanted:
            if job_id in self._watched:
                self._watched[job_id].publish(found.get(job_id), self._loop.time())
        return None


class _Watched:
    """One job that is being watched: its newest snapshot and whom to wake."""

    def __init__(self) -> None:
        self.seats = 0
        self.job: Job | None = None
        self.since_s = 0.0
        # In the order they came: those of one connection are beside each other, and so are their messages.
        self.watchers: dict[_Watcher, None] = {}
        self._loop = asyncio.get_running_loop()
        self._due: dict[float, dict[_Watcher, None]] = {}

    def publish(self, job: Job | None, now_s: float) -> None:
        if job and self.job and job.revision == self.job.revision:
            return  # the same object stays, so that whatever was made of it is not made again
        self.job = job
        self.since_s = now_s
        for watcher in self.watchers:
            due_s = now_s if job is None else watcher.due_s(job)
            if due_s > now_s:
                self.wake_at(due_s, watcher)
            else:
                watcher.wake()

    def wake_all(self) -> None:
        for watcher in self.watchers:
            watcher.wake()

    def wake_at(self, time_s: float, watcher: _Watcher) -> None:
        """One timer for all who are due at one time, as those are who got the same snapshot when it was new."""
        due = self._due.get(time_s)
        if due is None:
            due = self._due[time_s] = {}
            self._loop.call_at(time_s, self._wake_due, time_s)
        due[watcher] = None

    def _wake_due(self, time_s: float) -> None:
        for watcher in self._due.pop(time_s):
            watcher.wake()


class _Watcher:
    """The timetable of one stream: when its next snapshot is due.

    A slot is counted from when the last one was due, not from when it got out; so delays do not add up to a skipped
    snapshot. Within a state no span of time has more snapshots than intervals, plus one.
    """

    def __init__(self, watched: _Watched, interval_s: float, heartbeat_s: float) -> None:
        self._watched = watched
        self._interval_s = interval_s
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._sleep: asyncio.Future[None] | None = None
        self._sent_s = 0.0
        self._slot_s = 0.0
        self._states_s: deque[float] = deque(maxlen=STATES_PER_S)  # when the last changes of status went out
        self._reason_s = 0.0  # when the last other reason to wait did
        self.last: Job | None = None
        """What was sent last."""

    def __enter__(self) -> _Watcher:
        self._watched.watchers[self] = None
        self._alarm = self._loop.call_at(self._loop.time() + self._heartbeat_s, self._look_for_silence)
        return self

    def __exit__(self, *_: object) -> None:
        self._alarm.cancel()
        del self._watched.watchers[self]

    def due_s(self, newest: Job) -> float:
        """The time from which this may be sent: what is new in a state waits for its slot, a new state does not."""
        if _same_status(newest, self.last):
            assert self.last is not None
            same_reason = newest.wait_reason is self.last.wait_reason
            return self._slot_s if same_reason else min(self._slot_s, self._reason_s + REASON_EVERY_S)
        if newest.status.final or len(self._states_s) < STATES_PER_S:
            return 0.0
        return self._states_s[0] + 1.0

    def takes(self, newest: Job) -> bool:
        """Whether this is to be sent now; then it counts as sent."""
        if newest is self.last:
            return False
        now_s = self._loop.time()
        if now_s < self.due_s(newest):
            return False
        if not _same_status(newest, self.last):
            self._states_s.append(now_s)
        if self.last is None or newest.wait_reason is not self.last.wait_reason:
            self._reason_s = now_s
        slot_s = self._slot_s if self._slot_s <= now_s else 0.0  # a new state did not wait: its interval begins with it
        self._slot_s = max(slot_s, self._watched.since_s) + self._interval_s
        self.last = newest
        self._sent_s = now_s
        return True

    def breaks_silence(self) -> bool:
        """Whether the last snapshot is to be sent again now; then it counts as sent."""
        now_s = self._loop.time()
        if now_s < self._sent_s + self._heartbeat_s:
            return False
        self._sent_s = now_s
        return True

    async def sleep(self) -> None:
        """Until there may be something to send."""
        newest = self._watched.job
        if newest is not None and newest is not self.last:
            self._watched.wake_at(self.due_s(newest), self)
        self._sleep = self._loop.create_future()
        try:
            await self._sleep
        finally:
            self._sleep = None

    def wake(self) -> None:
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    def _look_for_silence(self) -> None:
        # Set anew only when it goes off, and not with each snapshot: most streams are not silent.
        now_s, due_s = self._loop.time(), self._sent_s + self._heartbeat_s
        if due_s <= now_s:
            self.wake()
            due_s = now_s + self._heartbeat_s
        self._alarm = self._loop.call_at(due_s, self._look_for_silence)


def _same_status(job: Job, before: Job | None) -> bool:
    return before is not None and (job.status, job.pending_action) == (before.status, before.pending_action)
