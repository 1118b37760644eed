"""Watchers: 2,000 at 5 snapshots a second, 5,000 at 1, a subscribe storm, and one that has stalled."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

import grpc
from figure import QUICK, Figure
from signed_in import METADATA
from sqlalchemy import create_engine, text
from world import HERE, Server, World, world

from blade.v1.job_pb2 import Job
from blade.v1.job_service_pb2 import WatchJobRequest

SECONDS = 5.0 if QUICK else 10.0
PROCESSES = 2
# What a running job does to be seen: one commit and one ring of the bell.
TICK = text(
    "WITH ticked AS (UPDATE job SET revision = revision + 1, update_time = clock_timestamp() WHERE job_id = :job_id "
    "RETURNING job_id) SELECT pg_notify('blade_job', job_id) FROM ticked"
)


class Ticker:
    """Changes a job at an even pace, as its own commits would."""

    def __init__(self, server: Server, job_id: str, every_s: float) -> None:
        self._engine = create_engine(server.database_url.replace("postgresql:", "postgresql+psycopg2:"))
        self._job_id, self._every_s = job_id, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due, time.monotonic() - 1) + self._every_s
            with self._engine.begin() as connection:
                connection.execute(TICK, {"job_id": self._job_id})


def watch(target: str, job_id: str, watchers: int, interval_s: float) -> dict[str, Any]:
    """So many watchers in a few processes: what all of them saw."""
    each = [str(HERE / "watch_clients.py"), target, job_id, str(watchers // PROCESSES), str(interval_s)]
    clients = [
        subprocess.Popen([sys.executable, *each, str(SECONDS)], stdout=subprocess.PIPE) for _ in range(PROCESSES)
    ]
    seen = [json.loads(client.communicate()[0]) for client in clients]
    if any(one["failed"] for one in seen):
        print("  failures:", [one["failures"] for one in seen])
    return {
        "first": sum(one["first"] for one in seen),
        "first_s": max(one["first_s"] for one in seen),
        "came": sum(one["came"] for one in seen),
        "missed": sum(one["missed"] for one in seen),
        "p50_ms": max(one["p50_ms"] for one in seen),
        "p99_ms": max(one["p99_ms"] for one in seen),
    }


def at_pace(figure: Figure, server: Server, job_id: str, watchers: int, interval_s: float, name: str) -> None:
    # A little slower than watchers may be served, so that each change is due to each of them.
    with Ticker(server, job_id, interval_s * 1.02):
        seen = watch(server.target, job_id, watchers, interval_s)
    share = seen["came"] / max(1, seen["came"] + seen["missed"])
    pace = seen["came"] / watchers / SECONDS
    figure.line(
        f"{name}: subscribed", f"{seen['first']:,} in {seen['first_s']:.1f} s", "all", met=seen["first"] == watchers
    )
    figure.line(
        f"{name}: snapshots a watcher",
        f"{pace:.2f} /s",
        f">= {0.97 / interval_s:.2f} /s",
        met=pace >= 0.97 / interval_s,
    )
    figure.line(f"{name}: changes delivered", f"{share:.2%}", "all", met=share >= 0.9999)
    figure.line(f"{name}: age p50", f"{seen['p50_ms']:.0f} ms")
    figure.line(f"{name}: age p99", f"{seen['p99_ms']:.0f} ms", "<= 500 ms", met=seen["p99_ms"] <= 500)


def bare(figure: Figure, here: World, watchers: int, interval_s: float, name: str) -> None:
    """The limit of grpc.aio, these clients and this machine: a server that reads nothing and decides nothing."""
    peer = here.program(str(HERE / "echo_server.py"), r"port (\d+)")
    seen = watch(f"127.0.0.1:{peer.found}", "any", watchers, interval_s)
    share = seen["came"] / max(1, seen["came"] + seen["missed"])
    figure.line(
        f"{name}, bare grpc.aio: delivered, p50, p99",
        f"{share:.2%}, {seen['p50_ms']:.0f} ms, {seen['p99_ms']:.0f} ms",
    )
    peer.stop()


def main() -> None:
    figure = Figure(
        "Watchers",
        f"WatchJob streams of one changing job, one server process, {SECONDS:.0f} s. The clients are {PROCESSES} "
        "Python processes on the same cores. The age of a snapshot is from its commit to its arrival; each change is "
        "due to each watcher once.",
    )
    with world(1000) as here:
        server = here.server(here.sink())
        job_id = paused_job(server)
        at_pace(figure, server, job_id, 2000, 0.2, "2,000 at 5 Hz")
        bare(figure, here, 2000, 0.2, "2,000 at 5 Hz")
        before = server.process.memory_mb()
        at_pace(figure, server, job_id, 5000, 1.0, "5,000 at 1 Hz")
        bare(figure, here, 5000, 1.0, "5,000 at 1 Hz")
        figure.line("memory of a watcher", f"{(server.process.memory_mb('VmHWM') - before) / 3000 * 1024:.0f} KB")

        stalled = [stalled_watcher(server, job_id) for _ in range(200)]
        with Ticker(server, job_id, 0.204):
            base = server.process.memory_mb()
            seen = watch(server.target, job_id, 200, 0.2)
            growth = server.process.memory_mb() - base
        figure.line(
            "beside 200 stalled watchers: age p99", f"{seen['p99_ms']:.0f} ms", "<= 500 ms", met=seen["p99_ms"] <= 500
        )
        figure.line("memory they cost meanwhile", f"{growth:.0f} MB", "<= 20 MB", met=growth <= 20)
        for channel in stalled:
            channel.close()
        server.client.cancel(job_id)
    figure.note(
        "Where a target is missed: server and clients, which cost as much, share the same busy cores, and a watcher "
        "that falls behind skips to the newest snapshot by design. Bare grpc.aio is a server that only sends, with the "
        "same clients."
    )
    figure.save()


def paused_job(server: Server) -> str:
    """A job that does not change by itself."""
    job_id = server.start(1000, items_per_second=1, batch_size=1)
    while server.client.get_job(job_id).status != Job.RUNNING:
        time.sleep(0.05)
    server.client.pause(job_id)
    while server.client.get_job(job_id).status != Job.PAUSED:
        time.sleep(0.05)
    return job_id


def stalled_watcher(server: Server, job_id: str) -> grpc.Channel:
    """A stream that is opened and never read."""
    channel = grpc.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)])
    call = channel.unary_stream("/blade.v1.JobService/WatchJob")
    channel.stalled = call(WatchJobRequest(job_id=job_id).SerializeToString(), metadata=METADATA)  # type: ignore[attr-defined]
    return channel


if __name__ == "__main__":
    main()
