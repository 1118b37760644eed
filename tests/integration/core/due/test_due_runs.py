"""Due times: each of them becomes one row that says what became of it, and at most one job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.access import called
from tests.support.due import OWNER, DueWorld

from blade_server.core.due import starts
from blade_server.core.sql.bounded import _apart
from blade_server.errors import Unavailable
from blade_server.model import Status
from blade_server.model.access import Role
from blade_server.model.sync import CatchUp, Overlap, Schedule
from blade_server.storage.retention import Retention

HOUR = timedelta(hours=1)


@pytest.fixture
def make_world(postgres_url: str) -> Iterator[Callable[..., DueWorld]]:
    worlds: list[DueWorld] = []

    def make(**options: int) -> DueWorld:
        worlds.append(DueWorld(postgres_url, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., DueWorld]) -> DueWorld:
    world = make_world()
    world.add_source()
    world.grant()
    return world


def test_a_due_time_starts_one_job_in_its_owners_name(world: DueWorld) -> None:
    world.add_sync()
    assert world.row().next_due > datetime.now(UTC)
    world.look()
    assert world.fires() == []
    world.due()
    due_time = world.row().next_due
    world.look()
    world.look()
    (job,) = world.started()
    (fire,) = world.fires()
    assert (fire.outcome, fire.due_time, fire.job_id) == ("STARTED", due_time, job.job_id)
    assert (job.status, job.starter, job.writes, job.sync) == ("PENDING", OWNER, True, "parts")
    assert job.task["run_number"] == 1
    assert world.row().next_due > datetime.now(UTC)
    told = world.rows("SELECT * FROM audit_entry WHERE method = 'blade schedule' ORDER BY number")
    assert [row.object for row in told] == ["sync:parts", f"job:{job.job_id}"]
    assert all(due_time.isoformat() in row.content and row.principal == OWNER for row in told)


def test_while_a_run_is_not_final_a_due_time_is_left_out(world: DueWorld) -> None:
    world.add_sync()
    world.due()
    world.look()
    world.run("UPDATE job SET status = 'PAUSED'")
    world.due()
    world.look()
    assert world.outcomes() == ["STARTED", "SKIPPED"]
    assert world.fires()[1].detail == f"job {world.started()[0].job_id} is not final"
    world.run("UPDATE job SET status = 'PENDING'")
    world.end()
    world.look()
    assert len(world.started()) == 1


def test_one_run_waits_for_the_end_of_another_and_no_second(world: DueWorld) -> None:
    world.add_sync(schedule=Schedule(every_s=3600.0, overlap=Overlap.QUEUE_ONE))
    for _ in range(3):
        world.due()
        world.look()
    assert world.outcomes() == ["STARTED", "QUEUED", "SKIPPED"]
    world.look()
    assert len(world.started()) == 1
    world.end()
    world.look()
    world.look()
    assert world.outcomes() == ["STARTED", "STARTED", "SKIPPED"]
    jobs = world.started()
    assert [fire.job_id for fire in world.fires()[:2]] == [job.job_id for job in jobs]
    assert not world.row().queued


def test_what_waits_is_given_up_by_a_pause_and_resuming_waits_for_the_next_due_time(world: DueWorld) -> None:
    world.add_sync(schedule=Schedule(every_s=3600.0, overlap=Overlap.QUEUE_ONE))
    for _ in range(2):
        world.due()
        world.look()
    world.syncs.control.pause("parts", by=called())
    world.end()
    world.look()
    assert len(world.started()) == 1
    assert world.row().next_due is None
    world.syncs.control.resume("parts", by=called())
    world.look()
    assert len(world.started()) == 1
    assert world.row().next_due > datetime.now(UTC)
    assert world.outcomes() == ["STARTED", "MISSED"]


def test_due_times_without_a_server_are_missed_as_one_row_that_counts_them(world: DueWorld) -> None:
    world.add_sync(schedule=Schedule(every_s=3600.0))
    # The grid's last due time may have come within the minute that counts as on time.
    seconds = (datetime.now(UTC).timestamp() % 3600) - 120
    world.due(ago=5 * HOUR)
    world.look()
    if seconds > 0:
        (fire,) = world.fires()
        assert fire.outcome == "MISSED"
        assert "nor 5 after it" in fire.detail
        assert world.started() == []
    assert world.row().next_due > datetime.now(UTC)


def test_the_latest_of_them_is_caught_up_with_within_the_window(world: DueWorld) -> None:
    schedule = Schedule(every_s=3600.0, catch_up=CatchUp.LATEST, catch_up_window_s=7200.0)
    world.add_sync(schedule=schedule)
    world.due(ago=5 * HOUR)
    world.look()
    missed, started = world.fires()
    assert (missed.outcome, started.outcome) == ("MISSED", "STARTED")
    assert started.due_time.timestamp() % 3600 == 0
    assert len(world.started()) == 1


def test_a_due_time_beyond_the_window_is_missed(world: DueWorld) -> None:
    schedule = Schedule(cron="0 0 1 1 *", catch_up=CatchUp.LATEST, catch_up_window_s=60.0)
    world.add_sync(schedule=schedule)
    world.due(ago=timedelta(seconds=90))
    world.look()
    assert world.outcomes() == ["MISSED"]


def test_very_many_missed_ones_are_not_all_counted(world: DueWorld) -> None:
    world.add_sync(schedule=Schedule(every_s=10.0))
    world.due(ago=timedelta(days=300))
    world.look()
    assert "more than" in world.fires()[0].detail
    assert world.outcomes() == ["MISSED", "STARTED"]


def test_an_owner_who_lost_his_rights_blocks_it_until_he_has_them_or_another_takes_over(world: DueWorld) -> None:
    world.run("INSERT INTO notification (name, url, create_time, update_time) VALUES ('ops', 'x', now(), now())")
    world.add_sync(notifications=("ops",))
    world.take_grants()
    for _ in range(3):
        world.due()
        world.look()
    assert world.outcomes() == ["BLOCKED"] * 3
    assert world.started() == []
    assert "'ann' needs the role OPERATOR on source 'parts'" in world.fires()[0].detail
    assert world.told() == [("parts", "BLOCKED")]
    world.grant(Role.VIEWER)  # is not enough
    world.due()
    world.look()
    assert world.outcomes()[-1] == "BLOCKED"
    world.grant(Role.OPERATOR, principal="bob")
    world.run("""UPDATE sync SET owner = '{"name": "bob", "kind": "token", "groups": []}'""")
    world.due()
    world.look()
    assert world.outcomes()[-1] == "STARTED"
    assert world.started()[0].starter == "bob"


@pytest.mark.parametrize(
    ("kind", "token", "outcome"),
    [
        ("admin", "now() + interval '1 minute'", "STARTED"),
        ("admin", "now() - interval '2 days'", "BLOCKED"),
        ("off", "now() + interval '1 minute'", "BLOCKED"),
        ("token", "now() + interval '1 minute'", "BLOCKED"),
    ],
)
def test_the_operator_may_as_long_as_there_is_one(world: DueWorld, kind: str, token: str, outcome: str) -> None:
    world.add_sync()
    world.take_grants()
    owner = json.dumps({"name": "admin", "kind": kind, "groups": []})
    world.run("UPDATE sync SET owner = CAST(:owner AS jsonb)", owner=owner)
    world.run(
        "INSERT INTO access_token (token_id, principal, kind, hash, create_time, expire_time) "
        f"VALUES ('t', 'admin', 'admin', '', now(), {token})"
    )
    world.due()
    world.look()
    assert world.outcomes() == [outcome]


def test_grants_of_his_groups_count(world: DueWorld) -> None:
    world.add_sync()
    world.take_grants()
    world.run("UPDATE sync SET owner = jsonb_set(owner, '{groups}', '[\"crew\"]')")
    world.run(
        "INSERT INTO access_grant (grant_id, group_name, role, scope, create_time) "
        "VALUES ('g', 'crew', 'OPERATOR', 'source:parts', now())"
    )
    world.due()
    world.look()
    assert world.outcomes() == ["STARTED"]


def test_a_source_that_is_off_or_gone_blocks_it(world: DueWorld) -> None:
    world.add_sync()
    world.run("UPDATE source SET enabled = false")
    world.due()
    world.look()
    world.run("DELETE FROM source")
    world.due()
    world.look()
    assert world.outcomes() == ["BLOCKED", "BLOCKED"]
    assert "switched off" in world.fires()[0].detail
    assert "parts" in world.fires()[1].detail


def test_sql_that_is_not_accepted_any_more_blocks_it_and_is_not_quoted(world: DueWorld) -> None:
    world.add_source("others")
    world.add_sync(sql="SELECT p.* FROM parts p JOIN others o ON o.id = p.id AND o.secret = 'classified words'")
    world.run("DELETE FROM source WHERE name = 'others'")
    world.due()
    world.look()
    (fire,) = world.fires()
    assert fire.outcome == "BLOCKED"
    assert "classified words" not in fire.detail


def test_a_source_that_only_its_sql_reads_is_not_named_to_who_sees_the_sync(world: DueWorld) -> None:
    world.add_source("others")
    world.add_sync(sql="SELECT p.* FROM parts p JOIN others o ON o.id = p.id")
    world.take_grants()
    world.grant(Role.EDITOR, scope="source:parts")
    world.grant(Role.VIEWER, scope="source:others")
    world.due()
    world.look()
    (fire,) = world.fires()
    assert fire.outcome == "BLOCKED"
    assert "'ann' may not read all of what its SQL reads" in fire.detail
    assert "others" not in fire.detail


def test_much_long_sql_of_one_owner_holds_up_nobody_else(world: DueWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "LONG_TEXTS_S", 0.0)
    long = "SELECT * FROM parts WHERE id <> '" + "x" * starts.LONG_TEXT + "'"
    world.grant(principal="bob")
    for number in range(5):
        world.add_sync(f"slow-{number}", sql=long, scope=f"slow {number}")
        world.due(f"slow-{number}")
    world.add_sync("of-bob", owner="bob", sql=long, scope="bob")
    world.add_sync("short", scope="short")
    for name in ("of-bob", "short"):
        world.due(name)

    def settled() -> list[str]:
        world.look()
        return [row.sync for row in world.rows("SELECT sync FROM sync_fire ORDER BY sync")]

    assert (len(first := settled()), "short" in first) == (2, True)
    assert (len(second := settled()), "of-bob" in second) == (3, True)
    for left in (4, 5, 6, 7, 7):
        assert len(settled()) == left
    assert len(world.started()) == 7


def test_a_full_server_leaves_a_due_time_out(make_world: Callable[..., DueWorld]) -> None:
    world = make_world(max_open=1)
    for name in ("parts", "others"):
        world.add_source(name)
    world.grant()
    for name in ("parts", "others"):
        world.add_sync(name, source=name)
        world.due(name)
    world.look()
    assert sorted(world.outcomes("parts") + world.outcomes("others")) == ["SKIPPED", "STARTED"]


def test_a_bug_in_one_sync_holds_up_no_other(world: DueWorld) -> None:
    world.add_source("others")
    for name in ("parts", "others"):
        world.add_sync(name, source=name)
        world.due(name)
    world.run("""UPDATE sync SET spec = jsonb_set(spec, '{sql}', '5') WHERE name = 'parts'""")
    world.look()
    assert (world.outcomes("others"), world.outcomes("parts")) == (["STARTED"], ["BLOCKED"])
    assert "bug" in world.fires("parts")[0].detail


def test_sql_over_which_its_reader_dies_holds_up_no_other_sync(
    world: DueWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_source("others")
    world.add_sync("others", source="others")
    world.add_sync("parts", sql=f"SELECT p.* FROM parts p WHERE p.id <> '{'x' * 600}'")
    for name in ("parts", "others"):
        world.due(name)

    def dies(*_: object, **__: object) -> None:
        raise Unavailable("long SQL cannot be read now")

    monkeypatch.setattr(_apart, "call", dies)
    world.look()
    assert (world.outcomes("others"), world.outcomes("parts")) == (["STARTED"], ["SKIPPED"])


def test_a_sync_that_a_newer_server_stored_is_left_to_it(world: DueWorld) -> None:
    world.add_source("others")
    for name in ("parts", "others"):
        world.add_sync(name, source=name)
        world.due(name)
    world.run("""UPDATE sync SET spec = jsonb_set(spec, '{mode}', '"TELEPATHY"') WHERE name = 'parts'""")
    world.look()
    outcomes = dict(world.rows("SELECT sync, outcome FROM sync_fire"))
    assert outcomes == {"others": "STARTED"}


def test_what_is_late_is_told_once_and_again_only_after_a_success(world: DueWorld) -> None:
    world.run("INSERT INTO notification (name, url, create_time, update_time) VALUES ('ops', 'x', now(), now())")
    world.add_sync(max_age_s=3600.0, notifications=("ops",))
    world.store.tell_late(limit=10)
    assert world.told() == []
    world.run("UPDATE sync SET create_time = now() - interval '2 hours'")
    for _ in range(2):
        world.store.tell_late(limit=10)
    assert world.told() == [("parts", "LATE")]
    world.due()
    world.look()
    world.end()
    assert world.told() == [("parts", "LATE"), ("parts", "RECOVERED")]
    world.run("UPDATE sync SET last_success_time = now()")
    world.store.tell_late(limit=10)
    assert len(world.told()) == 2
    world.run("UPDATE sync SET last_success_time = now() - interval '2 hours'")
    world.store.tell_late(limit=10)
    assert world.told()[-1] == ("parts", "LATE")
    world.run("""UPDATE sync SET spec = jsonb_set(spec, '{max_age_s}', '0')""")
    world.store.tell_late(limit=10)
    assert not world.row().late_told


def test_a_sync_pauses_itself_after_failures_in_the_transaction_that_counts_them(world: DueWorld) -> None:
    world.run("INSERT INTO notification (name, url, create_time, update_time) VALUES ('ops', 'x', now(), now())")
    world.add_sync(pause_after_failures=2, notifications=("ops",))
    for failures in range(2):
        world.run("UPDATE sync SET failures = :failures", failures=failures)
        world.due()
        world.look()
        last = world.end(Status.FAILED)
    row = world.row()
    assert (row.paused, row.next_due, row.queued) == (True, None, False)
    assert last in row.pause_reason
    assert world.told() == [("parts", "RUN_FAILED"), ("parts", "RUN_FAILED"), ("parts", "SELF_PAUSED")]
    world.look()
    assert len(world.started()) == 2


def test_a_cancel_is_no_failure_and_nobody_is_told(world: DueWorld) -> None:
    world.run("INSERT INTO notification (name, url, create_time, update_time) VALUES ('ops', 'x', now(), now())")
    world.add_sync(pause_after_failures=1, notifications=("ops",))
    world.due()
    world.look()
    world.end(Status.CANCELLED)
    assert world.told() == []
    assert not world.row().paused


def test_another_schedule_counts_from_when_it_was_stored(world: DueWorld) -> None:
    world.add_sync()
    world.due()
    by = called()
    world.syncs.update("parts", lambda spec: replace(spec, schedule=Schedule(cron="0 0 1 1 *")), by=by)
    assert world.row().next_due > datetime.now(UTC)
    before = world.row().next_due
    world.syncs.update("parts", lambda spec: replace(spec, metadata={"a": "b"}), by=by)
    assert world.row().next_due == before
    world.syncs.update("parts", lambda spec: replace(spec, schedule=None), by=by)
    assert world.row().next_due is None


def test_what_became_of_due_times_is_kept_for_a_month(world: DueWorld) -> None:
    world.add_sync()
    world.due()
    world.look()
    retention = Retention(world.database, slice_rows=10)
    assert not retention.forget_fires()
    assert len(world.fires()) == 1
    world.run("UPDATE sync_fire SET time = now() - interval '31 days'")
    assert not retention.forget_fires()
    assert world.fires() == []
