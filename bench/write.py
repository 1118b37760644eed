"""BENCHMARKS.md from what the scripts found out."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from figure import FULL, KEPT, QUICK
from world import HERE, PEERS

ORDER = (
    "upload",
    "sync",
    "single",
    "small",
    "latency",
    "processes",
    "growth",
    "stream",
    "watch",
    "fleet",
    "sight",
    "calls",
    "lists",
    "hostile",
)
OURS = (
    "grpcio",
    "databricks-sql-connector",
    "pyarrow",
    "orjson",
    "requests",
    "urllib3",
    "sqlalchemy",
    "psycopg2-binary",
)
INTRODUCTION = """# Benchmarks

Written by `make bench`, half an hour on two quiet cores (`QUICK=1`: a short run; `FULL=1`: also with 10 M rows). One
figure alone: `.venv/bin/python bench/bench_upload.py`. Each script runs its ways in turn within one run and gives
medians. Compare the ratios: the rest depends on the machine and on what else it does. The peers are pinned in
bench/requirements.txt and have an environment of their own. All servers share this one machine: PostgreSQL, the
sandbox warehouse, BLADE and the sink (bench/sink.py, which finds the ids, answers and forgets). What limits each
figure stands in docs/performance.md. Each section says when it was taken and how busy the machine was (load over five
minutes): sections of different times were not taken in one run, and a ratio moves with the load.
"""


def machine() -> str:
    cpu = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else None
    return f"{os.cpu_count()} cores ({found[1] if found else platform.processor() or platform.machine()})"


def kind_of_run() -> str:
    options = " ".join(f"{name}=1" for name, given in (("QUICK", QUICK), ("FULL", FULL)) if given)
    return f"From one `make bench{' ' + options if options else ''}`."


def peers() -> str:
    frozen = subprocess.run([PEERS, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    return ", ".join(line.replace("==", " ") for line in frozen.splitlines() if line.startswith("dlt=="))


def section(name: str) -> str:
    kept = KEPT / f"bench_{name}.json"
    if not kept.exists():
        return ""
    figure = json.loads(kept.read_text())
    rows = [f"| {what} | {value} | {target} | {verdict} |" for what, value, target, verdict in figure["lines"]]
    notes = [f"\n{note}" for note in figure["notes"]]
    head = ["| what | figure | target | |", "| --- | ---: | --- | --- |"]
    return "\n".join(
        [f"## {figure['title']}", "", f"{figure['how']} Taken {figure['taken']}.", "", *head, *rows, *notes, ""]
    )


def main() -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in OURS)
    python = f"Python {platform.python_version()}"
    taken = f"{kind_of_run()} On {machine()}; {python}, {versions}; {peers()}."
    text = "\n".join([INTRODUCTION, taken, "", *filter(None, map(section, ORDER))])
    (HERE.parent / "BENCHMARKS.md").write_text(text.rstrip() + "\n")
    print("BENCHMARKS.md is written")


if __name__ == "__main__":
    sys.exit(main())
