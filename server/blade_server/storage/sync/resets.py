"""What a sync knows is forgotten, of all items or of some, each time with its audit row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, exists, select, update

from blade_server.errors import Precondition, Reason
from blade_server.model.access import Caller, Deed
from blade_server.model.sync import Sync
from blade_server.storage import audit, tables
from blade_server.storage.database import Database
from blade_server.storage.jobs.runs import check_idle
from blade_server.storage.sync.folds import FoldSlice, Unfolded
from blade_server.storage.sync.forget import NOTHING_KNOWN, forget_items
from blade_server.storage.sync.rows import locked, one

_job, _sync = tables.job, tables.sync


class ResetStore:
    """All methods are one transaction each and raise StorageUnavailable, NotFound, AccessDenied.

    Precondition: SYNC_BUSY while a job of the sync writes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, name: str, *, by: Caller, reason: str) -> tuple[Sync, int]:
        """Forgets all items; the sync, and how many they were."""
        with self._database.begin() as connection:
            row = locked(connection, name, by)
            check_idle(connection, name)
            forget_items(connection, name)
            return self._reset(connection, name, NOTHING_KNOWN, row.known_items, by=by, reason=reason)

    def some(self, name: str, change: Callable[[FoldSlice], int], *, by: Caller, reason: str) -> tuple[Sync, int]:
        """Has the blocks of the sync changed; the sync, and how many items `change` says it found.

        Precondition also: SYNC_STATE, what the last job did is not in them yet.
        """
        with self._database.begin() as connection:
            locked(connection, name, by)
            check_idle(connection, name)
            left = exists().where(_job.c.sync == name, _job.c.sync != "", ~_job.c.folded)
            if connection.execute(select(left)).scalar_one():
                raise Precondition(
                    f"what the last job of sync {name!r} did is still being written down; call again in a moment, or "
                    "run the sync",
                    reason=Reason.SYNC_STATE,
                )
            found = change(FoldSlice(connection, Unfolded(sync=name, job_id="", run_number=0)))
            return self._reset(connection, name, {"generation": _sync.c.generation + 1}, found, by=by, reason=reason)

    def _reset(
        self, connection: Connection, name: str, values: dict[str, Any], forgotten: int, *, by: Caller, reason: str
    ) -> tuple[Sync, int]:
        connection.execute(update(_sync).where(_sync.c.name == name).values(values))
        sync = one(connection, name, by.sees)
        audit.write(connection, by, Deed(about=f"sync:{name}", reason=reason, detail=f"{forgotten} items forgotten"))
        return sync, forgotten
