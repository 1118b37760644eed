"""Small jobs: 10 rows, from the call that starts one to the caller knowing its end."""

from __future__ import annotations

import statistics
import time

from figure import QUICK, Figure
from world import Server, world

ROWS = 10
LARGE_ROWS = 200_000 if QUICK else 1_000_000
JOBS = 20 if QUICK else 100
IN_A_ROW = 100


def milliseconds(server: Server) -> tuple[float, float]:
    """Of one job: until its caller knows its end, and of that what the job itself took by PostgreSQL's clock."""
    began = time.perf_counter()
    ran = server.run(ROWS)
    return (time.perf_counter() - began) * 1000, ran.seconds * 1000


def medians(server: Server, jobs: int) -> tuple[float, float, float]:
    """Median and 95th percentile of what callers see, and the median of what the jobs took."""
    taken = [milliseconds(server) for _ in range(jobs)]
    known, took = sorted(each[0] for each in taken), [each[1] for each in taken]
    return statistics.median(known), known[len(known) * 95 // 100], statistics.median(took)


def main() -> None:
    figure = Figure(
        "Small jobs",
        f"Jobs of {ROWS} rows, one after the other, each started and waited for with the Python client as it comes "
        "(`start_query_job`, then `wait`).",
    )
    with world(ROWS, LARGE_ROWS) as here:
        server = here.server(here.sink())
        medians(server, 5)
        known, late, took = medians(server, JOBS)
        figure.line(
            "from start to the caller knowing its end, median", f"{known:.0f} ms", "<= 100 ms", met=known <= 100
        )
        figure.line("the same, 95th percentile", f"{late:.0f} ms")
        figure.line("of that, from creation to end in the job's own times", f"{took:.0f} ms")
        began = time.perf_counter()
        for _ in range(IN_A_ROW):
            server.run(ROWS)
        seconds = time.perf_counter() - began
        figure.line(f"{IN_A_ROW} jobs one after the other", f"{seconds:.1f} s", "<= 10 s", met=seconds <= 10)

        large = server.start(LARGE_ROWS)
        beside, _, _ = medians(server, 5)
        server.wait(large)
        figure.line(f"beside a job of {LARGE_ROWS:,} rows, median", f"{beside:.0f} ms")
    figure.save()


if __name__ == "__main__":
    main()
