"""Uploads of one item a request: a job against a plain requests.Session with as many threads; threads and latency."""

from __future__ import annotations

import rows
from figure import QUICK, Figure, ProcessorTime, in_turn, peer
from world import world

ROWS = 3_000 if QUICK else 10_000
ROUNDS = 1 if QUICK else 5
THREADS = 8


def main() -> None:
    figure = Figure(
        "Uploads, one item a request",
        f"{ROWS:,} rows from the sandbox warehouse to a sink that takes no batches, {THREADS} threads; items a second "
        "from start to end. The other side is the driver, requests.Session, `files=` and a thread pool.",
    )
    with world(ROWS) as here:
        sink = here.sink("--single")
        server = here.server(sink)
        server.run(ROWS)
        cpu = ProcessorTime()
        single = (rows.table_name(ROWS), sink, 1, THREADS)
        found = in_turn(
            ROUNDS,
            {
                "blade": lambda: cpu.of_server("blade", server, ROWS),
                "requests.Session": lambda: cpu.of_peer("requests.Session", peer("thread_pool.py", here, *single)),
            },
        )
    for name, rate in found.items():
        figure.line(name, f"{rate:,.0f} items/s", f"{cpu[name]:.0f} us CPU/item")
    figure.ratio("blade / requests.Session", found["blade"] / found["requests.Session"], least=2.5)
    figure.save()


if __name__ == "__main__":
    main()
