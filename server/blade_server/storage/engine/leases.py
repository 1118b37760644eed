"""The queue: which job runs next, on which server, and for how long without a sign of life.

A job whose server died (its lease ran out) is claimed again, but not for ever: after MAX_DEATHS in a row without one
more row recorded it is the job that kills, and it fails.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, func, text, update

from blade_server.errors import Reason
from blade_server.metrics.families import JOBS_ENDED
from blade_server.model import Claim, EventKind, Flags, Plan, Status
from blade_server.model.policy import MAX_LEASE_S
from blade_server.storage import tables
from blade_server.storage.clock import NOW, Clock
from blade_server.storage.codec import task_from
from blade_server.storage.database import LOCKED, Database
from blade_server.storage.engine.claims import ended, flags_from
from blade_server.storage.engine.restored import doubt_open_jobs
from blade_server.storage.engine.witness import Counts, Witness, counts_from, missing
from blade_server.storage.jobs.rows import add_event, count_for_source, job_from, ring
from blade_server.storage.jobs.sync_end import end_in_sync

log = logging.getLogger(__name__)

_job = tables.job

CLAIM_LOCK = 0x424C4144454A  # one claim at a time, so that the limits per source hold exactly
LEVEL = 3
"""What this version knows of jobs. A job that it must not run as it runs jobs is stored with a higher one and left to
newer servers; callers see, pause and cancel it through any. core/jobs/level.py says which job needs what."""
MAX_DEATHS = 20
"""So many servers in a row may die under a job, whose fault that need not be; from the second on it waits behind
others."""

_SHOWN = f"""
    (SELECT json_object_agg(name, json_build_array(beats, extract(epoch FROM beat_time)::float8)) FROM server) AS shown,
    {NOW} AS now_s
"""  # noqa: S608 - from this file
"""The counts of all servers as they were before this statement, and PostgreSQL's time."""

_LOOK = text(f"SELECT {LOCKED}, {_SHOWN}")

_COUNT = """
    ON CONFLICT (name) DO UPDATE SET beats = server.beats + 1, beat_time = now()
    RETURNING beats, extract(epoch FROM beat_time)::float8 AS beat_s
"""

_CLAIM = text(
    f"""
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
          AND job.level <= :level
          AND (COALESCE((job.source_json #>> '{{config,max_running_jobs}}')::int, 0) = 0
               OR COALESCE(busy.jobs, 0) < (job.source_json #>> '{{config,max_running_jobs}}')::int)
        -- Lost jobs first, those that seem to kill their servers last; between them sources take turns, so that a long
        -- queue of one does not starve another.
        ORDER BY CASE WHEN job.deaths + (job.owner IS NOT NULL)::int >= 2 THEN 2 WHEN job.status = 'RUNNING' THEN 0
                      ELSE 1 END,
                 COALESCE(busy.jobs, 0), source.last_claim_time NULLS FIRST, job.job_id
        LIMIT 1 FOR UPDATE OF job SKIP LOCKED
    ), counted AS (
        INSERT INTO server (name, beats, beat_time) SELECT :owner, 1, now() FROM next {_COUNT}
    )
    UPDATE job SET status = 'RUNNING', owner = :owner, epoch = job.epoch + 1, deaths = next.deaths,
        lease_until = now() + make_interval(secs => :lease_s),
        start_time = COALESCE(start_time, now()), update_time = now(), revision = revision + 1,
        current_operation = CASE WHEN begun THEN 'Finding out what was done' ELSE 'Starting the query' END,
        wait_reason = CASE WHEN begun THEN 'RECOVERING' ELSE 'WAREHOUSE_STARTING' END,
        wait_detail = CASE WHEN begun THEN '' ELSE 'counting the rows' END
    FROM next, counted WHERE job.job_id = next.job_id
    RETURNING job.*, next.owner AS last_owner, counted.beats, counted.beat_s
    """  # noqa: S608 - from this file
)

_BEAT = text(
    f"""
    WITH counted AS (
        INSERT INTO server (name, beats, beat_time) VALUES (:owner, 1, now()) {_COUNT}
    ), renewed AS (
        UPDATE job SET lease_until = now() + make_interval(secs => :lease_s)
        FROM unnest(CAST(:job_ids AS text[]), CAST(:epochs AS int[])) AS mine (job_id, epoch)
        WHERE job.job_id = mine.job_id AND job.epoch = mine.epoch AND job.owner = :owner
          AND job.status IN ('RUNNING', 'PAUSED')
        RETURNING job.job_id, job.revision, job.status, job.pending_action, job.spec -> 'limits' AS limits
    )
    SELECT counted.beats, counted.beat_s, {_SHOWN}, renewed.* FROM counted LEFT JOIN renewed ON true
    """  # noqa: S608 - from this file
)

