"""The least that grpc.aio can cost: a call that takes bytes and gives none, and a stream that sends each watcher the
same snapshot of a job at an even pace. Ends with its input.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from blade.v1.job_service_pb2 import WatchJobRequest, WatchJobResponse


async def echo(request: bytes, context: Any) -> bytes:
    return b""


class Watch:
    """The first watcher says how often."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._snapshot = WatchJobResponse()
        self._bytes = b""
        self._ticking: asyncio.Task[None] | None = None

    async def watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        if self._ticking is None:
            every_s = WatchJobRequest.FromString(request).min_interval.ToTimedelta().total_seconds() * 1.02
            self._ticking = asyncio.create_task(self._tick(every_s))
        yield self._bytes
        while True:
            async with self._changed:
                await self._changed.wait()
            yield self._bytes

    async def _tick(self, every_s: float) -> None:
        due_s = time.monotonic()
        while True:
            due_s += every_s
            await asyncio.sleep(due_s - time.monotonic())
            self._snapshot.job.revision += 1
            self._snapshot.job.update_time.FromNanoseconds(time.time_ns())
            self._bytes = self._snapshot.SerializeToString()
            async with self._changed:
                self._changed.notify_all()


async def serve() -> None:
    server = grpc.aio.server(options=[("grpc.server.max_pending_requests", 20_000)])
    calls = grpc.unary_unary_rpc_method_handler(echo)
    watch = grpc.unary_stream_rpc_method_handler(Watch().watch)
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler("bench.Echo", {"Echo": calls}),
            grpc.method_handlers_generic_handler("blade.v1.JobService", {"WatchJob": watch}),
        ]
    )
    print(f"port {server.add_insecure_port('127.0.0.1:0')}", flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
