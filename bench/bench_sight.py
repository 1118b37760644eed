"""What the metrics cost on the way of a job: against a server that records none, and against another checkout.

BENCH_BASE: the folder of that checkout, say of a commit before; without it there are two ways.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import requests
from figure import QUICK, Figure, ProcessorTime, in_turn
from world import HERE, Server, world

ROWS = 60_000 if QUICK else 250_000
ROUNDS = 3 if QUICK else 7
SCRAPE_EVERY_S = 5.0
ADMIN_PORT = 19464
BASE = os.environ.get("BENCH_BASE", "")


def main() -> None:
    figure = Figure(
        "What the metrics cost",
        f"{ROWS:,} rows from the sandbox warehouse to the sink; processor time of the server's process an item. One "
        f"server records and is scraped each {SCRAPE_EVERY_S:g} s, the other one records nothing.",
    )
    cpu = ProcessorTime()
    with world(ROWS) as here:
        sink = here.sink()
        servers: dict[str, Server] = {
            "metrics": here.server(sink, BLADE_ADMIN_PORT=str(ADMIN_PORT)),
            "no metrics": here.server(sink, program=[str(HERE / "without_metrics.py")], BLADE_ADMIN_PORT="0"),
        }
        if BASE:
            path = ":".join(f"{BASE}/{part}" for part in ("server", "client", "protos/gen"))
            servers["base"] = here.server(sink, PYTHONPATH=path)
        for server in servers.values():
            server.run(ROWS)
        over = threading.Event()
        scraping = threading.Thread(target=_scrape, args=(over,))
        scraping.start()
        in_turn(ROUNDS, {name: _way(cpu, name, server) for name, server in servers.items()})
        over.set()
        scraping.join()
    for name in servers:
        figure.line(name, f"{cpu[name]:.2f} us CPU/item")
    for name in servers.keys() - {"metrics"}:
        cost = cpu["metrics"] / cpu[name] - 1
        figure.line(f"the metrics cost, against {name}", f"{cost:.1%}", "<= 3 %", met=cost <= 0.03)
    figure.save()


def _way(cpu: ProcessorTime, name: str, server: Server) -> Callable[[], float]:
    return lambda: cpu.of_server(name, server, ROWS)


def _scrape(over: threading.Event) -> None:
    while not over.wait(SCRAPE_EVERY_S):
        requests.get(f"http://127.0.0.1:{ADMIN_PORT}/metrics", timeout=10).raise_for_status()


if __name__ == "__main__":
    main()
