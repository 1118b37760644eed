"""Many watchers in one process: WatchJob streams that note how old each snapshot is when it arrives.

watch_clients.py TARGET JOB_ID[,JOB_ID...] WATCHERS MIN_INTERVAL_S SECONDS. Watchers take the jobs in turn, for as long
as these run. Prints one line of JSON: how many first snapshots came and how late the last of them; then for the time
after that the snapshots that came, the revisions that were skipped, and the ages in ms (p50, p99, most).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import timedelta

import grpc.aio
from signed_in import METADATA

from blade.v1.job_service_pb2 import WatchJobRequest, WatchJobResponse

STREAMS_A_CONNECTION = 100


class Watchers:
    def __init__(self) -> None:
        self.first = 0
        self.first_s = 0.0
        self.steady = False
        self.ages_ms: list[float] = []
        self.missed = 0
        self.failures: list[str] = []
        self._stamps: dict[bytes, tuple[int, float]] = {}

    def stamp(self, message: bytes) -> tuple[int, float]:
        """Revision and time of a snapshot; many watchers get the same bytes."""
        if message not in self._stamps:
            job = WatchJobResponse.FromString(message).job
            self._stamps[message] = job.revision, job.update_time.ToNanoseconds() / 1e9
        return self._stamps[message]

    async def watch(self, channel: grpc.aio.Channel, request: bytes, began: float) -> None:
        seen, first, last, came = False, 0, 0, 0
        try:
            async for message in channel.unary_stream("/blade.v1.JobService/WatchJob")(request, metadata=METADATA):
                if not seen:
                    seen = True
                    self.first += 1
                    self.first_s = time.perf_counter() - began
                elif self.steady:
                    last, stamp = self.stamp(message)
                    first = first or last
                    came += 1
                    self.ages_ms.append((time.time() - stamp) * 1000)
        except grpc.aio.AioRpcError as exc:
            self.failures.append(f"{exc.code().name}: {exc.details()}")
        finally:
            self.missed += last - first + 1 - came if came else 0


async def run(target: str, job_ids: list[str], count: int, interval_s: float, seconds: float) -> None:
    interval = timedelta(seconds=interval_s)
    requests = [WatchJobRequest(job_id=job_id, min_interval=interval).SerializeToString() for job_id in job_ids]
    channels = [
        grpc.aio.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(-(-count // STREAMS_A_CONNECTION))
    ]
    watchers = Watchers()
    began = time.perf_counter()
    tasks = [
        asyncio.create_task(
            watchers.watch(channels[number // STREAMS_A_CONNECTION], requests[number % len(requests)], began)
        )
        for number in range(count)
    ]
    while watchers.first + len(watchers.failures) < count and time.perf_counter() < began + 60:
        await asyncio.sleep(0.05)
    watchers.steady = True
    await asyncio.wait(tasks, timeout=seconds)
    watchers.steady = False
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    ages = sorted(watchers.ages_ms) or [float("nan")]
    print(
        json.dumps(
            {
                "first": watchers.first,
                "first_s": watchers.first_s,
                "failures": watchers.failures[:3],
                "failed": len(watchers.failures),
                "came": len(watchers.ages_ms),
                "missed": watchers.missed,
                "p50_ms": ages[len(ages) // 2],
                "p99_ms": ages[int(len(ages) * 0.99)],
                "most_ms": ages[-1],
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
