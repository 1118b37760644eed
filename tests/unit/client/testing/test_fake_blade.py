"""What a test of somebody else's code can do with the fake. That it acts as the service does is tested in e2e."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from click.testing import CliRunner

from blade.v1.ingest_service_pb2 import IngestItemResponse
from blade.v1.job_pb2 import Job, JobEvent
from blade.v1.job_service_pb2 import StartQueryJobRequest
from blade.v1.job_service_pb2_grpc import JobServiceStub
from blade.v1.source_pb2 import Source, SourceConfig
from blade_client import BladeClient, errors
from blade_client.cli import main
from blade_client.testing import FakeBlade

CONFIG = SourceConfig(catalog="main", schema="blade", table="parts")


@pytest.fixture
def fake() -> Iterator[FakeBlade]:
    with FakeBlade() as fake:
        fake.add_source("parts", data_type="maintenance")
        fake.add_items("parts", {f"P-{number}": {"number": number} for number in range(250)})
        yield fake


@pytest.fixture
def held() -> Iterator[FakeBlade]:
    with FakeBlade(advancing=False) as held:
        held.add_source("parts", data_type="maintenance")
        held.add_items("parts", {f"P-{number}": {"number": number} for number in range(250)})
        yield held


# --------------------------------------------------------------------------------------------------------- jobs


def test_a_job_is_seen_in_every_state_on_its_way_and_fills_the_catalog(fake) -> None:
    blade = fake.client()
    job = blade.start_query_job(source="parts")
    seen = [(job.status, job.processed_items, job.current_operation) for job in blade.watch_job(job.job_id)]
    assert seen == [
        (Job.PENDING, 0, "Waiting to start"),
        (Job.RUNNING, 0, "Starting the query"),
        (Job.RUNNING, 100, "Processing batch 1/3"),
        (Job.RUNNING, 200, "Processing batch 2/3"),
        (Job.COMPLETED, 250, "Completed"),
    ]
    assert set(fake.catalog("maintenance")) == {f"P-{number}" for number in range(250)}
    assert fake.catalog("maintenance")["P-7"].metadata["job"] == job.job_id
    stats = blade.get_source("parts").stats
    assert (stats.item_count, stats.last_job_id) == (250, job.job_id)


def test_a_loop_that_asks_until_a_job_is_final_ends(fake) -> None:
    blade = fake.client()
    started = blade.start_query_job(source="parts")
    asked = 0
    while blade.get_job(started.job_id).status != Job.COMPLETED:
        asked += 1
    assert asked == 4
    blade.start_query_job(source="parts")
    while next(blade.list_jobs()).status != Job.COMPLETED:
        pass


def test_refused_items_and_rejected_rows_are_errors_of_the_job_and_can_be_retried(fake) -> None:
    fake.refuse("P-3", message="422 unknown tail number")
    fake.add_rejected_row("parts", {"number": None}, "MISSING_ITEM_ID", "number is null", field="number")
    blade = fake.client()
    job = blade.wait(blade.start_query_job(source="parts").job_id)
    assert (job.status, job.success_count, job.error_count) == (Job.COMPLETED, 249, 2)
    assert job.completed_with_errors
    assert [job.job_id for job in blade.list_jobs(with_errors=True)] == [job.job_id]
    wrong = [(error.item_id, error.message, error.row_json) for error in blade.item_errors(job.job_id)]
    assert wrong == [("P-3", "422 unknown tail number", '{"number": 3}'), ("", "number is null", '{"number": null}')]
    fake.accept("P-3")
    again = blade.wait(blade.retry_failed(job.job_id).job_id)
    assert (again.parent_job_id, again.success_count, again.error_count) == (job.job_id, 1, 1)
    assert "P-3" in fake.catalog("maintenance")


def test_a_held_job_goes_as_far_as_the_test_says(held) -> None:
    blade = held.client()
    job_id = blade.start_query_job(source="parts").job_id
    assert blade.get_job(job_id).status == blade.get_job(job_id).status == Job.PENDING
    with pytest.raises(errors.Precondition, match="PENDING"):
        blade.pause(job_id)
    assert held.advance(job_id, 0).status == Job.RUNNING
    assert held.advance(job_id, 30).processed_items == 30
    assert blade.pause(job_id, "lunch").status == Job.PAUSED
    with pytest.raises(ValueError, match="PAUSED"):
        held.advance(job_id)
    blade.resume(job_id)
    assert held.advance(job_id).status == Job.COMPLETED
    paused = [event for event in blade.get_job(job_id).history if event.kind == JobEvent.PAUSE_REQUESTED]
    assert [event.reason for event in paused] == ["lunch"]


def test_a_watcher_of_a_held_job_hears_of_each_step_at_once(held) -> None:
    blade = held.client()
    job_id = blade.start_query_job(source="parts").job_id
    seen: list[int] = []
    heard = threading.Event()

    def watch() -> None:
        for job in blade.watch_job(job_id):
            seen.append(job.processed_items)
            heard.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    for rows in (10, 20):
        assert heard.wait(10)
        heard.clear()
        held.advance(job_id, rows)
    assert heard.wait(10)
    held.fail_job(job_id, "WAREHOUSE_UNAVAILABLE", "the warehouse is away")
    watcher.join(10)
    assert (seen[0], seen[-1]) == (0, 30)
    assert blade.get_job(job_id).error.message == "the warehouse is away"


def test_a_job_ends_by_its_limits_and_skips_what_is_there(fake) -> None:
    blade = fake.client()
    fake.refuse("P-1")
    failed = blade.wait(blade.start_query_job(source="parts", max_errors=0).job_id)
    assert (failed.status, failed.processed_items) == (Job.FAILED, 100)
    skipping = blade.wait(blade.start_query_job(source="parts", skip_existing=True).job_id)
    assert (skipping.skipped_count, skipping.success_count, skipping.error_count) == (99, 150, 1)


def test_a_job_over_sql_takes_the_rows_that_the_test_says_it_means(fake) -> None:
    blade = fake.client()
    with pytest.raises(errors.Invalid, match=r"fake\.means"):
        blade.start_query_job("SELECT * FROM maintenance WHERE number < 5")
    fake.means("number < 5", lambda row, parameters: row["number"] < 5)
    job = blade.wait(blade.start_query_job("SELECT * FROM maintenance WHERE number  < 5;").job_id)
    assert (job.total_items, set(fake.catalog("maintenance"))) == (5, {f"P-{number}" for number in range(5)})


# ------------------------------------------------------------------------------------------------- rows and sources


def test_rows_are_read_as_items_and_as_arrow_in_the_order_and_number_asked_for(fake) -> None:
    blade = fake.client()
    fake.means("number >= :n", lambda row, parameters: row["number"] >= int(parameters["n"]))
    query = blade.query(
        "maintenance", filter="number >= :n", parameters={"n": "240"}, order_by=["number desc"], limit=3
    )
    assert [item.item_id for item in query] == ["P-249", "P-248", "P-247"]
    assert query.to_arrow().to_pydict() == {"number": [249, 248, 247]}
    with pytest.warns(errors.RowsLeftOut):
        assert len(list(blade.query("maintenance"))) == 100
    assert blade.query("maintenance").to_arrow().num_rows == 250


def test_single_items_are_created_found_and_replaced(fake) -> None:
    blade = fake.client()
    outcomes = [blade.ingest_item("maintenance", "P-1", replace=replace).outcome for replace in (False, False, True)]
    response = IngestItemResponse
    assert outcomes == [response.CREATED, response.ALREADY_EXISTS, response.REPLACED]
    fake.refuse("P-2", message="422 no")
    with pytest.raises(errors.Precondition, match="422 no"):
        blade.ingest_item("maintenance", "P-2")


def test_sources_are_added_changed_and_removed(fake) -> None:
    blade = fake.client()
    added = blade.add_source(Source(name="more", data_type="maintenance", config=CONFIG), request_id="1").source
    assert blade.add_source(Source(name="more", data_type="maintenance", config=CONFIG), request_id="1").source == added
    with pytest.raises(errors.Invalid, match="name one of parts, more"):
        blade.query("maintenance").to_arrow()
    changed = blade.update_source(Source(name="more", enabled=False, config=SourceConfig(table="other"), etag="etag-2"))
    assert (changed.enabled, changed.config.table, changed.config.catalog) == (False, "other", "main")
    counted = blade.update_source_response(Source(name="more", mapping={"item_id": "tail"}), fields=["mapping.item_id"])
    assert counted.HasField("item_ids")
    assert not blade.update_source_response(Source(name="more", display_name="M")).HasField("item_ids")
    with pytest.raises(errors.Conflict):
        blade.remove_source("more", etag="etag-2")
    assert [source.name for source in blade.list_sources(page_size=1)] == ["more", "parts"]
    job_id = blade.start_query_job(source="parts").job_id
    with pytest.raises(errors.Precondition) as in_use:
        blade.remove_source("parts")
    assert in_use.value.reason == "SOURCE_IN_USE"
    blade.cancel(job_id)
    blade.remove_source("parts")
    with pytest.raises(errors.Precondition, match="switched off"):
        blade.query("maintenance").to_arrow()


def test_a_broken_source_fails_its_test_and_is_not_stored(fake) -> None:
    blade = fake.client()
    fake.break_source("new", "COLUMNS", "there is no column tail")
    with pytest.raises(errors.ConnectionTestFailed, match="no column tail") as failed:
        blade.add_source(Source(name="new", data_type="x", config=CONFIG))
    assert [step.outcome for step in failed.value.steps] == [1, 1, 1, 1, 1, 2, 3]
    with pytest.raises(errors.NotFound):
        blade.get_source("new")


# --------------------------------------------------------------------------------------------- failures and requests

ERRORS = [
    errors.Invalid("sql: no", reason="INVALID_SQL", violations=[errors.Violation(field="sql", description="no")]),
    errors.NotFound("no", reason="JOB_NOT_FOUND", metadata={"job": "1"}),
    errors.Conflict("no", reason="ETAG_MISMATCH"),
    errors.Denied("no", reason="X"),
    errors.QuotaExceeded("no", reason="QUOTA_EXCEEDED", retry_after_s=2.5),
    errors.Unavailable("no", reason="WAREHOUSE_UNAVAILABLE", retry_after_s=1.0),
    errors.ServerError("no", reason="INTERNAL"),
]


@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
def test_a_call_fails_with_the_error_that_the_test_gives(fake, error) -> None:
    fake.on("GetJob", error)
    with pytest.raises(type(error)) as caught:
        fake.client(attempts=1).get_job("job-1")
    seen = caught.value
    assert (seen.message, seen.reason, seen.metadata) == (error.message, error.reason, error.metadata)
    assert (seen.violations, seen.retry_after_s) == (error.violations, error.retry_after_s)


def test_a_call_that_fails_once_is_made_again_by_the_client(fake) -> None:
    blade = fake.client()
    started = blade.start_query_job(source="parts")
    away = errors.Unavailable("away", reason="STORAGE_UNAVAILABLE")
    fake.on("GetJob", away, fake.service("GetJob"))
    assert blade.get_job(started.job_id).job_id == started.job_id
    assert [request.id for request in fake.asked("GetJob")] == [started.job_id] * 2
    with pytest.raises(ValueError, match="GetJobb"):
        fake.on("GetJobb", away)


def test_a_server_that_goes_away_and_comes_back_is_found_again(held) -> None:
    blade = held.client()
    job_id = blade.start_query_job(source="parts").job_id
    watching = blade.watch_job(job_id)
    assert next(watching).status == Job.PENDING
    held.stop()
    held.start()
    held.advance(job_id)
    assert [job.status for job in watching] == [Job.COMPLETED]


def test_the_command_line_runs_against_it(fake) -> None:
    result = CliRunner().invoke(main, ["--server", fake.target, "job", "start", "--source", "parts", "--watch"])
    assert result.exit_code == 0, result.output
    assert "COMPLETED: 250 items in the catalog" in result.output
    assert fake.metadata["blade-actor"]


def test_a_client_with_options_of_its_own_is_closed_with_the_fake() -> None:
    with FakeBlade() as fake:
        blade: BladeClient = fake.client(actor="anna", timeout_s=5)
        list(blade.list_jobs())
        assert fake.metadata["blade-actor"] == "anna"
    with pytest.raises(RuntimeError, match="closed"):
        blade.get_job("job-1")


def test_limits_are_taken_in_the_form_in_which_a_job_shows_them(fake) -> None:
    with grpc.insecure_channel(fake.target) as channel:
        stub = JobServiceStub(channel)
        request = StartQueryJobRequest(data_type="maintenance", limits={"items_per_second": 7, "max_errors": 3})
        started = stub.StartQueryJob(request).job
        assert (started.spec.limits.items_per_second, started.spec.limits.max_errors) == (7, 3)
        request.max_errors = 4
        with pytest.raises(grpc.RpcError, match=r"limits\.max_errors"):
            stub.StartQueryJob(request)
