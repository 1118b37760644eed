"""Processes: several jobs at once in the serving process, and in 1, 2 and 4 of `serve --workers`."""

from __future__ import annotations

import os
import statistics
from contextlib import suppress
from functools import partial
from pathlib import Path

from figure import QUICK, Figure, in_turn
from world import Process, Server, World, world

from blade.v1.job_pb2 import Job

WORKERS = (0, 1, 2, 4)
JOBS = 4
ROWS = 50_000 if QUICK else 150_000
SINGLE_ROWS = 4_000 if QUICK else 5_000
LATE_ROWS = 25_000 if QUICK else 50_000
LATENCY_MS = 100
THREADS = 8  # of a job, the default
ROUNDS = 1 if QUICK else 3
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Load:
    """Processor time of each way: of the server with its workers, and how busy all cores of the machine were."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[float, float, float]]] = {}

    def of_jobs(self, name: str, server: Server, rows: int) -> float:
        """Items a second of several jobs that run at the same time."""
        cpu_s, (busy_s, all_s) = _cpu_s(server.process), _machine_s()
        jobs = [_ended(server, job_id) for job_id in [server.start(rows, workers=THREADS) for _ in range(JOBS)]]
        cpu_s = _cpu_s(server.process) - cpu_s
        busy_s, all_s = (now - before for now, before in zip(_machine_s(), (busy_s, all_s), strict=True))
        # By the jobs' own times: whoever watches hears of an end a moment later.
        ended_ns, began_ns = (
            max(job.end_time.ToNanoseconds() for job in jobs),
            min(job.create_time.ToNanoseconds() for job in jobs),
        )
        items, seconds = sum(job.success_count for job in jobs), (ended_ns - began_ns) / 1e9
        self._taken.setdefault(name, []).append((cpu_s / items * 1e6, cpu_s / seconds, busy_s / all_s))
        return items / seconds

    def __getitem__(self, name: str) -> str:
        """The medians, in words."""
        us, cores, busy = map(statistics.median, zip(*self._taken[name], strict=True))
        return f"{us:.1f} us CPU/item, {cores:.2f} cores, machine {busy:.0%} busy"


def _ended(server: Server, job_id: str) -> Job:
    """The job once it has completed."""
    *_, job = server.client.watch_job(job_id, min_interval_s=0.2)
    if job.status != Job.COMPLETED or job.error_count:
        raise RuntimeError(f"the job did not go through: {job}")
    return job


def _cpu_s(server: Process) -> float:
    """Processor time of a server and of its workers, which are its children. Linux only."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = file.read_text().rpartition(")")[2].split()
            if server.pid in (int(file.parent.name), int(fields[1])):
                ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_S


def _machine_s() -> tuple[float, float]:
    """Time of all cores that was not idle, and all of it."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) * TICK_S, sum(ticks) * TICK_S


def name_of(workers: int) -> str:
    return f"{workers} workers" if workers != 1 else "1 worker"


def measure(figure: Figure, here: World, case: str, rows: int, *sink_options: str) -> None:
    sink = here.sink(*sink_options)
    servers = {workers: here.server(sink, BLADE_WORKERS=str(workers)) for workers in WORKERS}
    load = Load()
    for server in servers.values():
        server.run(min(rows, SINGLE_ROWS))
    ways = {name_of(workers): partial(load.of_jobs, name_of(workers), servers[workers], rows) for workers in WORKERS}
    found = in_turn(ROUNDS, ways)
    for server in servers.values():
        server.process.stop()
    for name, rate in found.items():
        figure.line(f"{case}, {name}", f"{rate:,.0f} items/s", load[name])
    for workers in WORKERS[2:]:
        figure.ratio(f"{case}, {name_of(workers)} / 1", found[name_of(workers)] / found[name_of(1)])


def main() -> None:
    figure = Figure(
        "Processes",
        f"{JOBS} jobs at once, by one server with so many job processes (`--workers`; 0: jobs run in the serving "
        f"process), {THREADS} upload threads a job, on {os.cpu_count()} cores that PostgreSQL, the warehouse and the "
        f"sink share. In batches: {ROWS:,} rows a job, 100 items a request; one by one: {SINGLE_ROWS:,} rows a job; "
        f"with latency: {LATE_ROWS:,} rows a job in batches, the sink answers {LATENCY_MS} ms later. Beside each "
        "figure: processor time of the server with its workers for an item, how many cores that is, and how busy all "
        "cores were, whoever used them.",
    )
    with world(ROWS, SINGLE_ROWS, LATE_ROWS) as here:
        measure(figure, here, "in batches", ROWS)
        measure(figure, here, "one by one", SINGLE_ROWS, "--single")
        measure(figure, here, f"{LATENCY_MS} ms of latency", LATE_ROWS, f"--latency-ms={LATENCY_MS}")
    most = JOBS * THREADS * 100 * 1000 // LATENCY_MS
    figure.note(
        "One process uses one core and no more: its interpreter's lock. A second one brings what is left of the "
        "machine, and an item costs less where fewer threads want one lock. The curve bends where the cores are full: "
        "each item also costs PostgreSQL, the warehouse and the sink processor time, here on the same cores, in "
        "production on others. Cores stay free at the start and end of the jobs, which count too. Where the catalog's "
        f"latency is the limit ({JOBS} jobs x {THREADS} threads x 100 items / {LATENCY_MS} ms = {most:,} items/s), or "
        "a rate, processes bring little or nothing however many cores are free: more upload threads do, until an "
        "interpreter is busy. One job is run by one process, so processes never make one job faster."
    )
    figure.save()


if __name__ == "__main__":
    main()
