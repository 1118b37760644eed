"""A sync over a table that is made anew, as exports are: rows get other ids, columns come, go, move and get wider.

After each snapshot, and after its deletes were accepted where they were withheld, the catalog is compared with the
table without BLADE's own code, and a second run has nothing to send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from blade.v1.job_pb2 import Job
from blade.v1.sync_pb2 import Sync, SyncSpec
from blade.v1.sync_report_pb2 import SyncCounts, SyncReport
from blade_client import BladeClient
from blade_sandbox.check import Expected, Findings, check, connect
from blade_sandbox.data import SORTIE
from blade_sandbox.sandbox import HTTP_PATH, TOKEN, Sandbox

pytestmark = pytest.mark.slow
TABLE = "main.blade.drifting"
NAME = "drifting"
NUMBERED = "concat('ROW-', row_number() OVER (ORDER BY item_id)) AS item_id"
TWO_DAYS = f"FROM {SORTIE} WHERE month = 1 AND day <= 2"
FIRST = f"SELECT {NUMBERED}, classification, last_modified, carrier, flight, tailnum, dest, dep_delay, distance"


@dataclass(frozen=True)
class Drift:
    """The sync, the table, and the comparison."""

    world: Sandbox
    blade: BladeClient
    sql: Callable[[str], object]

    def snapshot(self, select: str) -> None:
        """Puts another table in the place of the present one."""
        self.sql(f"CREATE OR REPLACE TABLE {TABLE} AS {select}")

    def run(self) -> Job:
        return self.ended(self.blade.syncs.run(NAME))

    def ended(self, job: Job) -> Job:
        job = self.blade.wait(job.job_id, timeout_s=120)
        assert job.status == Job.COMPLETED, job.error
        return job

    def compared(self) -> Findings:
        return check(self.world, f"SELECT * FROM {TABLE} ORDER BY item_id", Expected(data_type=NAME))

    def settled(self, job: Job) -> SyncCounts:
        """Accepts what the run withheld; then all is equal, and nothing is left to do. What the run did."""
        counts = job.sync_report.counts
        found = self.compared()
        assert (found.missing, found.doubled, found.different, found.unknown) == (0, 0, 0, counts.withheld), found
        if counts.withheld:
            accepted = self.ended(self.blade.syncs.accept_deletes(NAME, job.job_id, "the export says so"))
            assert accepted.sync_report.counts == SyncCounts(deleted=counts.withheld)
        found = self.compared()
        assert found.clean, found
        again = self.run()
        assert again.success_count == 0
        assert again.sync_report.counts == SyncCounts(unchanged=found.rows)
        return counts


@pytest.fixture
def drift(world: Sandbox) -> Iterator[Drift]:
    with (
        closing(connect(world.warehouse_url, HTTP_PATH, TOKEN)) as connection,
        closing(connection.cursor()) as cursor,
        BladeClient(world.target) as blade,
    ):
        yield Drift(world, blade, cursor.execute)


def test_the_catalog_follows_a_table_whose_ids_and_columns_drift(drift: Drift, blade) -> None:
    drift.snapshot(f"{FIRST} {TWO_DAYS}")
    blade("source", "add", "--name", NAME, "--data-type", NAME, "--table", TABLE)
    drift.blade.syncs.create(Sync(name=NAME, spec=SyncSpec(source=NAME, deletes=SyncSpec.DELETE)))
    first = drift.settled(drift.run())
    assert first == SyncCounts(created=first.created)
    assert first.created > 1_500

    drift.snapshot(
        "SELECT CAST(distance AS BIGINT) AS distance, dest, tailnum, CAST(flight AS BIGINT) AS flight, dep_delay,"
        f" carrier, last_modified, classification, {NUMBERED} {TWO_DAYS}"
    )
    assert drift.settled(drift.run()) == SyncCounts(unchanged=first.created), "columns moved and wider: the same items"

    drift.snapshot(f"{FIRST.replace(', tailnum', ', arr_delay')} {TWO_DAYS} AND dest <> 'BUF'")
    fewer = drift.settled(drift.run())
    assert fewer.updated > 1_000
    assert 0 < fewer.deleted < first.created / 20, "within the guard"
    assert fewer.updated + fewer.unchanged + fewer.deleted == first.created

    drift.snapshot(f"{FIRST.replace('flight', 'CAST(flight AS STRING) AS flight')} {TWO_DAYS} AND origin <> 'JFK'")
    many_gone = drift.run()
    assert many_gone.sync_report.withheld_reason == SyncReport.MAX_DELETE_SHARE
    assert drift.settled(many_gone).withheld > 400

    other_ids = NUMBERED.replace("'ROW-'", "CASE carrier WHEN 'UA' THEN 'UNITED-' ELSE 'ROW-' END")
    drift.snapshot(f"{FIRST.replace(NUMBERED, other_ids)}, CAST(distance AS DECIMAL(9, 2)) AS miles {TWO_DAYS}")
    back = drift.settled(drift.run())
    assert back.created > 400, "ids that were deleted are there again"
    assert back.withheld > 200, "rows that have got another id"
    verified = drift.ended(drift.blade.syncs.verify(NAME))
    assert verified.sync_report.counts == SyncCounts(unchanged=first.created)
