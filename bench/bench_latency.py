"""Threads against the catalog's latency: items a second of one job at 5, 20 and 100 ms."""

from __future__ import annotations

from functools import partial

from figure import QUICK, Figure, in_turn
from world import Server, world

ROWS = 10_000 if QUICK else 200_000  # a job of few rows shows what each job pays at its start, and half of the rate
ROUNDS = 1 if QUICK else 3
LATENCIES_MS = (5, 20, 100)
THREADS = (1, 8, 32, 64)


def rate_of(server: Server, threads: int) -> float:
    return server.run(ROWS, workers=threads).rate


def main() -> None:
    figure = Figure(
        "Threads and latency",
        f"{ROWS:,} rows, 100 items a request, one job in one process; the sink answers so much later. A job's "
        "`workers` is its number of upload threads (8 by default, 64 at most).",
    )
    with world(ROWS) as here:
        for latency_ms in LATENCIES_MS:
            server = here.server(here.sink(f"--latency-ms={latency_ms}"))
            server.run(ROWS)
            found = in_turn(
                ROUNDS,
                {
                    str(threads): partial(rate_of, server, threads)
                    for threads in THREADS
                    # One thread at 100 ms takes as long as it looks: 1,000 items a second.
                    if threads > 1 or latency_ms < 100
                },
            )
            for threads, rate in found.items():
                most = int(threads) * 100 / (latency_ms / 1000)
                figure.line(
                    f"{latency_ms} ms, {threads} threads", f"{rate:,.0f} items/s", f"at most {most:,.0f} by latency"
                )
    figure.save()


if __name__ == "__main__":
    main()
