"""A wall clock that the tests turn: what the file BLADE_FAULT_CLOCK says, in seconds, is added to `time.time`.

Put on PYTHONPATH, Python runs this before anything else. The monotonic clock goes on as ever, as on a real machine.
(libfaketime makes `time.sleep` of Python 3.11 fail; and `datetime.now`, which is C, cannot be replaced.)
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_file = Path(os.environ["BLADE_FAULT_CLOCK"])
_time, _time_ns = time.time, time.time_ns


def _offset_s() -> float:
    return float(_file.read_text() or 0)


time.time = lambda: _time() + _offset_s()
time.time_ns = lambda: _time_ns() + int(_offset_s() * 1e9)
