"""Run a sync over a window of its rows."""

from __future__ import annotations

from collections.abc import Iterator

from blade_server.core.checks import check_length, raise_for
from blade_server.core.sources.rules import check_column
from blade_server.core.syncs.sync_jobs import Asked, SyncJobs
from blade_server.errors import Invalid, Precondition, Reason
from blade_server.model import Job, JobKind

MAX_VALUE_CHARACTERS = 200


class BackfillSync:
    """Thread-safe."""

    def __init__(self, jobs: SyncJobs) -> None:
        self._jobs = jobs

    def __call__(self, name: str, asked: Asked, *, column: str = "", from_value: str = "", to_value: str = "") -> Job:
        """Stores a job over the rows whose `column` ("": the cursor's) is from `from_value` on and below `to_value`.

        Raises Invalid: no bound, or no column; Precondition: the sync reads SQL of its own;
        AccessDenied: not all of that is there for the caller; and as SyncJobs.start.
        """
        raise_for(_check(column, from_value, to_value))
        window = {"from_value": from_value, "to_value": to_value}
        body = {"sync": name, "kind": JobKind.BACKFILL, "window_column": column, **window}
        stored = self._jobs.replayed(asked, **body)
        if stored is not None:
            return stored
        sync = self._jobs.found(name, by=asked.by)
        if sync.spec.sql:
            raise Precondition(
                f"sync {name!r} reads SQL of its own, in which no window can be set; run it as a whole",
                reason=Reason.SYNC_STATE,
            )
        chosen = column or (sync.spec.cursor.column if sync.spec.cursor else "")
        if not chosen:
            raise Invalid.field("column", f"is required: sync {name!r} has no cursor column")
        self._jobs.check_window(sync, chosen, by=asked.by)
        new = self._jobs.built(sync, JobKind.BACKFILL, by=asked.by, window_column=chosen, **window)
        return self._jobs.store(new, asked, **body)


def _check(column: str, from_value: str, to_value: str) -> Iterator[tuple[str, str]]:
    yield from check_column("column", column)
    yield from check_length("from", from_value, MAX_VALUE_CHARACTERS)
    yield from check_length("to", to_value, MAX_VALUE_CHARACTERS)
    if not from_value and not to_value:
        yield "from", "or `to` is required: a window has at least one bound"
