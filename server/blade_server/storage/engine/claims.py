"""A claim: the right of one server to run one job, and what it says about that job as a whole.

A claim is an owner and an epoch. Every write of its holder, here, in `ledger.py` and in `records.py`, carries both in
its WHERE clause (the fence); when no row answers, another server has taken the job over and LeaseLost is raised, with
nothing written. `leases.py` gives claims out.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, select, update

from blade_server.errors import LeaseLost, Reason
from blade_server.model import Action, Claim, EventKind, Flags, Plan, Status, WaitReason
from blade_server.model.cost import NO_COST, Cost
from blade_server.model.sync_end import SyncEnd
from blade_server.storage import tables
from blade_server.storage.codec import limits_from
from blade_server.storage.database import Database
from blade_server.storage.jobs.rows import (
    CHANGED,
    SETTLED,
    add_event,
    adding,
    count_for_source,
    ring,
    ring_queue,
    storable,
)
from blade_server.storage.jobs.sync_end import end_in_sync

_job = tables.job
_PROCESSED = _job.c.success_count + _job.c.error_count + _job.c.skipped_count


class ClaimStore:
    """All methods are one transaction each, and each raises StorageUnavailable.

    `cost`: what the claim took in the warehouse since its last record.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_plan(self, claim: Claim, plan: Plan, total_items: int | None) -> None:
        """Keeps what to run, and how many rows there are to process; once for a job."""
        with self._database.begin() as connection:
            self._update(
                connection,
                claim,
                plan=asdict(plan),
                total_items=total_items,
            )
            ring(connection, claim.job_id)

    def pause(self, claim: Claim, cost: Cost = NO_COST) -> Flags | None:
        """Writes PAUSED with nothing in flight; the claim and its lease stay. None if the pause was taken back."""
        with self._database.begin() as connection:
            changed = (
                update(_job)
                .where(*fence(claim), _job.c.status == Status.RUNNING, _job.c.pending_action == Action.PAUSE)
                .values(
                    status=Status.PAUSED,
                    pending_action=None,
                    pause_time=func.now(),
                    current_operation="Paused",
                    **adding(cost),
                    **{**SETTLED, "wait_reason": WaitReason.PAUSE_REQUESTED},
                    revision=_job.c.revision + 1,
                    update_time=func.now(),
                )
                .returning(*FLAG_COLUMNS)
            )
            row = connection.execute(changed).one_or_none()
            if row is None:
                return self._flags_now(connection, claim)
            add_event(connection, claim.job_id, EventKind.PAUSED, actor=claim.owner)
            ring(connection, claim.job_id)
            return flags_from(row)

    def _flags_now(self, connection: Connection, claim: Claim) -> Flags | None:
        """After a pause that was not written: None if it was taken back, the flags if an earlier try has written it."""
        row = connection.execute(select(*FLAG_COLUMNS).where(*fence(claim))).one_or_none()
        if row is None:
            raise lost(claim)
        return flags_from(row) if row.status == Status.PAUSED else None

    def release(self, claim: Claim, detail: str, cost: Cost = NO_COST) -> None:
        """Hands the job back, so that any server may take it at once (or when it is resumed)."""
        with self._database.begin() as connection:
            row = connection.execute(select(_job.c.status).where(*fence(claim)).with_for_update()).one_or_none()
            if row is None:
                return
            queued = {
                "current_operation": "Waiting for a server",
                **SETTLED,
                "wait_reason": WaitReason.QUEUED,
                "wait_detail": detail,
            }
            self._update(
                connection,
                claim,
                owner=None,
                lease_until=None,
                **adding(cost),
                **(queued if row.status == Status.RUNNING else {}),
            )
            add_event(connection, claim.job_id, EventKind.RELEASED, actor=claim.owner, detail=detail)
            ring(connection, claim.job_id)
            if row.status == Status.RUNNING:
                ring_queue(connection)

    def finish(
        self,
        claim: Claim,
        status: Status,
        *,
        operation: str,
        error: Reason | None = None,
        message: str = "",
        sync_end: SyncEnd | None = None,
        cost: Cost = NO_COST,
    ) -> None:
        """Writes the final status, once and for good, and counts the job's items for its source and its sync."""
        kind = EventKind(status.value)
        end = ended(status, operation=operation, error=error, message=message)
        with self._database.begin() as connection:
            self._update(connection, claim, **end, **adding(cost))
            add_event(connection, claim.job_id, kind, actor=claim.owner, detail=message)
            count_for_source(connection, claim.job_id)
            if claim.task is not None:
                end_in_sync(connection, claim.job_id, status, sync_end)
            ring(connection, claim.job_id)
            ring_queue(connection)  # its source may have been at its limit of jobs

    def _update(self, connection: Connection, claim: Claim, **values: Any) -> None:
        changed = update(_job).where(*fence(claim)).values(**{**CHANGED, **values})
        if connection.execute(changed).rowcount != 1:
            raise lost(claim)


def fence(claim: Claim) -> tuple[Any, ...]:
    """The conditions on the job's row under which the claim still holds."""
    return (
        _job.c.job_id == claim.job_id,
        _job.c.epoch == claim.epoch,
        _job.c.owner == claim.owner,
        _job.c.status.in_([Status.RUNNING, Status.PAUSED]),
    )


def fence_values(claim: Claim) -> dict[str, Any]:
    """The fence's values, for a statement that spells its conditions out."""
    return {"job_id": claim.job_id, "epoch": claim.epoch, "owner": claim.owner}


def lost(claim: Claim) -> LeaseLost:
    """Nothing answered to the fence."""
    return LeaseLost(f"job {claim.job_id} was taken over")


FLAG_COLUMNS = (_job.c.revision, _job.c.status, _job.c.pending_action, _job.c.spec["limits"].label("limits"))


def flags_from(row: Any) -> Flags:
    """A row with FLAG_COLUMNS as Flags."""
    return Flags(
        revision=row.revision,
        status=Status(row.status),
        pending_action=Action(row.pending_action) if row.pending_action else None,
        limits=limits_from(row.limits),
    )


def ended(status: Status, *, operation: str, error: Reason | None, message: str) -> dict[str, Any]:
    """What is written of a job that ends."""
    return {
        **CHANGED,
        **SETTLED,
        "status": status,
        "pending_action": None,
        "owner": None,
        "lease_until": None,
        "end_time": func.now(),
        # A table that is not pinned may have changed on the way: in the end the total is what there was.
        **({"total_items": _PROCESSED} if status == Status.COMPLETED else {}),
        "error_reason": error,
        "error_message": storable(message),
        "current_operation": operation,
    }
