"""What the catalog holds: one SQLite file, written before an upload is answered.

WAL without an fsync a commit: what was answered survives the death of the process at any moment (not a power cut).
One thread uses a Store; one process a directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from blade_sandbox.catalog.delete_log import Deleted, DeleteLog
from blade_sandbox.catalog.uploads import Upload

_SCHEMA = """
CREATE TABLE IF NOT EXISTS data_sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS copies (
    id INTEGER PRIMARY KEY, source INTEGER NOT NULL, item_id TEXT NOT NULL,
    classification TEXT NOT NULL, metadata TEXT NOT NULL, timestamp TEXT NOT NULL, file BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS copies_by_item ON copies (source, item_id);
CREATE TABLE IF NOT EXISTS catalog (id TEXT NOT NULL);
"""
_MAX_PARAMETERS = 500
_LISTING = """
SELECT c.item_id, l.copies, c.classification, c.metadata, c.timestamp, c.file
FROM (SELECT item_id, count(*) AS copies, max(id) AS last FROM copies
      WHERE source = ? AND item_id {comparison} ? GROUP BY item_id ORDER BY item_id LIMIT ?) AS l
JOIN copies AS c ON c.id = l.last ORDER BY c.item_id
"""
_PAGE = _LISTING.format(comparison=">")
_ONE = _LISTING.format(comparison="=")


class Stored(NamedTuple):
    """One item as held; of several copies, the last."""

    item_id: str
    copies: int
    classification: str
    metadata: str
    timestamp: str
    file: bytes

    @property
    def sha256(self) -> str:
        """Digest of the file, hexadecimal."""
        return hashlib.sha256(self.file).hexdigest()

    @property
    def etag(self) -> str:
        """The entity tag of the file, with its quotes."""
        return f'"{self.sha256}"'


class Wanted(NamedTuple):
    """An item to be deleted: if its entity tag is one of `etags` (None: whatever it is), and unless it is locked."""

    data_source: str
    item_id: str
    etags: frozenset[str] | None
    locked: bool


class Count(NamedTuple):
    """Distinct item ids, and stored copies of them."""

    items: int
    copies: int


class Store:
    """Items by data source and id. `replace`: an id is held once; otherwise every upload adds a copy.

    Attributes:
        catalog_id: names what is held, whichever process holds it.
        deletes: what became of each delete.
    """

    def __init__(self, directory: Path, *, replace: bool) -> None:
        """Opens or makes the store; raises RuntimeError if another process has the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = (directory / "catalog.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise RuntimeError(f"another catalog uses {directory}; give this one a directory of its own") from None
        self._replace = replace
        self._db = sqlite3.connect(directory / "catalog.sqlite3", isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;" + _SCHEMA)
        self.deletes = DeleteLog(self._db)
        self.catalog_id = self._own_id()
        self._sources = {name: key for key, name in self._db.execute("SELECT id, name FROM data_sources")}
        counts = {
            key: Count(items, copies)
            for key, items, copies in self._db.execute(
                "SELECT source, count(DISTINCT item_id), count(*) FROM copies GROUP BY source"
            )
        }
        self._counts = {name: counts.get(key, Count(0, 0)) for name, key in self._sources.items()}

    def _own_id(self) -> str:
        found = self._db.execute("SELECT id FROM catalog").fetchone()
        if found is None:
            found = (str(uuid.uuid4()),)
            self._db.execute("INSERT INTO catalog VALUES (?)", found)
        return str(found[0])

    def close(self) -> None:
        """Closes the file and lets go of the directory."""
        self._db.close()
        self._lock.close()

    def put(self, uploads: Sequence[Upload]) -> list[bool]:
        """Stores all of them or, when it raises, none. True where an item of that id was replaced."""
        replaced: list[bool] = [False] * len(uploads)
        by_source: dict[str, list[int]] = {}
        for at, upload in enumerate(uploads):
            by_source.setdefault(upload.data_source, []).append(at)
        counts = dict(self._counts)
        with self._transaction():
            for data_source, places in by_source.items():
                counts[data_source] = self._put_source(data_source, uploads, places, replaced)
        self._counts = counts
        return replaced

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            self._sources = {name: key for key, name in self._db.execute("SELECT id, name FROM data_sources")}
            raise

    def _put_source(
        self, data_source: str, uploads: Sequence[Upload], places: Sequence[int], replaced: list[bool]
    ) -> Count:
        source = self._source_key(data_source)
        known = self.found(data_source, [uploads[at].item_id for at in places])
        ids = set(known)
        rows: dict[str | int, Upload] = {}
        for at in places:
            upload = uploads[at]
            replaced[at] = self._replace and upload.item_id in ids
            ids.add(upload.item_id)
            rows[upload.item_id if self._replace else at] = upload
        deleted = 0
        if self._replace and known:
            deleted = self._db.executemany(
                "DELETE FROM copies WHERE source = ? AND item_id = ?", [(source, item_id) for item_id in known]
            ).rowcount
        self._db.executemany(
            "INSERT INTO copies (source, item_id, classification, metadata, timestamp, file) VALUES (?,?,?,?,?,?)",
            [(source, u.item_id, u.classification, u.metadata, u.timestamp, u.file) for u in rows.values()],
        )
        before = self.count(data_source)
        return Count(before.items + len(ids) - len(known), before.copies - deleted + len(rows))

    def _source_key(self, data_source: str) -> int:
        key = self._sources.get(data_source)
        if key is None:
            key = self._db.execute("INSERT INTO data_sources (name) VALUES (?)", (data_source,)).lastrowid or 0
            self._sources[data_source] = key
        return key

    def delete(self, wanted: Sequence[Wanted]) -> list[Deleted]:
        """Deletes items with all their copies, one after the other; all that can be or, when it raises, none.

        The status of each: 204 gone, 404 not there, 409 locked, 412 another than wanted.
        """
        counts = dict(self._counts)
        with self._transaction():
            deleted = [self._delete_one(one) for one in wanted]
            self.deletes.add(deleted)
        for one in deleted:
            if one.status == 204:
                before = counts[one.data_source]
                counts[one.data_source] = Count(before.items - 1, before.copies - one.copies)
        self._counts = counts
        return deleted

    def _delete_one(self, wanted: Wanted) -> Deleted:
        data_source, item_id, etags, locked = wanted
        if locked or etags is not None:
            held = self.get(data_source, item_id)
            if held is not None and locked:
                return Deleted(data_source, item_id, 409, 0)
            if held is not None and etags is not None and not etags & {held.etag, "*"}:
                return Deleted(data_source, item_id, 412, 0)
        place = (self._sources.get(data_source), item_id)
        copies = self._db.execute("DELETE FROM copies WHERE source = ? AND item_id = ?", place).rowcount
        return Deleted(data_source, item_id, 204 if copies else 404, copies)

    def found(self, data_source: str, item_ids: Sequence[str]) -> set[str]:
        """Which of the ids are held."""
        source = self._sources.get(data_source)
        held: set[str] = set()
        for at in range(0, len(item_ids) if source is not None else 0, _MAX_PARAMETERS):
            some = item_ids[at : at + _MAX_PARAMETERS]
            marks = ",".join("?" * len(some))
            query = f"SELECT item_id FROM copies WHERE source = ? AND item_id IN ({marks})"  # noqa: S608
            held.update(row[0] for row in self._db.execute(query, (source, *some)))
        return held

    def get(self, data_source: str, item_id: str) -> Stored | None:
        """The last copy of one item."""
        return next(self._stored(_ONE, (self._sources.get(data_source), item_id, 1)), None)

    def page(self, data_source: str, after: str, size: int) -> Iterator[Stored]:
        """At most `size` items in order of the bytes of their ids in UTF-8, those after the given id."""
        return self._stored(_PAGE, (self._sources.get(data_source), after, size))

    def _stored(self, query: str, parameters: Iterable[object]) -> Iterator[Stored]:
        return (Stored(*row) for row in self._db.execute(query, tuple(parameters)))

    def count(self, data_source: str) -> Count:
        """What is held of one data source."""
        return self._counts.get(data_source, Count(0, 0))

    def counts(self) -> dict[str, Count]:
        """What is held, by data source, in order of name."""
        return {name: count for name, count in sorted(self._counts.items()) if count.copies}

    def clear(self, data_source: str) -> Count:
        """Empties one data source; returns what it held."""
        before = self.count(data_source)
        self._db.execute("DELETE FROM copies WHERE source = ?", (self._sources.get(data_source),))
        self._counts.pop(data_source, None)
        return before
