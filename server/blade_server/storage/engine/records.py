"""Records: outcomes, errors, counters and display of a running job, committed together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import orjson
from sqlalchemy import Connection, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from blade_server.errors import LeaseLost, Reason
from blade_server.model import Claim, Flags, ItemError, Record, Status
from blade_server.storage import tables
from blade_server.storage.codec import report_document
from blade_server.storage.database import Database
from blade_server.storage.engine.claims import FLAG_COLUMNS, fence, flags_from, lost
from blade_server.storage.engine.ledger import add_blocks, set_outcomes
from blade_server.storage.engine.restored import doubt_open_jobs
from blade_server.storage.jobs.rows import adding, ring, storable

_job = tables.job

# One document instead of ten parameters a row takes a third of the time, and a twentieth of this process's.
_ADD_ERRORS = text(
    """
    INSERT INTO job_item_error
        (job_id, key, item_id, stage, reason, field, message, attempts, row_json, create_time, identical)
    SELECT :job_id, decode(key, 'hex'), item_id, stage, reason, field, message, attempts, row_json, now(), identical
    FROM json_to_recordset(CAST(:errors AS json)) AS error (key text, item_id text, stage text, reason text,
        field text, message text, attempts int, row_json text, identical boolean)
    """
)
_ERRORS_AT_ONCE = 2_000


class RecordStore:
    """All methods are one transaction each, and each raises StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        except _OlderError as exc:
            raise self._older(claim, str(exc)) from None

    def _lock_softly(self, connection: Connection, claim: Claim, number: int) -> None:
        """Keeps the job's row from being pruned, as foreign keys do, and holds up no beat; first word on the number."""
        held = (*fence(claim), _job.c.last_record == number - 1)
        query = select(_job.c.job_id).where(*held).with_for_update(read=True, key_share=True)
        if connection.execute(query).one_or_none() is None:
            raise _NotNextError

    def _advance(self, connection: Connection, claim: Claim, record: Record) -> Flags:
        display = record.display
        changed = (
            update(_job)
            .where(*fence(claim), _job.c.status == Status.RUNNING, _job.c.last_record == record.number - 1)
            .values(
                success_count=_job.c.success_count + record.success,
                error_count=_job.c.error_count + record.error,
                skipped_count=_job.c.skipped_count + record.skipped,
                bytes_uploaded=_job.c.bytes_uploaded + record.bytes_uploaded,
                **adding(record.cost),
                last_record=record.number,
                current_operation=display.current_operation,
                items_per_second=display.items_per_second,
                estimated_completion=(
                    None if display.seconds_left is None else func.now() + timedelta(seconds=display.seconds_left)
                ),
                wait_reason=display.wait_reason,
                wait_detail=storable(display.wait_detail),
                **({"report": report_document(record.report)} if record.report else {}),
                **({"deaths": 0} if record.success or record.error or record.skipped else {}),
                revision=_job.c.revision + 1,
                update_time=func.now(),
            )
            .returning(*FLAG_COLUMNS)
        )
        row = connection.execute(changed).one_or_none()
        if row is None:
            raise _NotNextError
        if record.blocks and not set_outcomes(connection, claim.job_id, record.blocks):
            raise _OlderError(f"it lacks what job {claim.job_id} was about to send")
        if record.new_blocks:
            add_blocks(connection, claim.job_id, record.new_blocks)
        ring(connection, claim.job_id)
        return flags_from(row)

    def _recorded_before(self, claim: Claim, number: int) -> Flags:
        query = select(*FLAG_COLUMNS, _job.c.last_record).where(*fence(claim))
        with self._database.begin() as connection:
            row = connection.execute(query).one_or_none()
        if row is not None and row.last_record < number - 1:
            raise self._older(claim, f"it shows {row.last_record} records of job {claim.job_id} of {number - 1}")
        if row is None or row.last_record != number:
            raise lost(claim)
        return flags_from(row)

    def _older(self, claim: Claim, why: str) -> LeaseLost:
        """What this claim has committed is not there any more."""
        with self._database.begin() as connection:
            doubt_open_jobs(connection, why)
        return lost(claim)

    def _add_errors(self, connection: Connection, job_id: str, errors: Sequence[tuple[bytes, ItemError]]) -> None:
        for begin in range(0, len(errors), _ERRORS_AT_ONCE):
            rows = [
                {
                    "key": key.hex(),
                    "item_id": storable(error.item_id),
                    "stage": error.stage,
                    "reason": error.reason,
                    "field": storable(error.field),
                    "message": storable(error.message),
                    "attempts": error.attempts,
                    "row_json": storable(error.row_json),
                    "identical": error.identical,
                }
                for key, error in errors[begin : begin + _ERRORS_AT_ONCE]
            ]
            connection.execute(_ADD_ERRORS, {"job_id": job_id, "errors": orjson.dumps(rows).decode()})
        counts: dict[Reason, list[int]] = {}
        for _, error in errors:
            count = counts.setdefault(error.reason, [0, 0])
            count[0] += 1
            count[1] += error.identical
        table = tables.job_error_count
        add = upsert(table).values(
            job_id=job_id, reason=bindparam("of"), items=bindparam("more"), identical=bindparam("same")
        )
        sums = {name: table.c[name] + add.excluded[name] for name in ("items", "identical")}
        add = add.on_conflict_do_update(index_elements=["job_id", "reason"], set_=sums)
        parameters = [{"of": reason, "more": more, "same": same} for reason, (more, same) in counts.items()]
        connection.execute(add, parameters)


class _OlderError(Exception):
    """The database lacks what it has committed."""


class _NotNextError(Exception):
    """A record is not the next one of its job: it was committed before, or the job is another's."""
