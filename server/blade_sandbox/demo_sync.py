"""The step of the demo about a sync: it sends what changed, deletes what is gone, and asks before it deletes much.

What each run says it did is held against what was done to the table, and the catalog is compared with the table
without BLADE after each.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from blade.v1.job_pb2 import Job
from blade.v1.source_pb2 import Source, SourceConfig
from blade.v1.sync_pb2 import Sync, SyncSpec
from blade.v1.sync_report_pb2 import SyncCounts
from blade_client import BladeClient
from blade_client.cli.job_forms import status_text
from blade_client.cli.sync_forms import counts_text
from blade_sandbox import changing_table
from blade_sandbox.check import Expected, Findings, check, connect
from blade_sandbox.guide import add_source
from blade_sandbox.sandbox import HTTP_PATH, TOKEN, Sandbox

TABLE = "main.blade.parts"
_DATA_TYPE = "parts"
_SOURCE = f"blade-{_DATA_TYPE}"
_SYNC = "parts"

_FIRST = range(1, 10_001)
_UPDATED = range(1_001, 1_026)
_INSERTED = range(10_001, 10_011)
_DELETED = range(2_001, 2_006)
_MANY_DELETED = range(5_001, 7_001)
_REASON = "these parts are retired"


@dataclass(frozen=True, kw_only=True)
class _Demo:
    sandbox: Sandbox
    client: BladeClient
    show_command: Callable[[str], None]
    say: Callable[[str], None]

    def run(self, **expected: int) -> tuple[Job, bool]:
        """One run; whether it did what was expected."""
        self.show_command(f"sync run {_SYNC} --watch")
        job = self.client.wait(self.client.syncs.run(_SYNC).job_id)
        return job, self.did(job, **expected)

    def did(self, job: Job, **expected: int) -> bool:
        """Says what a job did. Whether it is what was expected, and nothing else."""
        took_s = (job.end_time.ToDatetime() - job.start_time.ToDatetime()).total_seconds()
        counts = job.sync_report.counts
        self.say(f"{job.job_id} {status_text(job)}: {counts_text(counts)}; {job.success_count:,} sent ({took_s:.1f} s)")
        if job.status == Job.FAILED:
            self.say(job.error.message)
        as_expected = job.status == Job.COMPLETED and counts == SyncCounts(**expected)
        if not as_expected:
            self.say(f"That is wrong: it should have been {counts_text(SyncCounts(**expected))}")
        return as_expected

    def verified(self, job: Job, rows: int) -> bool:
        """Says what a verification found. Whether all rows are in the catalog, equal, and nothing else is."""
        counts = job.sync_report.counts
        self.say(
            f"{job.job_id} {status_text(job)}: {counts.unchanged:,} equal, {counts.created:,} missing, "
            f"{counts.updated:,} different, {counts.deleted:,} too many"
        )
        return job.status == Job.COMPLETED and counts == SyncCounts(unchanged=rows)

    def compare(self, *, without_rows: int = 0) -> bool:
        """Compares catalog and table. Whether they are equal but for so many items whose rows are gone."""
        found = check(self.sandbox, f"SELECT * FROM {TABLE} ORDER BY item_id", Expected(data_type=_DATA_TYPE))  # noqa: S608 - ours
        wrong = found.missing + found.doubled + found.different + abs(found.unknown - without_rows)
        self.say(f"Compared without BLADE: {found.rows:,} rows, {found.items:,} items: {_difference(found)}")
        return not wrong


def show_sync(
    sandbox: Sandbox, client: BladeClient, show_command: Callable[[str], None], say: Callable[[str], None]
) -> bool:
    """Makes a table and a sync, changes the table and runs the sync. Whether the catalog was the table each time."""
    demo = _Demo(sandbox=sandbox, client=client, show_command=show_command, say=say)
    with (
        closing(connect(sandbox.warehouse_url, HTTP_PATH, TOKEN)) as connection,
        closing(connection.cursor()) as cursor,
    ):
        execute = cursor.execute
        changing_table.create(execute, TABLE)
        changing_table.insert(execute, TABLE, _FIRST)
        _create(demo)
        clean = _first_runs(demo)
        clean = _few_changes(demo, execute) and clean
        return _many_deletes(demo, execute) and clean


def _create(demo: _Demo) -> None:
    demo.show_command(add_source(_DATA_TYPE, TABLE))
    catalog, schema, table = TABLE.split(".")
    config = SourceConfig(catalog=catalog, schema=schema, table=table)
    demo.client.add_source(Source(name=_SOURCE, data_type=_DATA_TYPE, config=config))
    demo.show_command(f"sync create {_SYNC} --source {_SOURCE} --deletes DELETE")
    demo.client.syncs.create(Sync(name=_SYNC, spec=SyncSpec(source=_SOURCE, deletes=SyncSpec.DELETE)))


def _first_runs(demo: _Demo) -> bool:
    _, all_created = demo.run(created=len(_FIRST))
    equal = demo.compare()
    again, nothing_to_do = demo.run(unchanged=len(_FIRST))
    return demo.compare() and all_created and equal and nothing_to_do and again.success_count == 0


def _few_changes(demo: _Demo, execute: changing_table.Execute) -> bool:
    demo.say(f"The table changes: {len(_UPDATED)} rows are updated, {len(_INSERTED)} inserted, {len(_DELETED)} deleted")
    changing_table.update(execute, TABLE, _UPDATED)
    changing_table.insert(execute, TABLE, _INSERTED)
    changing_table.delete(execute, TABLE, _DELETED)
    job, as_expected = demo.run(
        created=len(_INSERTED),
        updated=len(_UPDATED),
        deleted=len(_DELETED),
        unchanged=len(_FIRST) - len(_UPDATED) - len(_DELETED),
    )
    only_those = job.success_count == len(_INSERTED) + len(_UPDATED)
    return demo.compare() and as_expected and only_those


def _many_deletes(demo: _Demo, execute: changing_table.Execute) -> bool:
    many = len(_MANY_DELETED)
    left = len(_FIRST) + len(_INSERTED) - len(_DELETED) - many
    demo.say(f"{many:,} rows go at once, as after a mistake")
    changing_table.delete(execute, TABLE, _MANY_DELETED)
    job, as_expected = demo.run(unchanged=left, withheld=many)
    demo.say(f"Why: {job.sync_report.withheld_detail}")
    held_back = demo.compare(without_rows=many)
    demo.show_command(f'sync accept-deletes {_SYNC} {job.job_id} --reason "{_REASON}" --watch')
    accepted = demo.client.wait(demo.client.syncs.accept_deletes(_SYNC, job.job_id, _REASON).job_id)
    gone = demo.did(accepted, deleted=many)
    equal = demo.compare()
    demo.show_command(f"sync verify {_SYNC}")
    verified = demo.client.wait(demo.client.syncs.verify(_SYNC).job_id)
    return demo.verified(verified, left) and as_expected and held_back and gone and equal


def _difference(found: Findings) -> str:
    kinds = {"missing": found.missing, "doubled": found.doubled, "different": found.different, "unknown": found.unknown}
    parts = [f"{count:,} {kind}" for kind, count in kinds.items() if count]
    return ", ".join(parts).replace("unknown", "without a row") or "equal"
