"""Uploads in batches: a job against dlt, a thread pool and the limit; and what the durable ledger costs."""

from __future__ import annotations

import subprocess
import sys

import rows
from figure import QUICK, Figure, ProcessorTime, in_turn, peer
from world import HERE, Process, counted, world

ROWS = 60_000 if QUICK else 250_000
ROUNDS = 1 if QUICK else 5
BATCH, THREADS = 100, 8  # BLADE's defaults, and as many for the others


def preencoded(sink: Process, *options: str) -> list[str]:
    command = [sys.executable, HERE / "preencoded.py", sink.found, *map(str, (ROWS, BATCH, THREADS)), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def main() -> None:
    figure = Figure(
        "Uploads, 100 items a request",
        f"{ROWS:,} rows from the sandbox warehouse to the sink, {THREADS} threads; items a second from start to end. "
        "The limit only POSTs bytes that were encoded before, with requests.Session; the bare limit does the same over "
        "BLADE's own connections. dlt reads Arrow and loads Parquet, its fastest way.",
    )
    table = rows.table_name(ROWS)
    with world(ROWS) as here:
        sink = here.sink()
        server, bare = here.server(sink), here.server(sink, program=[str(HERE / "without_ledger.py")])
        for warm in (server, bare):
            warm.run(ROWS)
        before = counted(sink)
        cpu = ProcessorTime()
        batches = (table, sink, BATCH, THREADS)
        found = in_turn(
            ROUNDS,
            {
                "blade": lambda: cpu.of_server("blade", server, ROWS),
                "no ledger": lambda: cpu.of_server("no ledger", bare, ROWS),
                "limit": lambda: cpu.of_peer("limit", preencoded(sink)),
                "bare limit": lambda: cpu.of_peer("bare limit", preencoded(sink, "own")),
                "thread pool": lambda: cpu.of_peer("thread pool", peer("thread_pool.py", here, *batches)),
                "dlt": lambda: cpu.of_peer("dlt", peer("dlt_destination.py", here, *batches)),
            },
        )
        assert counted(sink) - before == 6 * ROUNDS * ROWS, "somebody did not send all rows"
    for name, rate in found.items():
        figure.line(name, f"{rate:,.0f} items/s", f"{cpu[name]:.1f} us CPU/item")
    figure.ratio("blade / dlt", found["blade"] / found["dlt"], least=5)
    figure.ratio("blade / thread pool with files=", found["blade"] / found["thread pool"])
    figure.ratio("blade / pre-encoded limit", found["blade"] / found["limit"], least=0.75)
    figure.ratio("blade / pre-encoded bare limit", found["blade"] / found["bare limit"])
    cost = 1 - found["blade"] / found["no ledger"]
    figure.line("the ledger costs", f"{cost:.0%} of throughput", "<= 20 %", met=cost <= 0.2)
    spent = 1 - cpu["no ledger"] / cpu["blade"]
    figure.line("the ledger costs, of the server's processor time", f"{spent:.0%}")
    figure.note(
        "A job reads, transforms, writes its ledger and uploads under one interpreter lock, and shares the cores with "
        "PostgreSQL and the warehouse; the limits only upload. What an item costs where: docs/performance.md."
    )
    figure.save()


if __name__ == "__main__":
    main()
