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
    """Gives what writes the file, whole, as a line of JSON; it is removed in the end, and at the start. None: no file.

    Raises OSError naming the file if it cannot be written.
    """
    if file is None:
        yield lambda serving: None
        return
    partial = file.with_name(f"{file.name}.{os.getpid()}")

    def write(serving: Serving) -> None:
        partial.write_text(json.dumps(dataclasses.asdict(serving) | {"pid": os.getpid()}) + "\n")
        partial.replace(file)

    file.unlink(missing_ok=True)
    try:
        yield write
    finally:
        file.unlink(missing_ok=True)
