"""The items that a run over all rows of a source did not show, while nobody deletes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import and_, func, literal, or_, select, text

from blade_server.storage import tables
from blade_server.storage.database import Database

_missing = tables.sync_missing
_SLICE = 10_000

# A run notes an item once, however often a takeover repeats it. What was noted without counting begins at 0.
_NOTE = text(
    """
    INSERT INTO sync_missing AS known (sync, key, item_id, first_run, first_time, last_job_id, runs_missed)
    SELECT :sync, new.key, new.item_id, :run, now(), :job_id, :counts
    FROM unnest(CAST(:keys AS bytea[]), CAST(:item_ids AS text[])) AS new (key, item_id)
    ON CONFLICT (sync, key) DO UPDATE SET
        first_run = CASE WHEN known.runs_missed = 0 OR :anew THEN EXCLUDED.first_run ELSE known.first_run END,
        first_time = CASE WHEN known.runs_missed = 0 OR :anew THEN EXCLUDED.first_time ELSE known.first_time END,
        runs_missed = CASE WHEN :anew THEN :counts ELSE known.runs_missed + :counts END,
        last_job_id = EXCLUDED.last_job_id
    WHERE known.last_job_id <> EXCLUDED.last_job_id
    """
)

_FORGET = text(
    """
    DELETE FROM sync_missing WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM sync_missing WHERE sync = :sync AND last_job_id <> :job_id LIMIT :slice))
    """
)

_SAMPLES = text(
    """
    INSERT INTO sync_change (job_id, kind, item_id, detail)
    SELECT :job_id, :kind, new.item_id, :detail FROM unnest(CAST(:item_ids AS text[])) AS new (item_id)
    WHERE NOT EXISTS (SELECT FROM sync_change WHERE job_id = :job_id)
    """
)


class MissingStore:
    """All methods are one transaction, except `forget_others` and the iterators; each raises StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(
        self,
        sync: str,
        job_id: str,
        run: int,
        items: tuple[Sequence[bytes], Sequence[str]],
        *,
        counts: bool,
        anew: bool,
    ) -> None:
        """A run did not show these `items`, keys and ids.

        `counts`: its reading is to be believed; `anew`: what older runs say is not.
        """
        keys, item_ids = items
        values = {"sync": sync, "job_id": job_id, "run": run, "counts": int(counts), "anew": anew}
        with self._database.begin() as connection:
            connection.execute(_NOTE, {**values, "keys": list(keys), "item_ids": list(item_ids)})

    def forget_others(self, sync: str, job_id: str) -> None:
        """All that this run has not noted was there."""
        values = {"sync": sync, "job_id": job_id, "slice": _SLICE}
        while True:
            with self._database.begin() as connection:
                if connection.execute(_FORGET, values).rowcount < _SLICE:
                    return

    def confirmed(self, sync: str, job_id: str, *, runs: int, grace_s: float) -> Iterator[bytes]:
        """The keys of those noted by this run which so many in a row did not show, the first of them so long ago."""
        yield from self._keys(
            sync,
            _missing.c.last_job_id == job_id,
            _missing.c.runs_missed >= runs,
            _missing.c.first_time <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, grace_s),
        )

    def would_be_confirmed(self, sync: str, *, runs: int, grace_s: float) -> Iterator[bytes]:
        """The keys that another run which does not show them would confirm."""
        counted = _missing.c.runs_missed > 0
        since = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, grace_s)
        yield from self._keys(
            sync,
            _missing.c.runs_missed + 1 >= runs,
            or_(and_(counted, _missing.c.first_time <= since), literal(grace_s <= 0)),
        )

    def noted_by_others(self, sync: str, job_id: str, limit: int) -> list[str]:
        """The ids of at most so many that other runs were the last ones to note."""
        query = select(_missing.c.item_id).where(_missing.c.sync == sync, _missing.c.last_job_id != job_id)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(_missing.c.key).limit(limit)).scalars())

    def noted_items(self, sync: str, job_id: str) -> Iterator[tuple[list[bytes], list[str]]]:
        """Keys and ids of those that this run was the last one to note, some at a time, in the order of keys."""
        after = b""
        while True:
            query = select(_missing.c.key, _missing.c.item_id).where(
                _missing.c.sync == sync, _missing.c.last_job_id == job_id, _missing.c.key > after
            )
            with self._database.read() as connection:
                rows = connection.execute(query.order_by(_missing.c.key).limit(_SLICE)).all()
            if rows:
                yield [bytes(row.key) for row in rows], [row.item_id for row in rows]
            if len(rows) < _SLICE:
                return
            after = bytes(rows[-1].key)

    def noted(self, sync: str, job_id: str) -> Iterator[bytes]:
        """The keys of those that this run was the last one to note."""
        yield from self._keys(sync, _missing.c.last_job_id == job_id)

    def keeps(self, sync: str, job_id: str) -> bool:
        """Whether there are any that this run was the last one to note."""
        theirs = select(_missing.c.key).where(_missing.c.sync == sync, _missing.c.last_job_id == job_id)
        with self._database.read() as connection:
            return connection.execute(theirs.limit(1)).one_or_none() is not None

    def _keys(self, sync: str, *conditions: object) -> Iterator[bytes]:
        after = b""
        while True:
            query = select(_missing.c.key).where(_missing.c.sync == sync, _missing.c.key > after, *conditions)  # type: ignore[arg-type]
            with self._database.read() as connection:
                keys = [
                    bytes(key) for key in connection.execute(query.order_by(_missing.c.key).limit(_SLICE)).scalars()
                ]
            yield from keys
            if len(keys) < _SLICE:
                return
            after = keys[-1]

    def show_samples(self, job_id: str, kind: str, item_ids: Sequence[str], detail: str) -> None:
        """Keeps some ids with the job; once."""
        values = {"job_id": job_id, "kind": kind, "item_ids": list(item_ids), "detail": detail}
        with self._database.begin() as connection:
            connection.execute(_SAMPLES, values)
