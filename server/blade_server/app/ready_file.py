"""A file that is there while the server serves, for supervisors and for `blade health`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blade_server.app.serve import Serving


@contextmanager
def ready_file(file: Path | None) -> Iterator[Callable[[Serving], None]]:
    """Gives what writes the file, whole, as a line of JSON; it is removed in the end. None: no file.

    One of another server stays: it may serve, and if it does not, its socket says so.

    Raises OSError naming the file if it cannot be written.
    """
    if file is None:
        yield lambda serving: None
        return
    partial = file.with_name(f"{file.name}.{os.getpid()}")

    def write(serving: Serving) -> None:
        partial.write_text(json.dumps(dataclasses.asdict(serving) | {"pid": os.getpid()}) + "\n")
        partial.replace(file)

    _remove_own(file)  # in a container the process before had the same number
    try:
        yield write
    finally:
        _remove_own(file)


def _remove_own(file: Path) -> None:
    try:
        own = json.loads(file.read_text())["pid"] == os.getpid()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    if own:
        file.unlink(missing_ok=True)
