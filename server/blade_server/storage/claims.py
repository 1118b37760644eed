"""What the job engine writes: claims, leases, the ledger, progress, final states.

A claim is the right of one server to run one job: an owner and an epoch. Every write below carries both in its WHERE
clause (the fence); when no row answers, another server has taken the job over and LeaseLost is raised, with nothing
written.

A job whose server died (its lease ran out) is claimed again, but not for ever: after MAX_DEATHS in a row without one
more row recorded it is the job that kills, and it fails.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from blade_server.errors import LeaseLost, Reason
from blade_server.model import Action, EventKind, ItemError, Job, JobLimits, Status, WaitReason
from blade_server.storage import tables
from blade_server.storage.codec import limits_from
from blade_server.storage.database import Database
from blade_server.storage.job_rows import SETTLED, add_event, count_for_source, job_from, ring, ring_queue, storable

log = logging.getLogger(__name__)

_job = tables.job
_block = tables.job_block

MAX_LEASE_S = 300  # what a lease can be set to at most, see Settings.lease_s
CLAIM_LOCK = 0x424C4144454A  # one claim at a time, so that the limits per source hold exactly
MAX_DEATHS = 20
"""So many servers in a row may die under a job, which need not be at fault; from the second on it waits for others."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run: at first with the tables resolved; from the first claim on with pinned versions and counted."""

    statement: str
    announced: int | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to run a job, and the job as it was when it was claimed."""

    job: Job
    owner: str
    epoch: int
    plan: Plan
    taken_over: bool = False
    """From a server that let its lease run out: what it sent last may still be on its way."""

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.job.job_id


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What callers want of a running job now; those of a higher revision are newer."""

    revision: int
    status: Status
    pending_action: Action | None
    limits: JobLimits


@dataclass(frozen=True, kw_only=True)
class Block:
    """A stretch of the ledger: `keys` holds 16 bytes a row, `outcomes` one."""

    number: int
    keys: bytes
    outcomes: bytes


