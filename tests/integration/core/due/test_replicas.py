"""Two schedulers over one PostgreSQL, and one that dies at each of its statements."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from tests.support.due import DueWorld
from tests.support.waiting import wait_until

from blade_server.model.sync import Overlap, Schedule


class Killed(BaseException):
    """The server is gone."""


@pytest.fixture
def worlds(postgres_url: str) -> Iterator[tuple[DueWorld, DueWorld]]:
    worlds = (DueWorld(postgres_url), DueWorld(postgres_url))
    worlds[0].add_source()
    worlds[0].grant()
    yield worlds
    for world in worlds:
        world.close()


def test_of_many_that_are_due_at_once_each_becomes_one_job(worlds: tuple[DueWorld, DueWorld]) -> None:
    world = worlds[0]
    world.add_sync("sync-0", scope="0")
    world.run(
        "INSERT INTO sync SELECT (jsonb_populate_record(sync, jsonb_build_object('name', 'sync-' || i, 'scope', i, "
        "'next_due', now() + interval '1 second', 'request_id', NULL))).* FROM sync, generate_series(1, 150) AS i"
    )
    for each in worlds:
        each.scheduler.start()
    try:
        wait_until(lambda: len(world.started()) >= 150)
        wait_until(lambda: not world.store.waiting(server="x", limit=1).due)
    finally:
        for each in worlds:
            each.scheduler.stop()
    jobs = world.started()
    assert len(jobs) == len({job.sync for job in jobs}) == 150
    fires = world.rows("SELECT * FROM sync_fire")
    assert {fire.job_id for fire in fires} == {job.job_id for job in jobs}
    assert {fire.outcome for fire in fires} == {"STARTED"}
    late_s = world.rows("SELECT extract(epoch FROM max(time - due_time))::float8 AS s FROM sync_fire")[0].s
    assert late_s < 30


def test_a_run_that_waits_is_started_when_the_other_ends_and_a_new_sync_is_heard_of(
    worlds: tuple[DueWorld, DueWorld],
) -> None:
    """The rings, without the listener: what it would hand over is handed over."""
    world = worlds[0]
    world.scheduler.start()
    try:
        wait_until(lambda: world.scheduler._bell.is_set() is False)
        world.add_sync(schedule=Schedule(every_s=3600.0, overlap=Overlap.QUEUE_ONE))
        world.due()
        world.scheduler.ring(["syncs"])
        wait_until(lambda: world.outcomes() == ["STARTED"])
        world.due()
        world.scheduler.ring(["syncs"])
        wait_until(lambda: world.outcomes() == ["STARTED", "QUEUED"])
        world.end()
        world.scheduler.ring(["syncs"])
        wait_until(lambda: world.outcomes() == ["STARTED", "STARTED"])
    finally:
        world.scheduler.stop()


def state(world: DueWorld) -> list[Any]:
    tables = ("sync", "sync_fire", "job", "job_event", "outbox", "audit_entry")
    return [world.rows(f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables]


def test_a_server_that_dies_at_any_statement_has_done_nothing_and_another_does_it(
    worlds: tuple[DueWorld, DueWorld],
) -> None:
    dying, other = worlds
    other.add_sync()
    other.due(ago=timedelta(seconds=1))
    before = state(other)
    for step in range(100):
        left = [step]

        def die(*_: Any, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        event.listen(dying.database.engine, "before_cursor_execute", die)
        try:
            dying.look()
        except Killed:
            pass
        else:
            break
        finally:
            event.remove(dying.database.engine, "before_cursor_execute", die)
        assert state(other) == before, step
    assert step > 10
    other.look()
    assert len(other.started()) == 1
    assert other.outcomes() == ["STARTED"]


def test_a_commit_whose_answer_was_lost_is_not_done_again(worlds: tuple[DueWorld, DueWorld]) -> None:
    dying, other = worlds
    other.add_sync()
    other.due(ago=timedelta(seconds=1))

    def die(connection: Any) -> None:
        connection.connection.dbapi_connection.commit()
        raise Killed

    event.listen(dying.database.engine, "commit", die)
    with pytest.raises(Killed):
        dying.look()
    event.remove(dying.database.engine, "commit", die)
    other.look()
    dying.look()
    assert other.outcomes() == ["STARTED"]
    assert len(other.started()) == 1


def test_what_another_server_has_settled_meanwhile_is_left_alone(worlds: tuple[DueWorld, DueWorld]) -> None:
    world, other = worlds
    world.add_sync()
    world.due()
    seen = world.store.waiting(server="a", limit=10), other.store.waiting(server="b", limit=10)
    assert world.starts.settle(seen[0]) == 1
    world.end()
    assert other.starts.settle(seen[1]) == 0
    assert world.outcomes() == ["STARTED"]
    assert len(world.started()) == 1


def test_a_due_time_that_comes_again_starts_no_second_job(worlds: tuple[DueWorld, DueWorld]) -> None:
    """PostgreSQL's clock was set back, say."""
    world, _ = worlds
    world.add_sync()
    world.due()
    due_time = world.row().next_due
    world.look()
    world.end()
    world.run("UPDATE sync SET next_due = :due", due=due_time)
    world.look()
    assert world.outcomes() == ["STARTED"]
    assert len(world.started()) == 1
    assert world.row().next_due > due_time
