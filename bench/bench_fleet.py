"""A fleet: four servers on one PostgreSQL, 200 jobs queued, 500 watchers; once left alone, once with servers killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from figure import QUICK, Figure
from sqlalchemy import create_engine, text
from world import HERE, Process, Server, World, world

SERVERS = 4
JOBS = 40 if QUICK else 200
WATCHERS = 100 if QUICK else 500
ROWS = 2_000 if QUICK else 5_000
AT_ONCE = 4
"""Jobs that each server runs at once, the default."""
TIMES = text(
    "SELECT extract(epoch FROM create_time), extract(epoch FROM start_time), extract(epoch FROM end_time), status, "
    "success_count FROM job"
)


class Caller:
    """Somebody who asks for jobs and lists of jobs all the time, and how long each call takes."""

    def __init__(self, server: Server, job_ids: Sequence[str]) -> None:
        self._server, self._job_ids = server, job_ids
        self.taken_ms: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.02):
            began = time.perf_counter()
            if number % 4:
                self._server.client.get_job(self._job_ids[number % len(self._job_ids)])
            else:
                next(iter(self._server.client.list_jobs(page_size=50)))
            self.taken_ms.append((time.perf_counter() - began) * 1000)
            number += 1


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def claim_delays_s(times: Sequence[tuple[float, float, float]], places: int) -> list[float]:
    """How long a place stood empty: the start of each job that had to wait, after the end that made room for it."""
    starts = sorted(start for _, start, _ in times)
    ends = sorted(end for _, _, end in times)
    return [max(0.0, start - end) for start, end in zip(starts[places:], ends, strict=False)]


class Fleet:
    """The servers, and what is asked of PostgreSQL itself."""

    def __init__(self, here: World, sink: Process) -> None:
        self._here, self._sink = here, sink
        self._url = here.database()
        self.servers = [self.server() for _ in range(SERVERS)]
        self._engine = create_engine(self._url.replace("postgresql:", "postgresql+psycopg2:"))

    def server(self) -> Server:
        return self._here.server(self._sink, DATABASE_URL=self._url)

    def ended(self) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(text("SELECT count(*) FROM job WHERE end_time IS NOT NULL")).scalar_one())

    def connections(self) -> int:
        with self._engine.begin() as connection:
            count = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(connection.execute(count).scalar_one())

    def times(self) -> list[tuple[float, float, float]]:
        with self._engine.begin() as connection:
            found = connection.execute(TIMES).all()
        wrong = [row for row in found if row.status != "COMPLETED" or row.success_count != ROWS]
        if wrong:
            raise RuntimeError(f"{len(wrong)} jobs did not go through: {wrong[:3]}")
        return [(float(row[0]), float(row[1]), float(row[2])) for row in found]

    def stop(self) -> None:
        self._engine.dispose()
        for server in self.servers:
            server.process.stop()


def watchers(server: Server, job_ids: Sequence[str], count: int) -> subprocess.Popen[bytes]:
    arguments = [server.target, ",".join(job_ids), str(count), "1.0", "600"]
    return subprocess.Popen([sys.executable, str(HERE / "watch_clients.py"), *arguments], stdout=subprocess.PIPE)


def measure(figure: Figure, here: World, sink: Process, case: str, *, kills: bool) -> None:
    fleet = Fleet(here, sink)
    first, second, *others = fleet.servers
    first.add_source(ROWS)
    job_ids = [first.start(ROWS) for _ in range(JOBS)]
    caller = Caller(first, job_ids)
    watching = [watchers(server, job_ids, WATCHERS // 2) for server in (first, second)]
    connections, killed = 0, 0
    while (ended := fleet.ended()) < JOBS:
        connections = max(connections, fleet.connections())
        if kills and killed < len(others) and ended >= JOBS * (killed + 1) // 4:
            os.kill(others[killed].process.pid, signal.SIGKILL)
            fleet.servers.append(fleet.server())
            killed += 1
        time.sleep(0.2)
    caller.stop()
    seen = [json.loads(process.communicate()[0]) for process in watching]
    times = fleet.times()
    alive = [server for server in fleet.servers if server.process.memory_mb() > 0]
    report(figure, case, times, caller, seen)
    memory = [server.process.memory_mb("VmHWM") for server in alive]
    figure.line(f"{case}: memory of a server, most", f"{max(memory):.0f} MB", "<= 400 MB", met=max(memory) <= 400)
    figure.line(f"{case}: connections to PostgreSQL, most", f"{connections}")
    fleet.stop()


def report(
    figure: Figure, case: str, times: list[tuple[float, float, float]], caller: Caller, seen: list[dict]
) -> None:  # type: ignore[type-arg]
    took_s = max(end for _, _, end in times) - min(created for created, _, _ in times)
    delays = claim_delays_s(times, SERVERS * AT_ONCE)
    figure.line(f"{case}: all jobs", f"{took_s:.1f} s, {JOBS * ROWS / took_s:,.0f} items/s")
    p50, p99 = (percentile(delays, share) for share in (0.5, 0.99))
    figure.line(f"{case}: claim delay p50, p99", f"{p50 * 1000:.0f} ms, {p99 * 1000:.0f} ms")
    calls = percentile(caller.taken_ms, 0.99)
    figure.line(f"{case}: GetJob and ListJobs p50, p99", f"{percentile(caller.taken_ms, 0.5):.1f} ms, {calls:.1f} ms")
    subscribed, failed = sum(one["first"] for one in seen), sum(one["failed"] for one in seen)
    figure.line(
        f"{case}: watchers that saw their job", f"{subscribed:,}, {failed} failed", "all", met=subscribed == WATCHERS
    )


def main() -> None:
    figure = Figure(
        "Fleet",
        f"{SERVERS} servers with a PostgreSQL of their own together, {JOBS} jobs of {ROWS:,} rows queued at once, "
        f"{WATCHERS} watchers at one snapshot a second and a caller of GetJob and ListJobs, all on {os.cpu_count()} "
        "cores. Claim delay: how long a free place waits for its next job. With kills: two of the servers are killed "
        "(SIGKILL) at a quarter and at half of the jobs, others take their jobs over when the leases have run out.",
    )
    with world(ROWS) as here:
        sink = here.sink()
        measure(figure, here, sink, "left alone", kills=False)
        measure(figure, here, sink, "two killed", kills=True)
    figure.save()


if __name__ == "__main__":
    main()
