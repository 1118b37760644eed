"""Jobs into several catalogs at once: each to its own, at its pace, and to no other."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from tests.support.access import called
from tests.support.engine import maintenance_rows
from tests.support.waiting import wait_until

from blade_server.errors import NotFound, Precondition, Reason
from blade_server.model import Status, WaitReason


def test_each_job_goes_to_its_own_destination_though_they_run_at_once(make_world, make_lakes, ended):
    world = make_world(600)
    lakes = make_lakes(world)
    one, two = lakes.add("one"), lakes.add("two")
    world.runner()
    jobs = [world.begin(destination=name) for name in ("one", "two", "")]
    assert [job.spec.destination for job in jobs] == ["one", "two", "default"]
    for job in jobs:
        assert ended(world, job).success_count == 600
    for catalog in (one, two, world.catalog):
        assert catalog.status()["items"] == 600
        assert catalog.status()["copies"] == 600


def test_the_source_says_where_a_job_goes_that_says_nothing(make_world, make_lakes, ended):
    world = make_world(10)
    lake = make_lakes(world).add("lake")
    source = world.sources.get("blade-maintenance")
    world.sources.update(replace(source, config=replace(source.config, destination="lake")), {"config.destination"})
    world.runner()
    assert ended(world, world.begin()).spec.destination == "lake"
    assert (lake.status()["items"], world.catalog.status()["items"]) == (10, 0)
    assert ended(world, world.begin(destination="default")).success_count == 10
    assert world.catalog.status()["items"] == 10


def test_a_destination_that_is_down_holds_no_other_job(make_world, make_lakes, ended, reaches):
    world = make_world(400)
    lakes = make_lakes(world)
    down = lakes.add("down")
    world.runner()
    down.set_faults(down={"seconds": 1000})
    waiting = world.begin(destination="down")
    waiting = reaches(world, waiting, lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    assert ended(world, world.begin()).success_count == 400
    assert world.store.get(waiting.job_id).status is Status.RUNNING
    world.cancel(waiting.job_id, by=called())
    assert ended(world, waiting).status is Status.CANCELLED


def test_a_destination_that_asks_to_slow_down_slows_no_other_job(make_world, make_lakes, ended, reaches):
    world = make_world(400)
    busy = make_lakes(world).add("busy")
    busy.set_faults(status={"code": 429, "retry_after": 60, "only": "upload"})
    world.runner()
    waiting = reaches(
        world, world.begin(destination="busy"), lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED
    )
    done = ended(world, world.begin())
    assert done.success_count == 400
    with world.database.begin() as connection:
        holds = connection.execute(text("SELECT key FROM pace WHERE hold_until > now()")).scalars().all()
    assert holds == ["catalog:busy"]
    world.cancel(waiting.job_id, by=called())


def test_a_destinations_rate_holds_over_all_jobs_that_go_there(make_world, make_lakes, ended):
    world = make_world(60)
    make_lakes(world).add("slow", items_per_second=60.0)
    world.runner()
    began = time.monotonic()
    free = world.begin()
    jobs = [world.begin(destination="slow", batch_size=10) for _ in range(2)]
    ended(world, free)
    for job in jobs:
        assert ended(world, job).success_count == 60
    assert time.monotonic() - began > 1.5, "120 items at 60 a second"
    with world.database.begin() as connection:
        paces = connection.execute(text("SELECT key FROM pace")).scalars().all()
    assert paces == ["destination:slow"]


def test_another_server_goes_on_into_the_same_destination_and_sends_nothing_twice(make_world, make_lakes, ended):
    world = make_world(600)
    lake = make_lakes(world).add("lake", options={"replace": False, "idempotency_keys": 0})
    lake.set_faults(latency_ms=100)
    first = world.runner(world.configured(**_hosts(world), lease_s=60, lease_beat_s=20))
    job = world.begin(destination="lake", batch_size=20, workers=2)
    wait_until(lambda: world.store.get(job.job_id).success_count)
    with world.database.begin() as connection:  # as if it had died
        connection.execute(text("UPDATE job SET lease_until = now() - interval '1 second', owner = 'somebody else'"))
    world.runner()
    lake.set_faults(latency_ms=0)
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 600)
    assert (lake.status()["items"], lake.status()["copies"]) == (600, 600)
    assert world.catalog.status()["items"] == 0
    first.stop(5)


def _hosts(world) -> dict[str, Any]:
    return {"allowed_catalog_hosts": world.settings.allowed_catalog_hosts}


def test_another_catalog_under_the_url_gets_nothing(make_world, make_lakes, ended):
    world = make_world(50)
    lakes = make_lakes(world)
    lake = lakes.add("lake")
    job = world.begin(destination="lake")
    port = lake.port
    lake.stop()
    swapped = lakes.start("swapped", port)
    world.runner()
    done = ended(world, job)
    assert (done.status, done.error_reason, done.success_count) == (Status.FAILED, Reason.DESTINATION_CHANGED, 0)
    assert "update the destination" in done.error_message
    assert swapped.status()["items"] == 0


def test_a_catalog_that_is_swapped_under_a_running_job_ends_it(make_world, make_lakes, ended):
    world = make_world(2000)
    lakes = make_lakes(world)
    lake = lakes.add("lake")
    lake.set_faults(latency_ms=50)
    world.runner()
    job = world.begin(destination="lake", batch_size=10, workers=2)
    wait_until(lambda: world.store.get(job.job_id).success_count)
    port = lake.port
    lake.stop()
    swapped = lakes.start("swapped", port)
    done = ended(world, job)
    assert (done.status, done.error_reason) == (Status.FAILED, Reason.DESTINATION_CHANGED)
    assert swapped.status()["items"] == 0


def test_a_changed_url_is_for_jobs_that_are_started_after_it_or_lead_to_the_same_catalog(make_world, make_lakes, ended):
    world = make_world(50)
    lakes = make_lakes(world)
    lake, other = lakes.add("lake"), lakes.add("other")
    stored, elsewhere = lakes.store.get("lake"), lakes.store.get("other")
    open_job = world.begin(destination="lake")
    lakes.store.update(replace(stored, url=f"{stored.url}/"), "", by=called())  # the same catalog, written otherwise
    world.runner()
    assert ended(world, open_job).success_count == 50
    world.runners[0].stop(5)
    open_job = world.begin(destination="lake")
    moved = replace(stored, url=elsewhere.url, catalog_id=elsewhere.catalog_id)
    lakes.store.update(moved, "", by=called())
    world.runner()
    done = ended(world, open_job)
    assert (done.status, done.error_reason) == (Status.FAILED, Reason.DESTINATION_CHANGED)
    assert ended(world, world.begin(destination="lake")).success_count == 50
    assert (lake.status()["items"], other.status()["items"]) == (50, 50)


def test_items_above_the_ceiling_are_not_sent(make_world, make_lakes, ended):
    rows = maintenance_rows(90)
    rows["classification"] = ["UNCLASS", "CUI", "SECRET"] * 30
    world = make_world(rows)
    lake = make_lakes(world).add("lake", ceiling="CUI")
    world.runner()
    done = ended(world, world.begin(destination="lake"))
    assert (done.status, done.success_count, done.error_count) == (Status.COMPLETED, 60, 30)
    (summary,) = done.error_summaries
    assert (summary.reason, summary.count) == (Reason.CLASSIFICATION_ABOVE_CEILING, 30)
    assert "ceiling" in summary.samples[0].message
    assert lake.status()["items"] == 60
    assert ended(world, world.begin()).success_count == 90, "the server's own has none"


def test_a_ceiling_that_the_server_does_not_know_lets_nothing_through(make_world, make_lakes, ended):
    world = make_world(10)
    lake = make_lakes(world).add("lake", ceiling="COSMIC")
    world.runner()
    done = ended(world, world.begin(destination="lake"))
    assert (done.status, done.success_count) == (Status.FAILED, 0)
    assert lake.status()["items"] == 0


def test_a_host_that_is_not_allowed_any_more_ends_the_job_in_words(make_world, make_lakes, ended):
    world = make_world(10)
    make_lakes(world).add("lake")
    world.runner(world.configured())
    done = ended(world, world.begin(destination="lake"))
    assert (done.status, done.error_reason) == (Status.FAILED, Reason.INVALID_FIELD)
    assert "BLADE_ALLOWED_CATALOG_HOSTS" in done.error_message


def test_a_destination_is_in_use_as_long_as_a_job_that_is_open_names_it(make_world, make_lakes, ended):
    world = make_world(10)
    lakes = make_lakes(world)
    lakes.add("lake")
    job = world.begin(destination="lake")
    with pytest.raises(Precondition, match=job.job_id) as caught:
        lakes.store.remove("lake", by=called())
    assert caught.value.reason is Reason.DESTINATION_IN_USE
    world.runner()
    ended(world, job)
    lakes.store.remove("lake", by=called())
    with pytest.raises(NotFound) as absent:
        world.begin(destination="lake")
    assert absent.value.reason is Reason.DESTINATION_NOT_FOUND


def test_servers_that_know_no_destinations_leave_such_jobs_alone(make_world, make_lakes):
    world = make_world(10)
    make_lakes(world).add("lake")
    jobs = [world.begin(destination="lake"), world.begin()]
    with world.database.begin() as connection:
        levels = {row.job_id: row.level for row in connection.execute(text("SELECT job_id, level FROM job"))}
    assert [levels[job.job_id] for job in jobs] == [3, 0]