@dataclass(frozen=True, kw_only=True)
class Display:
    """What a running job shows beside its counters."""

    current_operation: str = ""
    items_per_second: float = 0.0
    estimated_completion: datetime | None = None
    wait_reason: WaitReason | None = None
    wait_detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One commit of progress. `number` counts from 1 over the whole job; counts are what is added."""

    number: int
    success: int = 0
    error: int = 0
    skipped: int = 0
    bytes_uploaded: int = 0
    blocks: Sequence[Block] = ()
    errors: Sequence[tuple[bytes, ItemError]] = ()
    display: Display


_CLAIM = text(
    """
    WITH busy AS (
        SELECT source, count(*) AS jobs FROM job
        WHERE status = 'RUNNING' AND owner IS NOT NULL AND lease_until >= now() GROUP BY source
    ), next AS (
        SELECT job.job_id, job.epoch > 0 AS begun, job.owner, job.deaths + (job.owner IS NOT NULL)::int AS deaths
        FROM job LEFT JOIN busy USING (source) LEFT JOIN source ON source.name = job.source
        WHERE (job.status = 'PENDING'
               -- A lease that ends later than any can: PostgreSQL's clock was set back, and its owner does not beat.
               OR job.status = 'RUNNING' AND (job.owner IS NULL OR job.lease_until < now()
                                              OR job.lease_until > now() + make_interval(secs => :max_lease_s)))
          AND (COALESCE((job.source_json #>> '{config,max_running_jobs}')::int, 0) = 0
               OR COALESCE(busy.jobs, 0) < (job.source_json #>> '{config,max_running_jobs}')::int)
        -- Lost jobs first, those that seem to kill their servers last; between them sources take turns, so that a long
        -- queue of one does not starve another.
        ORDER BY CASE WHEN job.deaths + (job.owner IS NOT NULL)::int >= 2 THEN 2 WHEN job.status = 'RUNNING' THEN 0
                      ELSE 1 END,
                 COALESCE(busy.jobs, 0), source.last_claim_time NULLS FIRST, job.job_id
        LIMIT 1 FOR UPDATE OF job SKIP LOCKED
    )
    UPDATE job SET status = 'RUNNING', owner = :owner, epoch = job.epoch + 1, deaths = next.deaths,
        lease_until = now() + make_interval(secs => :lease_s),
        start_time = COALESCE(start_time, now()), update_time = now(), revision = revision + 1,
        current_operation = CASE WHEN begun THEN 'Finding out what was done' ELSE 'Starting the query' END,
        wait_reason = CASE WHEN begun THEN 'RECOVERING' ELSE 'WAREHOUSE_STARTING' END, wait_detail = ''
    FROM next WHERE job.job_id = next.job_id
    RETURNING job.*, next.owner AS last_owner
    """
)

_BEAT = text(
    """
    UPDATE job SET lease_until = now() + make_interval(secs => :lease_s)
    FROM unnest(CAST(:job_ids AS text[]), CAST(:epochs AS int[])) AS mine (job_id, epoch)
    WHERE job.job_id = mine.job_id AND job.epoch = mine.epoch AND job.owner = :owner
      AND job.status IN ('RUNNING', 'PAUSED')
    RETURNING job.job_id, job.revision, job.status, job.pending_action, job.spec -> 'limits' AS limits
    """
)

_INTEND = text(
    """
    INSERT INTO job_block (job_id, block, digests, outcomes)
    SELECT :job_id, new.block, new.digests, new.outcomes
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:keys AS bytea[]), CAST(:outcomes AS bytea[]))
         AS new (block, digests, outcomes)
    WHERE EXISTS (SELECT FROM job WHERE job_id = :job_id AND epoch = :epoch AND owner = :owner
                  AND status = 'RUNNING' FOR SHARE)
    ON CONFLICT (job_id, block) DO UPDATE SET outcomes = EXCLUDED.outcomes
    """
)

_OUTCOMES = text(
    """
    UPDATE job_block SET outcomes = done.outcomes
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:outcomes AS bytea[])) AS done (block, outcomes)
    WHERE job_block.job_id = :job_id AND job_block.block = done.block
    """
)


class ClaimStore:
    """All methods are one transaction each, except the iterators; each raises StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_next(self, owner: str, lease_s: float) -> Claim | None:
        """Takes the next job that nobody runs, or None if there is none that may run now.

        Jobs that it meets on the way and that cannot run (their servers die of them, their row cannot be read) it ends
        as FAILED, in a transaction each.
        """
        while True:
            with self._database.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLAIM_LOCK})
                values = {"owner": owner, "lease_s": lease_s, "max_lease_s": MAX_LEASE_S}
                row = connection.execute(_CLAIM, values).one_or_none()
                if row is None:
                    return None
                claim = self._claim(connection, row, owner)
            if claim is not None:
                return claim

    def _claim(self, connection: Connection, row: Row[Any], owner: str) -> Claim | None:
        if row.deaths >= MAX_DEATHS and row.pending_action is None:  # else it is ended or paused before anything runs
            self._give_up(
                connection,
                row.job_id,
                owner,
                f"its server died {row.deaths} times without progress, {row.last_owner or 'another'} last; "
                "look at the servers' logs and memory, then start it again",
            )
            return None
        try:
            claim = _claim_from(row, owner)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            log.error("job %s: its row cannot be read", row.job_id, exc_info=exc)
            self._give_up(
                connection,
                row.job_id,
                owner,
                "what is stored of it cannot be read by this version of BLADE, which may be older than the one that "
                "stored it; start it again",
            )
            return None
        detail = f"taken over from {row.last_owner}, whose lease ran out" if row.last_owner else ""
        add_event(connection, row.job_id, EventKind.CLAIMED, actor=owner, detail=detail)
        connection.execute(
            update(tables.source).where(tables.source.c.name == row.source).values(last_claim_time=func.now())
        )
        ring(connection, row.job_id)
        return claim

    def _give_up(self, connection: Connection, job_id: str, owner: str, message: str) -> None:
        log.error("job %s failed: %s", job_id, message)
        connection.execute(
            update(_job)
            .where(_job.c.job_id == job_id)
            .values(**_ended(Status.FAILED, operation="Failed", error=Reason.INTERNAL, message=message))
        )
        add_event(connection, job_id, EventKind.FAILED, actor=owner, detail=message)
        count_for_source(connection, job_id)
        ring(connection, job_id)

    def beat(self, owner: str, claims: Sequence[Claim], lease_s: float) -> dict[str, Flags]:
        """Renews the leases of these claims; one that is missing from the answer is lost."""
        values = {
            "job_ids": [claim.job_id for claim in claims],
            "epochs": [claim.epoch for claim in claims],
            "owner": owner,
            "lease_s": lease_s,
        }
        with self._database.begin() as connection:
            return {row.job_id: _flags(row) for row in connection.execute(_BEAT, values)}

    def set_plan(self, claim: Claim, plan: Plan, total_items: int | None) -> None:
        """Keeps what to run, and how many rows there are to process; once for a job."""
        with self._database.begin() as connection:
            self._update(
                connection,
                claim,
                plan={"statement": plan.statement, "announced": plan.announced},
                total_items=total_items,
            )
            ring(connection, claim.job_id)

    def intend(self, claim: Claim, blocks: Sequence[Block]) -> None:
        """Writes down what is about to be sent. Repeating it is harmless."""
        values = {
            **_fence_values(claim),
            "numbers": [block.number for block in blocks],
            "keys": [block.keys for block in blocks],
            "outcomes": [block.outcomes for block in blocks],
        }
        with self._database.begin() as connection:
            if connection.execute(_INTEND, values).rowcount != len(blocks):
                raise LeaseLost(f"job {claim.job_id} was taken over")

    def record(self, claim: Claim, record: Record) -> Flags:
        """Commits outcomes, errors, counters and display in one transaction.

        A record whose number is stored already was committed before (its answer was lost) and is not applied again.
        The errors, which may be many megabytes, go first: the update that decides whether the record holds locks the
        job's row, and with it the beat of all jobs of this server, until the commit.
        """
        try:
            with self._database.begin() as connection:
                if record.errors:
                    self._lock_softly(connection, claim, record.number)
                    self._add_errors(connection, claim.job_id, record.errors)
                return self._advance(connection, claim, record)
        except _NotNextError:  # and the errors are rolled back
            return self._recorded_before(claim, record.number)

    def _lock_softly(self, connection: Connection, claim: Claim, number: int) -> None:
        """Keeps the job's row from being pruned, as foreign keys do, and holds up no beat; first word on the number."""
        fence = (*_fence(claim), _job.c.last_record == number - 1)
        query = select(_job.c.job_id).where(*fence).with_for_update(read=True, key_share=True)
        if connection.execute(query).one_or_none() is None:
            raise _NotNextError

    def _advance(self, connection: Connection, claim: Claim, record: Record) -> Flags:
        display = record.display
        changed = (
            update(_job)
            .where(*_fence(claim), _job.c.status == Status.RUNNING, _job.c.last_record == record.number - 1)
            .values(
                success_count=_job.c.success_count + record.success,
                error_count=_job.c.error_count + record.error,
                skipped_count=_job.c.skipped_count + record.skipped,
                bytes_uploaded=_job.c.bytes_uploaded + record.bytes_uploaded,
                last_record=record.number,
                current_operation=display.current_operation,
                items_per_second=display.items_per_second,
                estimated_completion=display.estimated_completion,
                wait_reason=display.wait_reason,
                wait_detail=storable(display.wait_detail),
                **({"deaths": 0} if record.success or record.error or record.skipped else {}),
                revision=_job.c.revision + 1,
                update_time=func.now(),
            )
            .returning(*_FLAG_COLUMNS)
        )
        row = connection.execute(changed).one_or_none()
        if row is None:
            raise _NotNextError
        if record.blocks:
            connection.execute(
                _OUTCOMES,
                {
                    "job_id": claim.job_id,
                    "numbers": [block.number for block in record.blocks],
                    "outcomes": [block.outcomes for block in record.blocks],
                },
            )
        ring(connection, claim.job_id)
        return _flags(row)

    def _recorded_before(self, claim: Claim, number: int) -> Flags:
        query = select(*_FLAG_COLUMNS).where(*_fence(claim), _job.c.last_record == number)
        with self._database.begin() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise LeaseLost(f"job {claim.job_id} was taken over")
        return _flags(row)

    def _add_errors(self, connection: Connection, job_id: str, errors: Sequence[tuple[bytes, ItemError]]) -> None:
        now = connection.execute(select(func.now())).scalar_one()
        rows = [
            {
                "job_id": job_id,
                "key": key,
                "item_id": storable(error.item_id),
                "stage": error.stage,
                "reason": error.reason,
                "field": storable(error.field),
                "message": storable(error.message),
                "attempts": error.attempts,
                "row_json": storable(error.row_json),
                "create_time": now,
            }
            for key, error in errors
        ]
        connection.execute(insert(tables.job_item_error), rows)
        counts: dict[Reason, int] = {}
        for _, error in errors:
            counts[error.reason] = counts.get(error.reason, 0) + 1
        table = tables.job_error_count
        add = upsert(table).values(job_id=job_id, reason=bindparam("of"), items=bindparam("more"))
        add = add.on_conflict_do_update(
            index_elements=["job_id", "reason"], set_={"items": table.c["items"] + add.excluded["items"]}
        )
        connection.execute(add, [{"of": reason, "more": count} for reason, count in counts.items()])

    def last_record(self, claim: Claim) -> int:
        """Number of the last record of the job."""
        with self._database.begin() as connection:
            row = connection.execute(select(_job.c.last_record).where(*_fence(claim))).one_or_none()
            if row is None:
                raise LeaseLost(f"job {claim.job_id} was taken over")
            return int(row.last_record)

    # ------------------------------------------------------------------------------------------------ ending

    def pause(self, claim: Claim) -> Flags | None:
        """Writes PAUSED with nothing in flight; the claim and its lease stay. None if the pause was taken back."""
        with self._database.begin() as connection:
            changed = (
                update(_job)
                .where(*_fence(claim), _job.c.status == Status.RUNNING, _job.c.pending_action == Action.PAUSE)
                .values(
                    status=Status.PAUSED,
                    pending_action=None,
                    pause_time=func.now(),
                    current_operation="Paused",
                    **{**SETTLED, "wait_reason": WaitReason.PAUSE_REQUESTED},
                    revision=_job.c.revision + 1,
                    update_time=func.now(),
                )
                .returning(*_FLAG_COLUMNS)
            )
            row = connection.execute(changed).one_or_none()
            if row is None:
                return self._flags_now(connection, claim)
            add_event(connection, claim.job_id, EventKind.PAUSED, actor=claim.owner)
            ring(connection, claim.job_id)
            return _flags(row)

    def _flags_now(self, connection: Connection, claim: Claim) -> Flags | None:
        """After a pause that was not written: None if it was taken back, the flags if an earlier try has written it."""
        row = connection.execute(select(*_FLAG_COLUMNS).where(*_fence(claim))).one_or_none()
        if row is None:
            raise LeaseLost(f"job {claim.job_id} was taken over")
        return _flags(row) if row.status == Status.PAUSED else None

    def release(self, claim: Claim, detail: str) -> None:
        """Hands the job back, so that any server may take it at once (or when it is resumed)."""
        with self._database.begin() as connection:
            row = connection.execute(select(_job.c.status).where(*_fence(claim)).with_for_update()).one_or_none()
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
                **(queued if row.status == Status.RUNNING else {}),
            )
            add_event(connection, claim.job_id, EventKind.RELEASED, actor=claim.owner, detail=detail)
            ring(connection, claim.job_id)
            if row.status == Status.RUNNING:
                ring_queue(connection)

    def finish(
        self, claim: Claim, status: Status, *, operation: str, error: Reason | None = None, message: str = ""
    ) -> None:
        """Writes the final status, once and for good, and counts the job's items for its source."""
        kind = EventKind(status.value)
        with self._database.begin() as connection:
            self._update(connection, claim, **_ended(status, operation=operation, error=error, message=message))
            add_event(connection, claim.job_id, kind, actor=claim.owner, detail=message)
            count_for_source(connection, claim.job_id)
            ring(connection, claim.job_id)
            ring_queue(connection)  # its source may have been at its limit of jobs

    def _update(self, connection: Connection, claim: Claim, **values: Any) -> None:
        changed = update(_job).where(*_fence(claim)).values(**{**_CHANGED, **values})
        if connection.execute(changed).rowcount != 1:
            raise LeaseLost(f"job {claim.job_id} was taken over")

    # ---------------------------------------------------------------------------------------------- the past

    def blocks(self, job_id: str, *, chunk: int = 2000) -> Iterator[list[Block]]:
        """The whole ledger of a job in its order, `chunk` blocks at a time."""
        after = -1
        while True:
            query = (
                select(_block.c.block, _block.c.digests, _block.c.outcomes)
                .where(_block.c.job_id == job_id, _block.c.block > after)
                .order_by(_block.c.block)
                .limit(chunk)
            )
            with self._database.begin() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            after = rows[-1].block
            yield [Block(number=row.block, keys=bytes(row.digests), outcomes=bytes(row.outcomes)) for row in rows]

    def ledger_size(self, job_id: str) -> int:
        """Rows in the ledger of a job."""
        with self._database.begin() as connection:
            size = select(func.coalesce(func.sum(func.length(_block.c.outcomes)), 0)).where(_block.c.job_id == job_id)
            return int(connection.execute(size).scalar_one())

    def known_keys(self, job_id: str, since_block: int, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys that the ledger has from this block on. Reads all of it: ask rarely, for many at once."""
        query = text(
            """
            SELECT DISTINCT part.key FROM job_block,
                LATERAL (SELECT substring(digests FROM at * 16 + 1 FOR 16) AS key
                         FROM generate_series(0, length(digests) / 16 - 1) AS at) AS part
            WHERE job_id = :job_id AND block >= :since_block
              AND part.key = ANY(CAST(:keys AS bytea[]))
            """
        )
        values = {"job_id": job_id, "since_block": since_block, "keys": list(keys)}
        with self._database.begin() as connection:
            return {bytes(row.key) for row in connection.execute(query, values)}

    def failed_keys(self, job_id: str, *, chunk: int = 20_000) -> Iterator[list[bytes]]:
        """The keys of the failed items of a job, `chunk` at a time; a second row with one item id is none."""
        error = tables.job_item_error
        after = -1
        while True:
            query = (
                select(error.c.seq, error.c.key)
                .where(error.c.job_id == job_id, error.c.seq > after, error.c.reason != Reason.DUPLICATE_ITEM_ID)
                .order_by(error.c.seq)
                .limit(chunk)
            )
            with self._database.begin() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            after = rows[-1].seq
            yield [bytes(row.key) for row in rows]


def _fence(claim: Claim) -> tuple[Any, ...]:
    return (
        _job.c.job_id == claim.job_id,
        _job.c.epoch == claim.epoch,
        _job.c.owner == claim.owner,
        _job.c.status.in_([Status.RUNNING, Status.PAUSED]),
    )


def _fence_values(claim: Claim) -> dict[str, Any]:
    return {"job_id": claim.job_id, "epoch": claim.epoch, "owner": claim.owner}


class _NotNextError(Exception):
    """A record is not the next one of its job: it was committed before, or the job is another's."""


def _claim_from(row: Row[Any], owner: str) -> Claim:
    plan = {field.name: row.plan[field.name] for field in fields(Plan) if field.name in row.plan}
    return Claim(
        job=job_from(row),
        owner=owner,
        epoch=row.epoch,
        plan=Plan(**plan),
        taken_over=row.last_owner is not None,
    )


_PROCESSED = _job.c.success_count + _job.c.error_count + _job.c.skipped_count
_CHANGED = {"revision": _job.c.revision + 1, "update_time": func.now()}


def _ended(status: Status, *, operation: str, error: Reason | None, message: str) -> dict[str, Any]:
    """What is written of a job that ends."""
    return {
        **_CHANGED,
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


_FLAG_COLUMNS = (_job.c.revision, _job.c.status, _job.c.pending_action, _job.c.spec["limits"].label("limits"))


def _flags(row: Any) -> Flags:
    return Flags(
        revision=row.revision,
        status=Status(row.status),
        pending_action=Action(row.pending_action) if row.pending_action else None,
        limits=limits_from(row.limits),
    )
