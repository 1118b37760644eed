"""Growth: items a second and memory of one job over 10 k to 10 M rows; and what it takes to resume a large one."""

from __future__ import annotations

import os
import signal
import time

from figure import FULL, QUICK, Figure
from world import world

SIZES = (10_000, 100_000, *(() if QUICK and not FULL else (1_000_000,)), *((10_000_000,) if FULL else ()))


def main() -> None:
    figure = Figure(
        "Growth",
        "One job over tables of different sizes, each on a server of its own that has run a small job before; "
        "memory is the most that the process had. 10 M rows: `make bench FULL=1`.",
    )
    peaks = {}
    with world(1000, *SIZES) as here:
        sink = here.sink()
        for size in SIZES:
            server = here.server(sink)
            server.run(1000)
            server.process.forget_peak()
            before_s = server.process.cpu_s()
            ran = server.run(size)
            peaks[size] = server.process.memory_mb("VmHWM")
            each_us = (server.process.cpu_s() - before_s) / size * 1e6
            figure.line(
                f"{size:,} rows", f"{ran.rate:,.0f} items/s", f"{peaks[size]:.0f} MB, {each_us:.1f} us CPU/item"
            )
            server.process.stop()
        largest = max(SIZES)
        figure.ratio(f"peak memory, {largest:,} / 100,000 rows", peaks[largest] / peaks[100_000], most=1.2)

        # Killed at half and taken over by another process, which has to know what was done.
        url = here.database()
        first = here.server(sink, DATABASE_URL=url, BLADE_LEASE_S="3", BLADE_LEASE_BEAT_S="0.5")
        job_id = first.start(largest)
        while first.client.get_job(job_id).success_count < largest * 0.5:
            time.sleep(0.2)
        os.kill(first.process.pid, signal.SIGKILL)
        second = here.server(sink, DATABASE_URL=url)
        second.wait(job_id)
        more = second.process.memory_mb("VmHWM") - peaks[largest]
        figure.line(
            f"taken over at half of {largest:,} rows: more memory", f"{more:.0f} MB", "<= 200 MB", met=more <= 200
        )
    figure.save()


if __name__ == "__main__":
    main()
