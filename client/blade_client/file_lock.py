"""A lock that the processes of one user take in turn; it ends with the process that holds it, however that ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _taken(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _taken(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_BETWEEN_S = 0.05


@contextmanager
def locked(file: Path, patience_s: float) -> Iterator[None]:
    """Holds the lock of a file, which is made if need be. Raises OSError, TimeoutError if others hold it for long."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    deadline_s = time.monotonic() + patience_s
    try:
        while not _taken(handle):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"another process holds {file}")
            time.sleep(_BETWEEN_S)
        yield
    finally:
        os.close(handle)
