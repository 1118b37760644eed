"""The timetable of the feed, in virtual time: every wait is exact and takes no time."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any

import pytest
from tests.support.nouns import JOB_ID, a_job

from blade_server.core.jobs.watch import Feed
from blade_server.errors import Invalid, NotFound, QuotaExceeded, ShuttingDown, StorageUnavailable
from blade_server.model import Action, Job, Status, WaitReason


def revision_of(revision: int, status: Status = Status.RUNNING, job_id: str = JOB_ID, **state: Any) -> Job:
    return a_job(revision=revision, status=status, job_id=job_id, **state)


class _SkippingSelector(selectors.DefaultSelector):
    """Moves the clock instead of waiting; timers go off a hair early, as a real loop lets them."""

    now_s = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits for ever"
        self.now_s += max(0.0, timeout - 5e-10) + 1e-10
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only while everybody waits; threads are calls."""

    def __init__(self) -> None:
        self._clock = _SkippingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:
            future.set_exception(exc)
        return future


class Storage:
    """Jobs as stored, and which were asked for."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.job_id: job for job in jobs}
        self.asked: list[set[str]] = []
        self.error: Exception | None = None

    def read(self, job_ids: Collection[str]) -> list[Job]:
        self.asked.append(set(job_ids))
        if self.error is not None:
            raise self.error
        return [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]


class Stream:
    """What one watcher got, with the seconds since it began; `takes_s`: how long it is busy with each, in turn."""

    def __init__(
        self, feed: Feed, interval_s: float | None = None, job_id: str = JOB_ID, takes_s: Sequence[float] = (0.0,)
    ) -> None:
        self.got: list[tuple[float, int, bool]] = []
        self.hidden: set[int] = set()
        """Revisions of a job that this watcher may not see."""
        self.error: Exception | None = None
        self.task = asyncio.get_running_loop().create_task(self._read(feed, interval_s, job_id, takes_s))

    async def _read(self, feed: Feed, interval_s: float | None, job_id: str, takes_s: Sequence[float]) -> None:
        busy_s = itertools.cycle(takes_s)
        began_s = asyncio.get_running_loop().time()

        async def send(job: Job, heartbeat: bool) -> None:
            now_s = asyncio.get_running_loop().time()
            self.got.append((round(now_s - began_s, 3), job.revision, heartbeat))
            await asyncio.sleep(next(busy_s))

        try:
            await feed.watch(job_id, interval_s, send, may_see=lambda job: job.revision not in self.hidden)
        except Exception as exc:
            self.error = exc

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


def virtually(test: Callable[[Storage, Feed], Awaitable[None]], storage: Storage, **options: Any) -> None:
    """Runs the test with a feed over the storage; polls and heartbeats are far off unless it says otherwise."""

    async def run() -> None:
        feed = Feed(storage.read, **({"max_watchers": 100, "poll_s": 1e6, "heartbeat_s": 1e6} | options))
        feed.start()
        try:
            await test(storage, feed)
        finally:
            await feed.close()

    loop = VirtualLoop()
    try:
        loop.run_until_complete(_as_coroutine(run()))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _as_coroutine(work: Coroutine[Any, Any, None]) -> None:
    await work


async def change_every(storage: Storage, feed: Feed, interval_s: float, times: int) -> None:
    for revision in range(2, 2 + times):
        await asyncio.sleep(interval_s)
        storage.jobs[JOB_ID] = revision_of(revision)
        feed.ring([JOB_ID])


def test_the_first_snapshot_comes_at_once_and_a_newer_one_as_soon_as_the_interval_allows() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await change_every(storage, feed, 0.3, 2)
        await asyncio.sleep(5)

        assert stream.got == [(0.0, 1, False), (1.0, 3, False)]
        await stream.leave()

    virtually(test, Storage(revision_of(1)))


def test_a_change_after_a_long_silence_comes_at_once() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await change_every(storage, feed, 7, 1)
        await asyncio.sleep(0.001)

        assert stream.got == [(0.0, 1, False), (7.0, 2, False)]
        await stream.leave()

    virtually(test, Storage(revision_of(1)))


@pytest.mark.parametrize("busy_s", [[0.05], [0.3, 0.01, 0.01], [0.01, 0.39]])
def test_changes_at_the_pace_of_the_interval_are_all_delivered_although_some_are_late(busy_s: list[float]) -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed, 0.2, takes_s=busy_s)
        await change_every(storage, feed, 0.2, 50)
        await asyncio.sleep(1)

        assert [revision for _, revision, _ in stream.got] == list(range(1, 52))
        await stream.leave()

    virtually(test, Storage(revision_of(1)))


@pytest.mark.parametrize(
    "state",
    [
        {"status": Status.PAUSED},
        {"status": Status.COMPLETED},
        {"pending_action": Action.PAUSE},
        {"wait_reason": WaitReason.CATALOG_DOWN},
    ],
)
def test_a_change_of_state_comes_at_once_and_the_progress_after_it_an_interval_later(state: dict[str, Any]) -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed, 40.0)
        await asyncio.sleep(1)
        for revision in (2, 3):
            storage.jobs[JOB_ID] = revision_of(revision, **state)
            feed.ring([JOB_ID])
            await asyncio.sleep(1)
        await asyncio.sleep(100)

        after = [] if state.get("status") is Status.COMPLETED else [(41.0, 3, False)]
        assert stream.got == [(0.0, 1, False), (1.0, 2, False), *after]
        await stream.leave()

    virtually(test, Storage(revision_of(1)))


@pytest.mark.parametrize("takes_s", [0.0, 0.3])
@pytest.mark.parametrize(
    ("change", "in_a_second"), [({"pending_action": Action.PAUSE}, 5), ({"wait_reason": WaitReason.RETRY_BACKOFF}, 1)]
)
def test_a_job_whose_state_changes_all_the_time_is_sent_a_few_times_a_second_and_its_end_at_once(
    takes_s: float, change: dict[str, Any], in_a_second: int
) -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed, 60.0, takes_s=[takes_s])
        for revision in range(2, 302):
            await asyncio.sleep(0.01)
            storage.jobs[JOB_ID] = revision_of(revision, **(change if revision % 2 else {}))
            feed.ring([JOB_ID])
        storage.jobs[JOB_ID] = revision_of(302, Status.FAILED)
        feed.ring([JOB_ID])
        await stream.task

        times = [time_s for time_s, _, _ in stream.got]
        assert times[-1] == pytest.approx(3.0 + takes_s, abs=takes_s + 0.01)
        assert stream.got[-1][1] == 302
        assert all(later - earlier >= 0.999 for earlier, later in zip(times[:-1], times[in_a_second:-1], strict=False))
        assert len(times) >= 3 / max(1 / in_a_second, takes_s)

    virtually(test, Storage(revision_of(1)))


def test_a_slow_reader_gets_the_newest_and_never_a_queue() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed, 0.2, takes_s=[2.0])
        await change_every(storage, feed, 0.2, 25)
        await asyncio.sleep(10)

        assert len(stream.got) <= 5
        assert stream.got[-1][1] == 26
        for time_s, revision, _ in stream.got[1:-1]:
            assert revision >= int(time_s / 0.2)
        await stream.leave()

    virtually(test, Storage(revision_of(1)))


@pytest.mark.parametrize("takes_s", [0.0, 0.3, 0.9, 1.7])
@pytest.mark.parametrize("period_s", [0.01, 0.7, 1.3])
def test_no_span_has_more_snapshots_than_intervals_however_slow_the_reader(takes_s: float, period_s: float) -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed, 1.0, takes_s=[takes_s])
        await change_every(storage, feed, period_s, int(20 / period_s))

        times = [time_s for time_s, _, _ in stream.got]
        assert len(times) > 5
        for (i, before), (j, after) in itertools.combinations(enumerate(times), 2):
            assert j - i <= after - before + 1
        await stream.leave()

    virtually(test, Storage(revision_of(1)))


def test_silence_is_broken_by_heartbeats_with_the_last_snapshot() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(31)
        await change_every(storage, feed, 1, 1)
        await asyncio.sleep(16)

        assert stream.got == [(0.0, 1, False), (15.0, 1, True), (30.0, 1, True), (32.0, 2, False), (47.0, 2, True)]
        await stream.leave()

    virtually(test, Storage(revision_of(1)), heartbeat_s=15)


def test_an_interval_longer_than_the_silence_keeps_the_heartbeats_and_its_slots() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed, 40.0)
        await change_every(storage, feed, 1, 1)
        await asyncio.sleep(45)

        assert stream.got == [(0.0, 1, False), (15.0, 1, True), (30.0, 1, True), (40.0, 2, False)]
        await stream.leave()

    virtually(test, Storage(revision_of(1)), heartbeat_s=15)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_stream_ends_after_the_final_snapshot(status: Status) -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(2)
        storage.jobs[JOB_ID] = revision_of(2, status)
        feed.ring([JOB_ID])
        await stream.task

        assert [revision for _, revision, _ in stream.got] == [1, 2]
        assert stream.error is None

    virtually(test, Storage(revision_of(1)))


def test_a_thousand_watchers_of_one_job_cost_one_read_a_ring() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        streams = [Stream(feed) for _ in range(1000)]
        await asyncio.sleep(2)
        subscribing = len(storage.asked)
        await change_every(storage, feed, 1, 1)
        await asyncio.sleep(2)

        assert subscribing <= 2
        assert len(storage.asked) == subscribing + 1
        assert all(len(stream.got) == 2 for stream in streams)
        for stream in streams:
            await stream.leave()

    virtually(test, Storage(revision_of(1)), max_watchers=1000)


def test_watchers_get_a_change_in_the_order_they_came_so_that_each_connection_has_its_messages_together() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        order: list[int] = []

        async def watch(number: int) -> None:
            async def send(job: Job, heartbeat: bool) -> None:
                order.append(number)

            await feed.watch(JOB_ID, 0.2, send, may_see=lambda _: True)

        tasks = [asyncio.create_task(watch(number)) for number in range(50)]
        await asyncio.sleep(1)
        await change_every(storage, feed, 0.1, 2)  # the second comes too soon: they wait together until they may
        await asyncio.sleep(1)

        assert order == [*range(50)] * 3
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    virtually(test, Storage(revision_of(1)))


def test_a_new_watcher_sees_what_was_committed_before_it_came_although_no_ring_was_heard() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        first = Stream(feed)
        await asyncio.sleep(2)
        storage.jobs[JOB_ID] = revision_of(2)
        second = Stream(feed)
        await asyncio.sleep(2)

        assert second.got == [(0.0, 2, False)]
        assert [revision for _, revision, _ in first.got] == [1, 2]
        await first.leave()
        await second.leave()

    virtually(test, Storage(revision_of(1)))


def test_a_lost_ring_costs_one_poll_also_while_other_jobs_ring_all_the_time() -> None:
    other = "job-other"

    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        noisy = Stream(feed, job_id=other)
        await asyncio.sleep(1)
        storage.jobs[JOB_ID] = revision_of(2)
        for revision in range(2, 100):
            await asyncio.sleep(0.1)
            storage.jobs[other] = revision_of(revision, job_id=other)
            feed.ring([other])

        assert stream.got == [(0.0, 1, False), (5.0, 2, False)]
        await stream.leave()
        await noisy.leave()

    virtually(test, Storage(revision_of(1), revision_of(1, job_id=other)), poll_s=5)


def test_after_a_reconnect_everything_watched_is_read() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(2)
        storage.jobs[JOB_ID] = revision_of(2)
        feed.ring_all()
        await asyncio.sleep(0.1)

        assert [revision for _, revision, _ in stream.got] == [1, 2]
        await stream.leave()

    virtually(test, Storage(revision_of(1)))


def test_a_poll_that_finds_nothing_new_sends_nothing() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(1)
        storage.jobs[JOB_ID] = revision_of(1)  # another object, as each read makes one
        await asyncio.sleep(60)

        assert len(storage.asked) > 10
        assert len(stream.got) == 1
        await stream.leave()

    virtually(test, Storage(revision_of(1)), poll_s=5)


def test_rings_of_jobs_nobody_watches_cost_nothing() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(1)
        await stream.leave()
        feed.ring([JOB_ID, "job-unknown"])
        await asyncio.sleep(1)

        assert len(storage.asked) == 1

    virtually(test, Storage(revision_of(1)))


def test_a_storage_that_does_not_answer_delays_watchers_and_refuses_new_ones() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(2)
        storage.jobs[JOB_ID] = revision_of(2)
        storage.error = StorageUnavailable("down")
        feed.ring([JOB_ID])
        await asyncio.sleep(2)
        late = Stream(feed)
        await asyncio.sleep(2)
        storage.error = None
        await asyncio.sleep(2)

        assert isinstance(late.error, StorageUnavailable)
        assert [revision for _, revision, _ in stream.got] == [1, 2]
        await stream.leave()

    virtually(test, Storage(revision_of(1)))


@pytest.mark.parametrize("interval_s", [0.0, 0.19, 60.1, float("nan"), -1.0])
def test_an_interval_out_of_range_is_invalid(interval_s: float) -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed, interval_s)
        await stream.task

        assert isinstance(stream.error, Invalid)
        assert stream.error.violations[0].field == "min_interval"

    virtually(test, Storage(revision_of(1)))


def test_an_unknown_job_is_not_found_and_an_empty_id_invalid() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        unknown, empty = Stream(feed, job_id="job-nobody"), Stream(feed, job_id="")
        await asyncio.wait([unknown.task, empty.task])

        assert isinstance(unknown.error, NotFound)
        assert isinstance(empty.error, Invalid)

    virtually(test, Storage())


def test_a_job_that_one_may_not_see_is_an_unknown_one() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream, unknown, other = Stream(feed), Stream(feed, job_id="job-nobody"), Stream(feed)
        stream.hidden = {1}
        await asyncio.wait([stream.task, unknown.task])
        await asyncio.sleep(1)

        assert isinstance(stream.error, NotFound)
        assert stream.got == []
        assert str(stream.error) == str(unknown.error).replace("job-nobody", JOB_ID)
        assert [revision for _, revision, _ in other.got] == [1]
        await other.leave()

    virtually(test, Storage(revision_of(1)))


def test_who_may_not_see_a_job_any_more_is_told_that_there_is_none() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(2)
        stream.hidden = {2}
        storage.jobs[JOB_ID] = revision_of(2)
        feed.ring([JOB_ID])
        await stream.task

        assert isinstance(stream.error, NotFound)
        assert [revision for _, revision, _ in stream.got] == [1]

    virtually(test, Storage(revision_of(1)))


def test_a_job_that_is_removed_ends_its_streams() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(2)
        del storage.jobs[JOB_ID]
        feed.ring([JOB_ID])
        await stream.task

        assert isinstance(stream.error, NotFound)

    virtually(test, Storage(revision_of(1)))


def test_a_place_is_free_again_when_a_watcher_has_left() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        first = Stream(feed)
        await asyncio.sleep(1)
        refused = Stream(feed)
        await refused.task
        await first.leave()
        second = Stream(feed)
        await asyncio.sleep(1)

        assert isinstance(refused.error, QuotaExceeded)
        assert len(second.got) == 1
        await second.leave()

    virtually(test, Storage(revision_of(1)), max_watchers=1)


def test_closing_ends_every_stream_and_those_that_come_later() -> None:
    async def test(storage: Storage, feed: Feed) -> None:
        stream = Stream(feed)
        await asyncio.sleep(1)
        await feed.close()
        late = Stream(feed)
        await asyncio.wait([stream.task, late.task], timeout=0.1)

        assert isinstance(stream.error, ShuttingDown)
        assert isinstance(late.error, ShuttingDown)

    virtually(test, Storage(revision_of(1)))


def test_closing_during_a_read_does_not_leave_a_subscriber_behind() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        entered = asyncio.Event()
        proceed = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)

        def read(job_ids: Collection[str]) -> list[Job]:
            loop.call_soon_threadsafe(entered.set)
            proceed.result(5)
            return []

        feed = Feed(read, max_watchers=1)
        feed.start()
        stream = Stream(feed)
        await asyncio.wait_for(entered.wait(), 5)
        await feed.close()
        await asyncio.wait_for(stream.task, 5)

        assert isinstance(stream.error, ShuttingDown)

    asyncio.run(run())
