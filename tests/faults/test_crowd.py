"""Many jobs over one source on several servers, some of which die together with PostgreSQL."""

from __future__ import annotations

import time
from collections import Counter

from tests.faults.tables import CROWD, CROWD_ROWS
from tests.faults.tally import Losses
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

JOBS = 200
TWICE = 2
"""Each row is taken by so many jobs: whoever looks up what his predecessor sent meets what another job has stored."""


def test_a_crowd_of_jobs_outlives_postgresql_and_half_of_the_servers(world: FaultWorld) -> None:
    replicas = world.servers.serve("a", "b", "c", "d")
    source = world.jobs.add_source(CROWD)
    rows_each = CROWD_ROWS * TWICE // JOBS
    began_s = time.monotonic()
    with world.servers.client() as client:
        job_ids = [
            client.start_query_job(
                source=source,
                sql=f"SELECT * FROM {CROWD} WHERE number BETWEEN {first} AND {first + rows_each - 1}",
                batch_size=max(5, rows_each // 8),
            ).job_id
            for first in range(0, CROWD_ROWS, rows_each)
            for _ in range(TWICE)
        ]
    assert len(job_ids) == JOBS

    def ended(*statuses: str) -> int:
        query = "SELECT count(*) FROM job WHERE job_id = ANY(%s) AND status = ANY(%s)"
        return int(world.postgres.ask(query, job_ids, list(statuses))[0][0])

    for share, dying in ((0.2, replicas[:2]), (0.6, replicas[2:])):
        wait_until(lambda share=share: ended("COMPLETED") >= share * JOBS, 120)
        for replica in dying:
            world.faults.kill(replica)
        world.faults.kill_postgres()
        for replica in dying:
            world.servers.restart(replica)
    for replica in replicas:
        world.servers.ready(replica)
    wait_until(lambda: ended("COMPLETED", "FAILED", "CANCELLED") == JOBS, 600)
    assert ended("COMPLETED") == JOBS

    copies = Counter({item["itemId"]: item["copies"] for item in world.sandbox.items(f"BLADE:{source}")})
    lost = CROWD_ROWS - len(copies)
    doubled = {item_id: count for item_id, count in copies.items() if count > TWICE}
    world.scenario.items += CROWD_ROWS * TWICE
    world.scenario.losses += Losses(lost=lost, doubled=len(doubled))
    world.scenario.notes.append(f"{JOBS} jobs of {rows_each} rows in {time.monotonic() - began_s:.0f} s")
    assert (lost, doubled) == (0, {})
