"""Catalogs that lie, change their mind or answer in ways nobody promised."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest
from tests.faults.tables import LONG, SHORT
from tests.faults.twisted import Answered, Asked, TwistedCatalog, straight
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.error_reason_pb2 import ErrorReason
from blade.v1.job_pb2 import Job
from blade_server.model import Status, WaitReason


@pytest.fixture(scope="module")
def _gateway(_world: FaultWorld) -> Iterator[TwistedCatalog]:
    with TwistedCatalog(_world.sandbox.world.catalog_url) as catalog:
        yield catalog


@pytest.fixture
def twisted(world: FaultWorld, _gateway: TwistedCatalog) -> Iterator[TwistedCatalog]:
    """One gateway for all, so that the servers need not start anew for each scenario."""
    _gateway.twist, _gateway.struck = straight, 0
    yield _gateway
    _gateway.twist = straight
    world.scenario.faults["catalog: answers twisted by a gateway"] += _gateway.struck


def _results(change: Callable[[list[dict[str, object]]], list[object]]) -> Callable[[Asked], Answered]:
    """Stores the items and changes the list of results."""

    def twist(asked: Asked) -> Answered:
        answer = asked.pass_on()
        return replace(answer, body=orjson.dumps({"results": change(answer.json()["results"])}))

    return twist


STORED_AND = {
    "a_page_of_a_gateway": lambda asked: asked.pass_on() and Answered(body=b"<html>Welcome</html>"),
    "202_accepted": lambda asked: replace(asked.pass_on(), status=202),
    "one_result_too_few": _results(lambda results: results[:-1]),
    "results_in_another_order": _results(lambda results: results[::-1]),
    "503_for_every_other_item": _results(
        lambda results: [{**one, "status": 503} if at % 2 else one for at, one in enumerate(results)]
    ),
    "an_error_for_every_other_item": _results(
        lambda results: [{**one, "error": "disk full"} if at % 2 else one for at, one in enumerate(results)]
    ),
    "422_and_CREATED_for_every_other_item": _results(
        lambda results: [{**one, "status": 422} if at % 2 else one for at, one in enumerate(results)]
    ),
    "success_false": lambda asked: replace(asked.pass_on(), body=b'{"success": false}'),
    "a_body_that_ends_early": lambda asked: replace(asked.pass_on(), cut=20),
    "chunks_that_end_early": lambda asked: replace(asked.pass_on(), chunked=True, cut=20),
    "a_byte_now_and_then": lambda asked: replace(asked.pass_on(), trickles_s=0.5),
    "a_reset": lambda asked: replace(asked.pass_on(), reset=True),
    "a_504_of_a_gateway": lambda asked: asked.pass_on() and Answered(status=504, body=b"upstream timed out"),
}


@pytest.mark.parametrize("answers", STORED_AND)
def test_an_upload_that_is_stored_and_answered_with(world: FaultWorld, twisted: TwistedCatalog, answers: str) -> None:
    world.servers.serve("a", catalog_url=twisted.url)
    run = world.jobs.start(SHORT, numbers=range(300), batch_size=50)
    twisted.strikes(6, STORED_AND[answers])
    job = world.checks.invariant(run)
    assert (job.error_count, job.success_count) == (0, 300)
    assert twisted.struck == 6


def _gone_to(location: str) -> Answered:
    return Answered(status=307, headers={"Location": location}, body=b"")


@pytest.mark.parametrize(
    "twist",
    [
        lambda asked: _gone_to("http://127.0.0.1:9/elsewhere"),
        lambda asked: Answered(status=429, headers={"Retry-After": format_datetime(_in(1), usegmt=True)}),
        lambda asked: Answered(status=429, headers={"Retry-After": format_datetime(_in(-3600), usegmt=True)}),
        lambda asked: Answered(status=503, headers={"Retry-After": "-1"}),
        lambda asked: Answered(status=507, body=b"disk full"),
        lambda asked: Answered(status=200, body=b'{"results": null}'),
        lambda asked: Answered(status=200, body=b'{"error": "quota exceeded"}'),
        lambda asked: _stored_nothing(asked, outcome="REJECTED"),
        lambda asked: _stored_nothing(asked, error="quota exceeded"),
        lambda asked: Answered(status=503, headers={"Retry-After": f"Fri, 31 Dec {'9' * 20} 23:59:59 GMT"}),
    ],
    ids=[
        "a_redirect",
        "429_with_a_date",
        "429_with_a_date_that_is_past",
        "503_with_a_negative_time",
        "507",
        "200_and_nothing_stored",
        "200_and_an_error",
        "201_and_REJECTED_for_each",
        "201_and_an_error_for_each",
        "503_with_a_date_that_is_none",
    ],
)
def test_an_upload_that_is_not_stored_and_answered_with(
    world: FaultWorld, twisted: TwistedCatalog, twist: Callable[[Asked], Answered]
) -> None:
    world.servers.serve("a", catalog_url=twisted.url)
    run = world.jobs.start(SHORT, numbers=range(300), batch_size=50)
    twisted.strikes(4, twist)
    job = world.checks.invariant(run)
    assert (job.error_count, job.success_count) == (0, 300)
    assert twisted.struck == 4


def _stored_nothing(asked: Asked, **fields: str) -> Answered:
    """A result of 201 for each item, with these fields."""
    ids = re.findall(rb'{"itemId":"([^"]+)"', asked.body)
    results = [{"itemId": item_id.decode(), "status": 201, "outcome": "CREATED"} | fields for item_id in ids]
    return Answered(body=orjson.dumps({"results": results}))


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("body", [b'{"error": "quota exceeded"}', b'{"status": 422, "error": "quota exceeded"}'])
def test_a_catalog_that_says_yes_and_no_to_everything_has_stored_nothing(
    world: FaultWorld, twisted: TwistedCatalog, batches: bool, body: bytes
) -> None:
    def twist(asked: Asked) -> Answered:
        twisted.struck += 1
        if asked.uploads:
            return Answered(status=200, body=body)
        return Answered(body=b"{}") if not batches and asked.path.endswith("capabilities") else asked.pass_on()

    twisted.twist = twist
    world.servers.serve("a", catalog_url=twisted.url, catalog_patience_s=1)
    run = world.jobs.start(SHORT, numbers=range(6))
    job = world.checks.invariant(run)
    assert (job.error_count, job.success_count) == (6, 0)
    _, errors = world.jobs.shown(run)
    assert all("quota exceeded" in error.message for error in errors)


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_a_batch_that_is_too_large_for_a_gateway_goes_in_smaller_ones(
    world: FaultWorld, twisted: TwistedCatalog
) -> None:
    """The catalog says it takes 1000 items; what stands before it takes less than it says."""

    def twist(asked: Asked) -> Answered:
        if asked.uploads and len(asked.body) > 8_000:
            twisted.struck += 1
            return Answered(status=413, body=b"too large")
        return asked.pass_on()

    twisted.twist = twist
    world.servers.serve("a", catalog_url=twisted.url)
    run = world.jobs.start(SHORT, numbers=range(300), batch_size=200)
    job = world.checks.invariant(run)
    assert twisted.struck
    assert (job.error_count, job.success_count) == (0, 300)


def test_a_retry_after_of_days_is_shown_and_the_job_can_be_paused_and_cancelled(
    world: FaultWorld, twisted: TwistedCatalog
) -> None:
    world.servers.serve("a", catalog_url=twisted.url)
    run = world.jobs.start(LONG, items_per_second=2000)
    world.jobs.until_moving(run)
    twisted.strikes(1, lambda asked: Answered(status=429, headers={"Retry-After": "864000"}))
    try:
        world.jobs.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED)
        with world.servers.client() as client:
            client.pause(run.job_id)
            world.jobs.until(run, lambda job: job.status is Status.PAUSED, 5)
            client.resume(run.job_id)
            world.jobs.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED)
            client.cancel(run.job_id)
        world.checks.invariant(run, Job.CANCELLED)
    finally:
        world.postgres.ask("DELETE FROM pace")
        world.servers.serve("b")  # the other server remembers it


def test_a_health_check_that_fails_while_uploads_work_holds_nothing_up(
    world: FaultWorld, twisted: TwistedCatalog
) -> None:
    world.servers.serve("a", catalog_url=twisted.url)
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    twisted.strikes(
        1_000_000, lambda asked: Answered(status=503), which=lambda asked: asked.path.endswith("capabilities")
    )
    assert world.checks.invariant(run).error_count == 0


def test_a_catalog_that_comes_and_goes_each_second(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    run = world.jobs.start(items_per_second=1500)
    for share in (0.1, 0.3, 0.5, 0.7):
        world.jobs.until_moving(run, share)
        world.faults.catalog(down={"seconds": 1})
    assert world.checks.invariant(run).error_count == 0


def test_a_token_that_ends_in_mid_job_fails_it_and_leaves_its_counters_true(
    world: FaultWorld, twisted: TwistedCatalog
) -> None:
    world.servers.serve("a", catalog_url=twisted.url)
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    twisted.strikes(1_000_000, lambda asked: Answered(status=401, body=b"expired"))
    job = world.checks.invariant(run, Job.FAILED)
    assert job.error.reason == ErrorReason.ERROR_REASON_CATALOG_DENIED
    assert job.success_count == world.sandbox.held(run.data_source)[0] < 3000
    # A new token, a new start: what is there is left, the rest arrives.
    twisted.twist = straight
    with world.servers.client() as client:
        again = client.start_query_job(source=run.data_type, skip_existing=True)
        done = client.wait(again.job_id, timeout_s=60)
    assert (done.skipped_count, done.success_count) == (job.success_count, 3000 - job.success_count)
    world.checks.union([run])


@pytest.mark.parametrize("gone", ["batches", "look_ups", "both"])
def test_a_catalog_that_forgets_what_it_could_in_mid_job(world: FaultWorld, twisted: TwistedCatalog, gone: str) -> None:
    """It is rolled back to an older version, and loses replies while that happens."""
    world.servers.serve("a", catalog_url=twisted.url)
    run = world.jobs.start(SHORT, numbers=range(400), items_per_second=200, batch_size=50)
    world.jobs.until_moving(run)

    def older(asked: Asked) -> Answered:
        if gone != "look_ups" and asked.batch:
            twisted.struck += 1
            return Answered(status=404, body=b"no such path")
        if gone != "batches" and asked.path.endswith("lookup"):
            twisted.struck += 1
            return Answered(status=405, body=b"no such function")
        answer = asked.pass_on()
        if asked.path.endswith("capabilities"):
            said = answer.json()
            if gone != "look_ups":
                said["maxBatchItems"] = 1
            if gone != "batches":
                said["lookup"] = False
            twisted.struck += 1
            return replace(answer, body=orjson.dumps(said))
        return answer

    twisted.strikes(3, lambda asked: replace(asked.pass_on(), reset=True))
    wait_until(lambda: twisted.struck >= 3)
    twisted.twist = older
    world.jobs.set_rate(run)
    assert world.checks.invariant(run).error_count == 0
    assert twisted.struck > 3


def test_a_server_dies_while_the_catalog_answers_nonsense(world: FaultWorld, twisted: TwistedCatalog) -> None:
    """What is stored under a nonsense answer is looked up by the next server."""
    world.servers.serve("a", "b", catalog_url=twisted.url)
    run = world.jobs.start(SHORT, items_per_second=400)
    world.jobs.until_moving(run)
    twisted.strikes(1_000_000, STORED_AND["a_page_of_a_gateway"])
    wait_until(lambda: twisted.struck >= 4)
    owner = world.jobs.owner(run)
    world.faults.kill(owner)
    world.servers.restart(owner)
    wait_until(lambda: world.jobs.claimed_by(run, 2))
    twisted.twist = straight
    world.jobs.set_rate(run)
    assert world.checks.invariant(run).error_count == 0


def test_a_cancel_while_the_catalog_is_silent_is_answered_and_nothing_is_sent_after(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    world.faults.catalog(hang={"only": "upload"})
    wait_until(lambda: world.sandbox.catalog_status()["concurrent"] >= 2)
    asked_at = time.monotonic()
    with world.servers.client() as client:
        client.cancel(run.job_id, "it is silent")
    assert time.monotonic() - asked_at < 8
    uploads = world.sandbox.catalog_status()["uploads"]
    world.faults.clear()
    world.checks.invariant(run, Job.CANCELLED)
    assert world.sandbox.catalog_status()["uploads"] == uploads
