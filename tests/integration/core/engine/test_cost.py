"""What jobs take in the warehouse is on the job and on its source, whatever becomes of the job."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
import requests
from sqlalchemy import text
from tests.support.access import called, called_by
from tests.support.waiting import wait_until

from blade_server.core.engine.record import recorder
from blade_server.core.jobs.preview import Preview
from blade_server.errors import Invalid
from blade_server.model import Status
from blade_server.model.access import Role, Scope
from blade_server.model.cost import NO_COST, Cost
from blade_server.storage.retention import Retention
from blade_server.storage.sources import SourceStore

NAME = "blade-maintenance"
EVERYTHING = Scope(all=True)


def of_sources(world, seen=EVERYTHING, since=date(2000, 1, 1)) -> dict[str, Cost]:
    costs = SourceStore(world.database).costs.page(since=since, after="", limit=100, seen=seen)
    return {each.source: each.cost for each in costs}


def said_by(warehouse, name: str) -> int:
    headers = {"Authorization": f"Bearer {warehouse.token}"}
    return int(requests.get(f"{warehouse.url}/sandbox/status", headers=headers, timeout=60).json()[name])


def statements_at(warehouse) -> int:
    """That it has run so far, as it says itself."""
    return said_by(warehouse, "statements")


def running_at(warehouse) -> int:
    return said_by(warehouse, "running_operations")


def test_a_completed_job_shows_what_it_took_and_so_does_its_source(make_world, ended):
    world = make_world(2000)
    world.runner()
    assert of_sources(world) == {}
    job = ended(world, world.begin())
    assert job.status is Status.COMPLETED
    cost = job.cost
    assert cost.statements == statements_at(world.warehouse) >= 2
    assert 2000 <= cost.rows_read <= 2000 + cost.statements
    assert 2000 * 50 < cost.bytes_read < 2000 * 500
    assert 0 < cost.warehouse_ms <= (job.end_time - job.start_time).total_seconds() * 1000
    assert of_sources(world) == {NAME: cost}
    assert world.jobs.show.list()[0][0].cost == cost, "in lists, too"
    second = ended(world, world.begin()).cost
    assert of_sources(world)[NAME] - cost == second


def test_what_every_server_of_a_job_took_is_added_up(make_world, ended, reaches):
    world = make_world(3000)
    world.catalog.set_faults(latency_ms=20)
    first = world.runner()
    job = world.begin(batch_size=50, workers=1)
    begun = reaches(world, job, lambda now: now.success_count > 0)
    assert of_sources(world)[NAME].statements == begun.cost.statements > 0, "as far as it is"
    first.stop(5)
    left = world.store.get(job.job_id)
    assert left.status is Status.RUNNING
    world.catalog.clear_faults()
    world.runner()
    done = ended(world, job)
    assert done.status is Status.COMPLETED, done.error_message
    assert done.cost.statements == statements_at(world.warehouse) > left.cost.statements
    assert done.cost.rows_read > 3000, "rows were read again"
    assert of_sources(world) == {NAME: done.cost}


def test_jobs_that_fail_or_are_cancelled_or_paused_count(make_world, ended, reaches):
    world = make_world(3000)
    world.runner()
    failed = ended(world, world.begin(sql="SELECT *, 1 / (number - 2999) AS bad FROM maintenance", max_errors=0))
    world.catalog.set_faults(latency_ms=20)
    job = world.begin(batch_size=50, workers=1)
    reaches(world, job, lambda now: now.success_count > 0)
    world.jobs.control.pause(job.job_id)
    paused = reaches(world, job, lambda now: now.status is Status.PAUSED)
    assert paused.cost.statements > 0
    cancelled = world.cancel(job.job_id, by=called())
    assert cancelled.status is Status.CANCELLED
    assert cancelled.cost.statements >= paused.cost.statements
    assert cancelled.cost.rows_read > 0
    costs = (failed.cost, cancelled.cost)
    total = of_sources(world)[NAME]
    assert total.statements == sum(cost.statements for cost in costs) == statements_at(world.warehouse)
    assert total.rows_read == sum(cost.rows_read for cost in costs)


def test_a_statement_that_runs_long_shows_what_it_takes_before_its_end(make_world, ended, reaches, monkeypatch):
    monkeypatch.setattr(recorder, "COST_EVERY_MS", 50)
    monkeypatch.setattr(recorder, "SHOW_EVERY_S", 0.05)
    world = make_world(10)
    world.runner()
    statements = ended(world, world.begin()).cost.statements
    world.warehouse_faults(slow_execute_ms=600)
    job = world.begin()
    running = reaches(world, job, lambda now: now.cost.statements == statements)
    later = reaches(world, job, lambda now: now.cost.warehouse_ms >= running.cost.warehouse_ms + 100)
    assert (later.status, later.success_count) == (Status.RUNNING, 0), "the query has not ended yet"
    assert ended(world, job).cost.warehouse_ms >= 600 * statements


def test_a_statement_under_which_its_server_stops_counts(make_world, ended, reaches):
    world = make_world(10)
    runner = world.runner()
    statements = ended(world, world.begin()).cost.statements
    world.warehouse_faults(slow_execute_ms=1000)
    job = world.begin()
    counted = reaches(world, job, lambda now: now.total_items is not None)
    wait_until(lambda: running_at(world.warehouse))
    runner.stop(5)
    left = world.store.get(job.job_id)
    assert (left.status, left.cost.statements) == (Status.RUNNING, statements)
    assert left.cost.warehouse_ms > counted.cost.warehouse_ms


def test_previews_and_connection_tests_count_for_their_source(make_world):
    world = make_world(100)
    asked = statements_at(world.warehouse)
    world.jobs.preview(Preview(source=NAME, limit=5))
    previewed = of_sources(world)[NAME]
    assert previewed.statements == statements_at(world.warehouse) - asked > 0
    world.sources.test(NAME)
    assert of_sources(world)[NAME].statements == statements_at(world.warehouse) - asked > previewed.statements


def add(world, source: str, cost: Cost, day: str) -> None:
    values = {"day": day, "source": source, "ms": cost.warehouse_ms, "count": cost.statements}
    with world.database.begin() as connection:
        insert = "INSERT INTO source_cost (day, source, statements, warehouse_ms) VALUES (:day, :source, :count, :ms)"
        connection.execute(text(insert), values)


def test_costs_are_those_since_a_day_and_of_sources_that_the_caller_may_know_of(make_world):
    world = make_world(10)
    world.add_source("salaries", data_type="salary")
    today = datetime.now(UTC).date()
    one = Cost(statements=1, warehouse_ms=7)
    for source, back in ((NAME, 0), (NAME, 40), ("salaries", 0), ("removed", 0)):
        add(world, source, one, str(today - timedelta(days=back)))
    costs = world.sources.costs

    def listed(**request) -> dict[str, int]:
        return {each.source: each.cost.statements for each in costs.list(**request).costs}

    everything = {NAME: 1, "removed": 1, "salaries": 1}
    assert listed(since=datetime.now(UTC)) == everything
    assert costs.list().since == datetime(today.year, today.month, 1, tzinfo=UTC)
    assert listed(since=datetime.now(UTC) - timedelta(days=40)) == everything | {NAME: 2}
    viewer = called_by("vera", Role.VIEWER, (Role.VIEWER, f"source:{NAME}"))
    assert listed(since=datetime.now(UTC), by=viewer) == {NAME: 1}
    by_type = called_by("tom", Role.VIEWER, (Role.VIEWER, "data_type:salary"))
    assert listed(since=datetime.now(UTC), by=by_type) == {"salaries": 1}
    assert listed(since=datetime.now(UTC), by=called_by("nobody", Role.VIEWER)) == {}
    of_removed = called_by("rita", Role.VIEWER, (Role.VIEWER, "source:removed"))
    assert listed(since=datetime.now(UTC), by=of_removed) == {}, "its grants went with it"
    assert listed(since=datetime.now(UTC) - timedelta(days=40), by=viewer) == {NAME: 1}, "a source that had its name"

    page = costs.list(since=datetime.now(UTC), page_size=2)
    assert [each.source for each in page.costs] == [NAME, "removed"]
    rest = costs.list(since=datetime.now(UTC), page_size=2, page_token=page.next_page_token)
    assert ([each.source for each in rest.costs], rest.next_page_token) == (["salaries"], "")
    with pytest.raises(Invalid, match="same filters"):
        costs.list(page_token=page.next_page_token)


def test_costs_are_kept_for_more_than_a_year(make_world):
    world = make_world(10)
    today = datetime.now(UTC).date()
    for days in (399, 402):
        add(world, NAME, Cost(statements=1), str(today - timedelta(days=days)))
    Retention(world.database).forget_costs()
    assert of_sources(world)[NAME].statements == 1


def test_what_a_call_took_is_kept_of_stored_sources_alone_and_never_fails_the_call(make_world):
    world = make_world(10)
    costs = SourceStore(world.database).costs
    costs.add("nobody-has-it", Cost(statements=1))
    assert of_sources(world) == {}
    with world.sources.costs.counted(NAME) as tally:
        assert tally.cost == NO_COST
    assert of_sources(world) == {}
