"""A wall clock that the tests turn: what is in a file is added to `time.time`, in seconds.

The file is that of this process in the folder BLADE_FAULT_CLOCK, `<process id>`, or `all`.

Put on PYTHONPATH, Python runs this before anything else. The monotonic clock goes on as ever, as on a real machine.
(libfaketime makes `time.sleep` of Python 3.11 fail; and `datetime.now`, which is C, cannot be replaced.)
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_folder = Path(os.environ["BLADE_FAULT_CLOCK"])
_time, _time_ns = time.time, time.time_ns


def _offset_s() -> float:
    for name in (str(os.getpid()), "all"):
        with suppress(OSError, ValueError):
            return float((_folder / name).read_text())
    return 0.0


time.time = lambda: _time() + _offset_s()
time.time_ns = lambda: _time_ns() + int(_offset_s() * 1e9)
