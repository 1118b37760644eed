"""What a process has seen of the work of all servers: by this it knows a database that is older than the work.

Each server counts its claims and beats in a row of its own (`server`), which nobody else raises, so whatever servers
do, no count ever falls. A database that shows less than was seen has been put back: a backup was restored, or a standby
took over that had not heard everything.

What was seen is kept in memory and, for servers that were stopped meanwhile, in a file outside PostgreSQL.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import select

from blade_server.storage import tables
from blade_server.storage.database import Database

log = logging.getLogger(__name__)

Counts: TypeAlias = Mapping[str, tuple[int, float]]
"""By the names of servers: how often it has given a sign of life, and when last (seconds of PostgreSQL's clock)."""

KEPT_S = 7 * 86400.0
"""A server that has given no sign of life for so long is forgotten."""
_REST_S = 1.0


def counts_from(document: Mapping[str, Any] | None) -> Counts:
    """The counts out of JSON."""
    return {name: (int(beats), float(at)) for name, (beats, at) in (document or {}).items()}


def joined(one: Counts, other: Counts) -> Counts:
    """The higher count of each server, without those that are forgotten: such a one begins again at nothing."""
    both = dict(one)
    for name, count in other.items():
        earlier, later = sorted((both.get(name, count), count), key=itemgetter(1))
        both[name] = later if later[1] - earlier[1] > KEPT_S else max(earlier, later)
    newest = max((at for _, at in both.values()), default=0.0)
    return {name: count for name, count in both.items() if count[1] > newest - KEPT_S}


class Witness:
    """Any thread; `file` is where it outlives the process."""

    def __init__(self, file: SeenFile | None = None) -> None:
        self.seen: Counts = {} if file is None else file.read()
        """Replaced, never changed: take it before a question and compare the answer with it."""
        self._file = file

    def see(self, shown: Counts) -> None:
        """The database has committed this; what it does not show any more is forgotten."""
        if shown != self.seen and self._file is not None:
            self._file.keep(shown)
        self.seen = shown

    def raised(self, server: str, count: tuple[int, float]) -> None:
        """A server's count has been raised to this, and committed."""
        self.see(joined(self.seen, {server: count}))


def missing(seen: Counts, shown: Counts, now_s: float) -> str | None:
    """In words: the first server of which the database shows less than was seen; None if there is none."""
    for name, (beats, at) in sorted(seen.items()):
        there = shown[name][0] if name in shown else 0
        if there < beats and at > now_s - KEPT_S:
            return f"{there} signs of life of server {name} where {beats} were seen"
    return None


class SeenFile:
    """Counts in a small file for each database, which processes of one machine may share.

    A thread writes it, so that nobody waits for a disk. A file that cannot be read or written is a warning: what it is
    good for is rare, and BLADE runs without it.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        """Raises StorageUnavailable."""
        with database.read() as connection:
            database_id = connection.execute(select(tables.about.c.database_id)).scalar_one()
        self._path = folder / f"{database_id}.json"
        self._wanted: Counts | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._warned = False
        self._thread = threading.Thread(target=self._write_for_ever, name="seen", daemon=True)
        self._thread.start()

    def read(self) -> Counts:
        """What was kept; nothing if there is no file, or none that can be read."""
        try:
            return counts_from(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as exc:
            self._warn("read", exc)
            return {}

    def keep(self, counts: Counts) -> None:
        """Has it written soon."""
        with self._changed:
            self._wanted = counts
            self._changed.notify()

    def close(self) -> None:
        """Returns when all is written."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_REST_S)

    def _write_for_ever(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None and not self._closed:
                    self._changed.wait()
                wanted, self._wanted = self._wanted, None
            if wanted is None:
                return
            try:
                self._write(wanted)
            except OSError as exc:
                self._warn("write", exc)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, _REST_S)

    def _write(self, counts: Counts) -> None:
        """All or nothing, also if the machine dies: together with what others have written."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            before = self.read()
            both = joined(before, counts)
            if both == before:
                return
            new = self._path.with_suffix(".new")
            with new.open("w") as file:
                json.dump(both, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            os.fsync(folder)
        finally:
            os.close(folder)

    def _warn(self, what: str, exc: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "cannot %s %s (%s): after an older backup is restored, run `blade migrate --restored` before servers "
                "start",
                what,
                self._path,
                exc,
            )