_REMEMBER = text(
    """
    INSERT INTO server (name, beats, beat_time)
    SELECT seen.name, seen.beats, to_timestamp(seen.at)
    FROM unnest(CAST(:names AS text[]), CAST(:beats AS bigint[]), CAST(:times AS float8[])) AS seen (name, beats, at)
    ON CONFLICT (name) DO UPDATE SET beats = GREATEST(server.beats, EXCLUDED.beats)
    """
)


class Leases:
    """Claims and beats are one transaction, or one for each job met, and raise StorageUnavailable.

    Both compare what the database shows with what this process has seen. If it turns out to be older than the work,
    all claims are taken back and every open job is doubtful from then on.
    """

    def __init__(self, database: Database, witness: Witness | None = None, clock: Clock | None = None) -> None:
        self._database = database
        self._witness = witness or Witness()
        self.clock = clock or Clock()

    def claim_next(self, owner: str, lease_s: float) -> Claim | None:
        """Takes the next job that nobody runs, or None if there is none that may run now.

        Jobs that it meets on the way and that cannot run (their servers die of them, their row cannot be read) it ends
        as FAILED, in a transaction each.
        """
        while True:
            with self._database.begin() as connection:
                if not self._may_claim(connection):
                    return None
                values = {"owner": owner, "lease_s": lease_s, "max_lease_s": MAX_LEASE_S, "level": LEVEL}
                row = connection.execute(_CLAIM, values).one_or_none()
                if row is None:
                    return None
                claim = self._claim(connection, row, owner)
            self._witness.raised(owner, (row.beats, row.beat_s))
            if claim is not None:
                return claim
            JOBS_ENDED.labels(row.source, Status.FAILED).inc()

    def _may_claim(self, connection: Connection) -> bool:
        """Whether this machine's clock is right, once it is known that this database is no older than the work."""
        seen = self._witness.seen
        with self.clock.comparing() as comparison:
            row = connection.execute(_LOOK, {"lock": CLAIM_LOCK}).one()
            comparison.database_s = row.now_s
        shown = counts_from(row.shown)
        if missing(seen, shown, row.now_s) is not None:
            self._doubt(connection, seen)
        else:
            self._witness.see(shown)
        return not self.clock.wrong

    def _doubt(self, connection: Connection, seen: Counts) -> None:
        """With the claim lock held: unless another server has done so meanwhile."""
        row = connection.execute(_LOOK, {"lock": CLAIM_LOCK}).one()
        why = missing(seen, counts_from(row.shown), row.now_s)
        if why is None:
            return
        values = {
            "names": list(seen),
            "beats": [beats for beats, _ in seen.values()],
            "times": [at for _, at in seen.values()],
        }
        connection.execute(_REMEMBER, values)
        doubt_open_jobs(connection, f"it shows {why}")

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
        if row.doubtful:
            detail = "the database is older than the work: what is not recorded is looked up before it is sent"
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
            .values(**ended(Status.FAILED, operation="Failed", error=Reason.INTERNAL, message=message))
        )
        add_event(connection, job_id, EventKind.FAILED, actor=owner, detail=message)
        count_for_source(connection, job_id)
        end_in_sync(connection, job_id, Status.FAILED)
        ring(connection, job_id)

    def beat(self, owner: str, claims: Sequence[Claim], lease_s: float) -> dict[str, Flags]:
        """Renews the leases of these claims; one that is missing from the answer is lost."""
        values = {
            "job_ids": [claim.job_id for claim in claims],
            "epochs": [claim.epoch for claim in claims],
            "owner": owner,
            "lease_s": lease_s,
        }
        seen = self._witness.seen
        with self._database.begin() as connection:
            with self.clock.comparing() as comparison:
                rows = connection.execute(_BEAT, values).all()
                comparison.database_s = rows[0].now_s
            shown = counts_from(rows[0].shown)
            older = missing(seen, shown, rows[0].now_s) is not None
            if older:
                connection.rollback()  # this beat would make up for one that is gone
        if not older:
            self._witness.see(shown)
            self._witness.raised(owner, (rows[0].beats, rows[0].beat_s))
            return {row.job_id: flags_from(row) for row in rows if row.job_id}
        with self._database.begin() as connection:
            connection.execute(text(f"SELECT {LOCKED}"), {"lock": CLAIM_LOCK})
            self._doubt(connection, seen)
        return {}

    def compare_clocks(self) -> bool:
        """Whether this machine's clock is right now."""
        self._database.compare(self.clock)
        return not self.clock.wrong


def _claim_from(row: Row[Any], owner: str) -> Claim:
    plan = {field.name: row.plan[field.name] for field in fields(Plan) if field.name in row.plan}
    return Claim(
        job=job_from(row),
        owner=owner,
        epoch=row.epoch,
        plan=Plan(**plan),
        last_record=row.last_record,
        taken_over=row.last_owner is not None,
        doubtful=row.doubtful,
        trace=row.trace,
        task=task_from(row.task) if row.task else None,
    )
