"""How every figure is taken and kept: ways in turn within one run, medians, ratios, a target beside each."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from world import HERE, HTTP_PATH, PEERS, TOKEN, Process, Server, World

QUICK = bool(os.environ.get("QUICK"))
FULL = bool(os.environ.get("FULL"))
KEPT = HERE.parent / ".build/bench"


def in_turn(rounds: int, ways: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each way; every round goes through all of them, so that a busy moment is everybody's."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
            print(f"  round {number + 1}: {name} {taken[name][-1]:,.4g}", flush=True)
    return {name: statistics.median(values) for name, values in taken.items()}


class ProcessorTime:
    """Microseconds of processor time an item of each way, beside how long it took: other programs change it little."""

    def __init__(self) -> None:
        self._taken: dict[str, list[float]] = {}

    def of_server(self, name: str, server: Server, rows: int) -> float:
        """A job's items a second; what its server's process used is kept."""
        before_s = server.process.cpu_s()
        ran = server.run(rows)
        self._keep(name, server.process.cpu_s() - before_s, rows)
        return ran.rate

    def of_peer(self, name: str, said: Sequence[str]) -> float:
        """A peer's items a second, by the items, seconds and seconds of processor time that it printed."""
        items, seconds, cpu_s = map(float, said)
        self._keep(name, cpu_s, items)
        return items / seconds

    def _keep(self, name: str, seconds: float, rows: float) -> None:
        self._taken.setdefault(name, []).append(seconds / rows * 1e6)

    def __getitem__(self, name: str) -> float:
        """The median."""
        return statistics.median(self._taken[name])


def peer(script: str, world: World, table: str, sink: Process, *options: object) -> list[str]:
    """What a peer's script printed: items, seconds and seconds of processor time, without its imports."""
    if not PEERS.exists():
        sys.exit(f"{PEERS} is not there: `make bench` makes it")
    where = [world.warehouse.found, HTTP_PATH, TOKEN, table, sink.found, *map(str, options)]
    done = subprocess.run([PEERS, HERE / "peers" / script, *where], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout.split()[-3:]


class Figure:
    """What one script found out."""

    def __init__(self, title: str, how: str) -> None:
        self._name = Path(sys.argv[0]).stem
        self._document = {"title": title, "how": how, "lines": [], "notes": []}
        print(f"{title}", flush=True)

    def line(self, what: str, value: str, target: str = "", *, met: bool | None = None) -> None:
        """One line of the table; `met` says whether the target is."""
        verdict = {True: "met", False: "**missed**", None: ""}[met]
        self._document["lines"].append([what, value, target, verdict])
        print(f"{what:60} {value:>22}  {target:18} {verdict}", flush=True)

    def ratio(self, what: str, value: float, *, least: float | None = None, most: float | None = None) -> None:
        """A line that is a ratio with its target."""
        if least is not None:
            self.line(what, f"{value:.2f} x", f">= {least:g} x", met=value >= least)
        elif most is not None:
            self.line(what, f"{value:.2f} x", f"<= {most:g} x", met=value <= most)
        else:
            self.line(what, f"{value:.2f} x")

    def note(self, text: str) -> None:
        """A sentence below the table."""
        self._document["notes"].append(text)

    def save(self) -> None:
        self._document["taken"] = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[1]:.1f}"
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{self._name}.json").write_text(json.dumps(self._document, indent=1))
