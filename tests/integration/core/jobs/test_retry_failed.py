"""What a retry can mend, and what is said of what it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.access import called
from tests.support.engine import maintenance_rows

from blade_server.core.jobs.start import StartJob
from blade_server.errors import Precondition, Reason
from blade_server.model import Overrides, Status


def retry(world: Any, job: Any) -> str:
    with pytest.raises(Precondition) as caught:
        world.jobs.retry_failed(job.job_id, by=called("x"))
    assert caught.value.reason is Reason.JOB_STATUS
    return caught.value.message


def test_rows_that_share_an_item_id_are_beyond_a_retry_and_the_way_out_is_said(make_world, ended) -> None:
    world = make_world(40, source={"item_id": "{tail_number}-{priority}"})
    world.runner()
    rows = maintenance_rows(40)
    overrides = Overrides(item_id="{priority}")
    job = ended(world, world.jobs.start(StartJob(source="blade-maintenance", overrides=overrides), by=called("x")))
    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, len(set(rows["priority"])), 38)
    said = retry(world, job)
    assert said.startswith(f"job {job.job_id!r} has 38 rows that share their item id with another row")
    assert "make the ids unique, by mapping.item_id of the source or item_id of a job, and start it again" in said
    assert "no failed items" not in said
    assert "\n" not in said


def test_rows_without_an_item_id_are_beyond_a_retry_until_the_template_changes(make_world, ended) -> None:
    rows = maintenance_rows(10)
    rows["item_id"][3] = rows["item_id"][7] = None
    world = make_world(rows)
    world.runner()
    job = ended(world, world.begin())
    assert job.error_count == 2
    assert "has 2 rows without an item id" in retry(world, job)
    source = world.sources.get("blade-maintenance")
    mended = replace(source, mapping=replace(source.mapping, item_id="N-{number}"))
    world.sources.update(mended, {"mapping.item_id"})
    done = ended(world, world.jobs.retry_failed(job.job_id, by=called("x")))
    assert (done.status, done.success_count, done.error_count) == (Status.COMPLETED, 2, 0)
    assert {"N-3", "N-7"} < set(world.held())


def test_a_job_whose_items_all_came_through_has_nothing_to_retry(make_world, ended) -> None:
    world = make_world(10)
    job = world.begin()
    assert "is PENDING, wait until it has ended" in retry(world, job)
    world.runner()
    assert retry(world, ended(world, job)).endswith("has no failed items; there is nothing to retry")


def test_what_can_be_mended_is_retried_beside_what_cannot(make_world, ended) -> None:
    rows = maintenance_rows(10)
    rows["item_id"][1] = rows["item_id"][0]
    rows["classification"][5] = None
    world = make_world(rows)
    world.runner()
    job = ended(world, world.begin())
    assert job.error_count == 2
    again = ended(world, world.jobs.retry_failed(job.job_id, by=called("x")))
    assert (again.total_items, again.error_count) == (1, 1)


def test_rows_that_are_equal_are_counted_apart_from_those_that_only_share_an_id(make_world, ended) -> None:
    rows = maintenance_rows(30)
    for name, values in rows.items():
        rows[name] = [*values, *values[:20]]
    rows["priority"][45:] = ["NONE"] * 5
    world = make_world(rows)
    world.runner()
    job = ended(world, world.begin())
    (summary,) = job.error_summaries
    assert (summary.reason, summary.count, summary.identical) == (Reason.DUPLICATE_ITEM_ID, 20, 15)
    errors, _ = world.jobs.show.errors(job.job_id)
    assert [error.identical for error in errors] == [True] * 15 + [False] * 5
