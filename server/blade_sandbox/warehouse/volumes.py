"""Files in volumes: PUT, GET, REMOVE and LIST, CREATE and DROP VOLUME.

As with Databricks the warehouse moves no bytes in SQL: PUT, GET and REMOVE answer one row with a link, and the driver
then sends the file to the link, fetches it or deletes it. The older ``stage://tmp/USER/`` is there too.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import duckdb
import pyarrow as pa

from blade_sandbox.warehouse.errors import SqlError, quote, syntax_error, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.statements import NO_ROWS, Action
from blade_sandbox.warehouse.thrift.replies import BASE_URL, LINK_LIFETIME_S
from blade_sandbox.warehouse.words import Words

USER = "sandbox"
MAX_LINKS = 10_000


@dataclass(frozen=True, kw_only=True)
class Link:
    """What one link allows: ``method`` on ``path`` until ``expires`` (seconds since 1970)."""

    method: str
    path: str
    expires: float


class Volumes:
    """The files of all volumes, in a temporary folder. Safe for concurrent use."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="blade-volumes-")
        self._files: dict[str, Path] = {}
        self._links: dict[str, Link] = {}
        self._volumes: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Delete all files."""
        self._folder.cleanup()

    # Over HTTP

    def link(self, key: str, method: str) -> Link | None:
        """What the holder of this key may do with this method; None if nothing."""
        with self._lock:
            found = self._links.get(key)
        return found if found is not None and found.method == method and found.expires > time.time() else None

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

    def remove(self, path: str) -> bool:
        """Delete a file; False if there is none."""
        with self._lock:
            file = self._files.pop(path, None)
        if file is not None:
            file.unlink(missing_ok=True)
        return file is not None

    # In SQL

    def parse(self, words: Words, first: str, session: Session, lakehouse: Lakehouse) -> Action | None:
        """The action of a statement about volumes, its first word already read; None if it is about something else.

        Raises:
            SqlError: wrong syntax, a path that is none, or one that may not be written.
        """
        if first in ("CREATE", "DROP"):
            words.accept("EXTERNAL")
            return self._define(words, first, session, lakehouse) if words.accept("VOLUME") else None
        if first == "LIST":
            path = _path(words.string())
            words.end()
            return Action(run=lambda cursor: self._list(path, lakehouse))
        local = _local(words) if first == "PUT" else ""
        path = _path(words.string())
        overwrite = words.accept("OVERWRITE")
        if first == "GET":
            if not words.accept("TO"):
                raise syntax_error("GET")
            local = _local(words, after="")
        words.end()
        return Action(run=lambda cursor: self._staging(first, path, local, overwrite, lakehouse), staging=True)

    def _staging(self, operation: str, path: str, local: str, overwrite: bool, lakehouse: Lakehouse) -> pa.Table:
        self._check(path, lakehouse)
        base = BASE_URL.get(None)
        if base is None:
            raise unsupported(f"{operation} without a client")
        with self._lock:
            if operation == "PUT" and path in self._files and not overwrite:
                raise SqlError(
                    "FILE_IN_STAGING_PATH_ALREADY_EXISTS",
                    "42K0F",
                    f"File in staging path {path} already exists but OVERWRITE is not set.",
                )
            key = secrets.token_urlsafe(24)
            while len(self._links) >= MAX_LINKS:
                del self._links[next(iter(self._links))]
            method = {"PUT": "PUT", "GET": "GET", "REMOVE": "DELETE"}[operation]
            self._links[key] = Link(method=method, path=path, expires=time.time() + LINK_LIFETIME_S)
        row = {
            "operation": operation,
            "presignedUrl": f"{base}/volumes/{key}",
            "headers": "{}",
            "localFile": local or None,
        }
        return pa.table({name: pa.array([value], pa.string()) for name, value in row.items()})

    def _list(self, path: str, lakehouse: Lakehouse) -> pa.Table:
        self._check(path, lakehouse)
        folder = path.rstrip("/") + "/"
        found: dict[str, tuple[str, int]] = {}
        with self._lock:
            for name, file in self._files.items():
                if name.startswith(folder):
                    child, inside, _ = name.removeprefix(folder).partition("/")
                    size = 0 if inside else file.stat().st_size
                    found[folder + child + inside] = (child + inside, size)
        rows = [(name, *found[name]) for name in sorted(found)]
        return pa.table(
            {
                "path": pa.array([row[0] for row in rows], pa.string()),
                "name": pa.array([row[1] for row in rows], pa.string()),
                "size": pa.array([row[2] for row in rows], pa.int64()),
                "modification_time": pa.array([int(time.time() * 1000) for _ in rows], pa.int64()),
            }
        )

    def _check(self, path: str, lakehouse: Lakehouse) -> None:
        if path.startswith("stage://"):
            owner = path.removeprefix("stage://tmp/").partition("/")[0]
            if owner != USER:
                raise SqlError(
                    "PERMISSION_DENIED", "42501", f"PERMISSION_DENIED: {USER} cannot use the files of {owner}."
                )
            return
        catalog, schema, volume = (part.lower() for part in PurePosixPath(path).parts[2:5])
        missing = (
            f"CATALOG {quote(catalog)}"
            if catalog not in lakehouse.catalogs()
            else f"SCHEMA {quote(catalog, schema)}"
            if schema not in lakehouse.schemas(catalog)
            else f"VOLUME {quote(catalog, schema, volume)}"
            if (catalog, schema, volume) not in self._volumes
            else None
        )
        if missing:
            raise SqlError("NOT_FOUND", "42704", f"NOT_FOUND: {missing} does not exist. CREATE VOLUME makes one.")

    def _define(self, words: Words, first: str, session: Session, lakehouse: Lakehouse) -> Action:
        quiet = words.accept("IF", "NOT", "EXISTS") or words.accept("IF", "EXISTS")
        parts = [part.lower() for part in words.name()]
        words.rest()
        catalog, schema, volume = [session.catalog, session.schema][: 3 - len(parts)] + parts
        name = (catalog, schema, volume)

        def create() -> None:
            lakehouse.require_schema(catalog, schema)
            if name in self._volumes and not quiet:
                raise SqlError("VOLUME_ALREADY_EXISTS", "42000", f"Cannot create volume {quote(*name)}: it exists.")
            self._volumes.add(name)

        def drop() -> None:
            if name not in self._volumes and not quiet:
                raise SqlError("VOLUME_DOES_NOT_EXIST", "42704", f"Volume {quote(*name)} does not exist.")
            self._volumes.discard(name)
            for path in [path for path in self._files if path.lower().startswith(f"/volumes/{'/'.join(name)}/")]:
                self.remove(path)

        return _doing(create if first == "CREATE" else drop)


def _doing(work: Callable[[], None]) -> Action:
    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        work()
        return NO_ROWS

    return Action(run=run)


def _local(words: Words, after: str = "INTO") -> str:
    local = words.string()
    if not local:
        raise SqlError("EMPTY_LOCAL_FILE_IN_STAGING_ACCESS_QUERY", "22023", "Empty local file in staging access query.")
    if after and not words.accept(after):
        raise syntax_error(local)
    return local


def _path(path: str) -> str:
    """The path, checked to be one of a volume or of the old staging area."""
    parts = PurePosixPath(path).parts
    in_volume = len(parts) >= 5 and parts[:2] == ("/", "Volumes")
    if (not in_volume and not path.startswith("stage://tmp/")) or ".." in parts:
        raise SqlError(
            "INVALID_STAGING_PATH_IN_STAGING_ACCESS_QUERY", "22023", f"Invalid staging path in staging query: {path}"
        )
    return path
