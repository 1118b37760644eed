"""Output files that are complete or absent: half a result must never look like a whole one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click


@contextmanager
def whole_file(name: str) -> Iterator[IO[bytes]]:
    """Opens a file to write; it takes its name when the block ends well, and vanishes when it does not.

    Raises:
        click.FileError: It cannot be written.
    """
    target = Path(name)
    try:
        if target.exists() and not target.is_file():  # a pipe or device is written to, not replaced
            with target.open("wb") as file:
                yield file
            return
        handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as wrong:
        raise click.FileError(name, wrong.strerror) from wrong
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        Path(partial).chmod(0o666 & ~umask)  # mkstemp makes files for their owner alone
        Path(partial).replace(target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
