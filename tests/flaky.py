"""Runs the whole suite again and again in random order, every second time beside a load, and tells what failed when.

`make flaky RUNS=10`. What was run is kept in .build/flaky/runs.jsonl: a stopped series goes on where it was; after its
last run the next call begins a new one.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = Path(".build/flaky")
RUNS = FOLDER / "runs.jsonl"


def _spin() -> None:
    while True:
        pass


@contextmanager
def load(wanted: bool) -> Iterator[None]:
    """One process for each processor that does nothing but compute."""
    spinning = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(wanted * (os.cpu_count() or 1))]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()


def run(number: int, command: list[str]) -> dict[str, Any]:
    """One run of the suite: its seed, whether beside a load, what failed, the seconds it took."""
    seed, beside_load = random.SystemRandom().getrandbits(32), number % 2 == 0
    cache, began_s = FOLDER / f"cache-{number}", time.monotonic()
    shutil.rmtree(cache, ignore_errors=True)  # of a run that was stopped
    print(f"=== run {number}, seed {seed}{', beside a load' * beside_load}", flush=True)
    with load(beside_load), (FOLDER / f"run-{number}.log").open("w") as log:
        options = ["-o", f"cache_dir={cache.absolute()}", f"--randomly-seed={seed}"]
        code = subprocess.run([*command, *options], stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if code not in {0, 1}:
        raise SystemExit(f"pytest ended with {code}; see {log.name}")
    failed = cache / "v" / "cache" / "lastfailed"
    return {
        "seed": seed,
        "beside_load": beside_load,
        "seconds": round(time.monotonic() - began_s),
        "failed": sorted(json.loads(failed.read_text())) if code and failed.exists() else [],
    }


def report(runs: list[dict[str, Any]]) -> int:
    """Says which test failed in which runs; the exit code."""
    failures = sorted({test for each in runs for test in each["failed"]})
    print(f"\n{len(runs)} runs, {len(failures)} tests that failed in one of them")
    for test in failures:
        print(test)
        for number, each in enumerate(runs, start=1):
            if test in each["failed"]:
                beside = " beside a load" * each["beside_load"]
                print(f"    run {number}{beside}: --randomly-seed={each['seed']}, {FOLDER}/run-{number}.log")
    return bool(failures)


def main(count: int, command: list[str]) -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    runs = [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []
    if len(runs) >= count:
        runs.clear()
        RUNS.unlink()
    while len(runs) < count:
        runs.append(run(len(runs) + 1, command))
        with RUNS.open("a") as kept:
            kept.write(json.dumps(runs[-1]) + "\n")
        print(f"    {len(runs[-1]['failed'])} failed, {runs[-1]['seconds']} s", flush=True)
    return report(runs)


if __name__ == "__main__":
    try:
        raise SystemExit(main(int(sys.argv[1]), sys.argv[2:]))
    except KeyboardInterrupt:
        raise SystemExit("stopped; the next call begins with this run again") from None
