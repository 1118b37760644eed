"""Hostile calls: what ordinary ones feel of them, and how long the processor is busy once they are given up."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import requests
from figure import QUICK, Figure
from signed_in import HEADERS, METADATA
from world import Server, world

from blade.v1.job_service_pb2 import ListJobsRequest, StartQueryJobRequest
from blade.v1.job_service_pb2_grpc import JobServiceStub

SECONDS = 5.0 if QUICK else 15.0
CALLERS = 16
ROWS = 10
SQL = "SELECT * FROM rows_10 UNION ALL " * 8000 + "SELECT * FROM rows_10"
JSON = {"content-type": "application/json"}
BODY = json.dumps({"metadata": {str(number): "" for number in range(80_000)}}, separators=(",", ":")).encode()


def quick_calls(stub: JobServiceStub, seconds: float) -> list[float]:
    """Milliseconds of each of so many ListJobs, one after the other, in order."""
    taken, ends = [], time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        stub.ListJobs(ListJobsRequest(page_size=10), metadata=METADATA, timeout=30)
        taken.append((time.perf_counter() - began) * 1000)
        time.sleep(0.005)
    return sorted(taken)


@contextmanager
def meanwhile(call: Callable[[], object], callers: int, pause_s: float = 0.0) -> Iterator[None]:
    """So many threads call again and again, so far apart at least, whatever becomes of it."""
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            next_s = time.perf_counter() + pause_s
            with suppress(grpc.RpcError, requests.RequestException):
                call()
            over.wait(max(0.0, next_s - time.perf_counter()))

    threads = [threading.Thread(target=go_on) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def busy_share(server: Server, seconds: float) -> float:
    """Share of one processor that the server and its children use."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")

    def used() -> float:
        pids = [server.process.pid, *map(int, children.read_text().split())]
        return sum(_cpu_s(pid) for pid in pids)

    before = used()
    time.sleep(seconds)
    return max(0.0, used() - before) / seconds


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    figure = Figure(
        "Hostile calls",
        f"ListJobs, one after the other, while {CALLERS} callers send SQL of {len(SQL) // 1000} KB (UNION ALL) each "
        f"second and give up after 1 s, and while 4 post, each second, {len(BODY) // 1000:,} KB of JSON.",
    )
    with world(ROWS) as here:
        http_port = free_port()
        server = here.server(here.sink(), BLADE_HTTP_PORT=str(http_port))
        server.run(ROWS)
        with grpc.insecure_channel(server.target) as channel:
            stub = JobServiceStub(channel)
            alone = quick_calls(stub, SECONDS)
            with meanwhile(
                lambda: stub.StartQueryJob(StartQueryJobRequest(sql=SQL), metadata=METADATA, timeout=1), CALLERS, 1.0
            ):
                time.sleep(1)
                beside_sql = quick_calls(stub, SECONDS)
            time.sleep(2)
            left = busy_share(server, 2.0)
            url = f"http://127.0.0.1:{http_port}/jobs/blade/query/start"
            with meanwhile(lambda: requests.post(url, BODY, headers=JSON | HEADERS, timeout=30), 4, 1.0):
                time.sleep(1)
                beside_bodies = quick_calls(stub, SECONDS)
    for name, taken in (("alone", alone), ("beside the SQL", beside_sql), ("beside the bodies", beside_bodies)):
        late = taken[len(taken) * 99 // 100]
        figure.line(f"ListJobs {name}, median", f"{taken[len(taken) // 2]:.1f} ms")
        if name == "alone":
            figure.line(f"ListJobs {name}, 99th percentile", f"{late:.1f} ms")
        else:
            figure.line(f"ListJobs {name}, 99th percentile", f"{late:.1f} ms", "<= 50 ms", met=late <= 50)
    figure.line("processor in use 2 s after the callers left", f"{left:.0%}", "<= 10 %", met=left <= 0.1)
    figure.save()


if __name__ == "__main__":
    main()
