"""Volumes: files beside the tables. They travel over HTTP, each by a link that is good for one method for a while."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from blade_sandbox.warehouse.errors import SqlError, quote

MAX_LINKS = 10_000

VolumeName = tuple[str, str, str]
"""Catalog, schema and volume, in lower case."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """What one link allows: ``method`` on ``path`` until ``expires`` (seconds since 1970)."""

    method: str
    path: str
    expires: float


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of ``size`` bytes, or a folder (its name ends in a slash) of none."""

    path: str
    name: str
    size: int
    modified_ms: int


class Volumes:
    """The files of all volumes, in a temporary folder. Safe for concurrent use."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="blade-volumes-")
        self._files: dict[str, Path] = {}
        self._links: dict[str, Link] = {}
        self._volumes: set[VolumeName] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Delete all files."""
        self._folder.cleanup()

    # Volumes

    def has(self, name: VolumeName) -> bool:
        """There is such a volume."""
        return name in self._volumes

    def create(self, name: VolumeName, *, quiet: bool) -> None:
        """Make a volume. Raises SqlError if it is there already, unless ``quiet``."""
        if name in self._volumes and not quiet:
            raise SqlError("VOLUME_ALREADY_EXISTS", "42000", f"Cannot create volume {quote(*name)}: it exists.")
        self._volumes.add(name)

    def drop(self, name: VolumeName, *, quiet: bool) -> None:
        """Forget a volume and delete its files. Raises SqlError if there is none, unless ``quiet``."""
        if name not in self._volumes and not quiet:
            raise SqlError("VOLUME_DOES_NOT_EXIST", "42704", f"Volume {quote(*name)} does not exist.")
        self._volumes.discard(name)
        for path in [path for path in self._files if path.lower().startswith(f"/volumes/{'/'.join(name)}/")]:
            self.remove(path)

    # Links

    def grant(self, method: str, path: str, *, lifetime_s: float, new: bool = False) -> str:
        """The key of a new link. Raises SqlError if the file is to be a ``new`` one and is there already."""
        with self._lock:
            if new and path in self._files:
                raise SqlError(
                    "FILE_IN_STAGING_PATH_ALREADY_EXISTS",
                    "42K0F",
                    f"File in staging path {path} already exists but OVERWRITE is not set.",
                )
            key = secrets.token_urlsafe(24)
            while len(self._links) >= MAX_LINKS:
                del self._links[next(iter(self._links))]
            self._links[key] = Link(method=method, path=path, expires=time.time() + lifetime_s)
        return key

    def link(self, key: str, method: str) -> Link | None:
        """What the holder of this key may do with this method; None if nothing."""
        with self._lock:
            found = self._links.get(key)
        return found if found is not None and found.method == method and found.expires > time.time() else None

    # Files

    def entries(self, path: str) -> list[Entry]:
        """What is in a folder, by path."""
        folder = path.rstrip("/") + "/"
        found: dict[str, Entry] = {}
        with self._lock:
            for held, file in self._files.items():
                if held.startswith(folder):
                    child, inside, _ = held.removeprefix(folder).partition("/")
                    name, size = child + inside, 0 if inside else file.stat().st_size
                    found[name] = Entry(path=folder + name, name=name, size=size, modified_ms=int(time.time() * 1000))
        return [found[name] for name in sorted(found)]

    def content(self, path: str) -> bytes | None:
        """The bytes of a file; None if there is none."""
        with self._lock:
            file = self._files.get(path)
        return None if file is None else file.read_bytes()

    def store(self, path: str, content: bytes) -> None:
        """Write a file, over what was there."""
        file = Path(self._folder.name) / secrets.token_hex(16)
        file.write_bytes(content)
        with self._lock:
            old = self._files.pop(path, None)
            self._files[path] = file
        if old is not None:
            old.unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        """Delete a file, if there is one."""
        with self._lock:
            file = self._files.pop(path, None)
        if file is not None:
            file.unlink(missing_ok=True)
