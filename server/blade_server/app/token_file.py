"""The files in which servers leave a token for clients of their own user: one a server, there while it lives.

Whether a server lives is told by a lock on its file, which ends with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class TokenFile:
    """`<folder>/<server id>.json`, mode 0600 in a folder of mode 0700."""

    def __init__(self, folder: Path, server_id: str) -> None:
        """Writes nothing yet."""
        self._folder = folder
        self._file = folder / f"{server_id}.json"
        self._held: int | None = None

    def write(self, document: Mapping[str, Any]) -> None:
        """Writes the file, whole, and removes those of servers that are dead.

        Raises OSError if the folder cannot be made, or is somebody else's.
        """
        _make(self._folder)
        with _locked(self._folder):
            for file in self._folder.iterdir():
                _remove_if_dead(file)
            self._held = _written(self._file, json.dumps(document) + "\n")

    def remove(self) -> None:
        """Harmless if it is not there."""
        if self._held is not None:
            self._file.unlink(missing_ok=True)
            os.close(self._held)
            self._held = None


def _make(folder: Path) -> None:
    # As the embedded PostgreSQL makes it: started by root it runs as another user, who passes through.
    folder.parent.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise OSError(f"{folder} is no folder of this user")
    folder.chmod(0o700)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One server at a time: none takes another one's file, written and not locked yet, for a dead one's."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_if_dead(file: Path) -> None:
    with suppress(OSError):  # BlockingIOError: it lives
        handle = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
        finally:
            os.close(handle)


def _written(file: Path, text: str) -> int:
    """The handle that holds the lock."""
    partial = file.with_suffix(".new")
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(handle, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, text.encode())
        partial.replace(file)
    except OSError:
        os.close(handle)
        raise
    return handle
