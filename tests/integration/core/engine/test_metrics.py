"""What a job leaves in the metrics of its process: each row, byte, request and statement once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.access import called
from tests.support.engine import maintenance_rows
from tests.support.waiting import wait_until

from blade_server.app.policies import source_policy
from blade_server.core.sources.credentials import target
from blade_server.errors import StatementCancelled, WarehouseRefused
from blade_server.metrics.families import CATALOG_UP, REGISTRY, WAREHOUSE_UP
from blade_server.model import Status
from blade_server.warehouse import Warehouse

SOURCE = "blade-maintenance"


class Since:
    """What was added to the metrics of this process since it was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def __call__(self, name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return self._now().get(key, 0.0) - self._before.get(key, 0.0)

    @staticmethod
    def _now() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
        }


@pytest.fixture
def since() -> Since:
    return Since()


def test_a_job_is_counted_as_it_was(make_world: Callable, ended: Callable, since: Since) -> None:
    rows = maintenance_rows(300)
    rows["item_id"][250] = rows["item_id"][251] = rows["item_id"][10]
    rows["item_id"][299] = None
    world = make_world(rows)
    world.runner()
    job = ended(world, world.begin(batch_size=50))

    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, 297, 3)
    outcomes = ("success", "duplicate", "error", "skipped")
    assert [since("blade_job_items_total", source=SOURCE, outcome=of) for of in outcomes] == [297, 2, 1, 0]
    assert since("blade_job_rows_read_total", source=SOURCE) == 300
    assert since("blade_jobs_ended_total", source=SOURCE, status="COMPLETED") == 1
    assert since("blade_uploaded_bytes_total", destination="default") == job.bytes_uploaded > 0
    assert since("blade_job_claim_delay_seconds_count") == 1
    assert 0 <= since("blade_job_claim_delay_seconds_sum") < 30
    assert since("blade_upload_batch_items_sum") == 297
    assert since("blade_ledger_write_duration_seconds_count") >= 2
    assert since("blade_upload_retries_total", destination="default", reason="unavailable") == 0
    uploads = since(
        "http_client_request_duration_seconds_count",
        destination="default",
        http_request_method="POST",
        http_response_status_code="201",
    ) + since(
        "http_client_request_duration_seconds_count",
        destination="default",
        http_request_method="POST",
        http_response_status_code="200",
    )
    assert uploads == since("blade_upload_batch_items_count") >= 6
    assert CATALOG_UP.well("default") is True
    assert WAREHOUSE_UP.well() is True
    # The count of the rows and the rows, both read to their end.
    statements = since("blade_warehouse_statements_total", source=SOURCE, outcome="ok")
    assert statements == since("blade_warehouse_statement_duration_seconds_count", source=SOURCE) >= 2
    assert since("blade_warehouse_rows_total", source=SOURCE) >= 300
    assert since("blade_warehouse_bytes_total", source=SOURCE) > 300 * 10


def test_a_catalog_that_asks_to_slow_down_and_then_fails_is_seen(
    make_world: Callable, ended: Callable, since: Since
) -> None:
    world = make_world(20)
    world.catalog.set_faults(status={"code": 429, "count": 1})
    world.runner()
    job = ended(world, world.begin())
    assert job.status is Status.COMPLETED
    assert since("blade_upload_throttles_total", destination="default") >= 1
    assert since("blade_upload_retries_total", destination="default", reason="throttled") >= 1
    assert since("blade_job_wait_seconds_total", wait_reason="CATALOG_THROTTLED") > 0.2


def test_a_catalog_that_is_away_and_a_job_that_is_cancelled_are_seen(
    make_world: Callable, ended: Callable, since: Since
) -> None:
    world = make_world(100)
    first = world.begin()
    world.cancel(first.job_id, by=called())
    world.cancel(first.job_id, by=called())
    assert since("blade_jobs_ended_total", source=SOURCE, status="CANCELLED") == 1
    world.catalog.stop()
    world.runner()
    second = world.begin()
    wait_until(lambda: since("blade_upload_retries_total", destination="default", reason="unavailable") >= 1)
    assert CATALOG_UP.well("default") is False
    assert since(
        "http_client_request_duration_seconds_count",
        destination="default",
        http_request_method="POST",
        http_response_status_code="0",
    ) + since(
        "http_client_request_duration_seconds_count",
        destination="default",
        http_request_method="GET",
        http_response_status_code="0",
    )
    world.cancel(second.job_id, by=called())
    ended(world, second)
    assert since("blade_jobs_ended_total", source=SOURCE, status="CANCELLED") == 2


def test_a_statement_that_is_refused_and_one_that_is_cancelled_are_told_apart(
    make_world: Callable, since: Since
) -> None:
    world = make_world(5)
    where = target(source_policy(world.settings).warehouse, world.add_source("other", data_type="other").config)
    with Warehouse(where, "other") as warehouse:
        with pytest.raises(WarehouseRefused):
            warehouse.execute("SELECT nothing FROM nowhere")
        warehouse.cancel()
        with pytest.raises(StatementCancelled):
            warehouse.execute("SELECT 1")
        list(warehouse.execute("SELECT 1"))
        left = warehouse.execute("SELECT * FROM main.blade.blade_maintenance_data")
        left.close()
    outcomes = ("ok", "error", "cancelled")
    assert [since("blade_warehouse_statements_total", source="other", outcome=of) for of in outcomes] == [2, 1, 0]
    assert WAREHOUSE_UP.well() is True
