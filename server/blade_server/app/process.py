"""What every process of a server does with itself: signals, garbage collection."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable


def stop_at_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop_then_exit() -> None:
        stop.set()
        for number in signals:  # leases, transactions and the embedded PostgreSQL all survive this
            loop.add_signal_handler(number, os._exit, 128 + number)

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop_then_exit)
    return stop


def read_again_at_hangup(stop: asyncio.Event, read_again: Callable[[], None]) -> None:
    """At SIGHUP. Where the log goes to a terminal, it means that this was closed: the process stops, as by SIGTERM.

    Shells and the kernel both send it then, so that a second one means no more than the first.
    """
    on_terminal = sys.stderr.isatty()  # asked now: a terminal that is closed is none any more
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop.set if on_terminal else read_again)


def freeze() -> None:
    """The garbage collector looks from here on only at what jobs and calls make: a tenth more items a second.

    And seldom: by default it looks at everything once in 70,000 new objects, which is each second with 5,000 watchers.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
