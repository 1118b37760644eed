"""Processes: several jobs at once, by one and by two job processes on one machine."""

from __future__ import annotations

import time

from figure import QUICK, Figure, in_turn
from world import Server, world

ROWS = 50_000 if QUICK else 150_000
JOBS = 4
ROUNDS = 1 if QUICK else 3


def together(server: Server) -> float:
    """Items a second of several jobs that run at the same time."""
    began = time.perf_counter()
    jobs = [server.start(ROWS) for _ in range(JOBS)]
    items = sum(server.wait(job).items for job in jobs)
    return items / (time.perf_counter() - began)


def main() -> None:
    figure = Figure(
        "Processes",
        f"{JOBS} jobs of {ROWS:,} rows at once, by one server process and by two on the same PostgreSQL. One job "
        "is run by one process, so processes help several jobs, not one.",
    )
    with world(ROWS) as here:
        sink = here.sink()
        url = here.database()
        alone = here.server(sink, BLADE_MAX_RUNNING_JOBS=str(JOBS))
        each = {"BLADE_MAX_RUNNING_JOBS": str(JOBS // 2), "DATABASE_URL": url}
        pair = [here.server(sink, **each), here.server(sink, **each)]
        for warm in (alone, pair[0]):
            warm.run(ROWS)
        found = in_turn(ROUNDS, {"1 process": lambda: together(alone), "2 processes": lambda: together(pair[0])})
    for name, rate in found.items():
        figure.line(name, f"{rate:,.0f} items/s")
    figure.ratio("2 processes / 1", found["2 processes"] / found["1 process"])
    figure.note("Two processes need cores that are free: here PostgreSQL, the warehouse and the sink have them.")
    figure.save()


if __name__ == "__main__":
    main()
