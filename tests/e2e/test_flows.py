"""The flows of the customer's description, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from tests.e2e.conftest import Cli
from tests.support.access import HEADERS

from blade_sandbox.check import Expected, check
from blade_sandbox.data import DEPLOYMENT, LOGISTICS, MAINTENANCE, SORTIE
from blade_sandbox.sandbox import TOKEN, Sandbox

AddSource = Callable[..., str]


def in_catalog(world: Sandbox, data_type: str, item_id: str) -> Any:
    path = f"/v1/items/{quote(f'BLADE:{data_type}', safe='')}/{quote(item_id, safe='')}"
    answer = requests.get(world.catalog_url + path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    return answer.json() if answer.ok else None


@pytest.fixture
def nothing_of_the_customers(blade: Cli) -> Iterator[None]:
    """The source that the customer's description names is gone after the test, however that ends."""
    yield
    blade("source", "remove", "blade-maintenance", code=None)


@pytest.mark.usefixtures("nothing_of_the_customers")
def test_the_configuration_of_the_customers_description_is_taken_as_it_stands(blade: Cli, tmp_path: Path) -> None:
    written = {
        "name": "blade-maintenance",
        "displayName": "BLADE Maintenance Data",
        "dataType": "maintenance",
        "enabled": True,
        "config": {
            "catalog": "main",
            "schema": "blade",
            "table": "blade_maintenance_data",
            "warehouse_id": "test-warehouse",
        },
    }
    file = tmp_path / "source.json"
    file.write_text(json.dumps(written))
    added = blade("source", "add", str(file), "--json").json
    assert [step["outcome"] for step in added["steps"]] == ["PASSED"] * 7
    shown = blade("source", "show", "blade-maintenance", "--json").json
    assert shown["displayName"] == "BLADE Maintenance Data"
    assert shown["config"]["warehouseId"] == "test-warehouse"
    assert "blade-maintenance" in blade("source", "list").out
    blade("source", "remove", "blade-maintenance")
    assert "blade-maintenance" not in blade("source", "list").out


def test_a_query_streams_transformed_items_in_the_order_asked_for(blade: Cli, add_source: AddSource) -> None:
    source = add_source(SORTIE)
    found = blade(
        "query", source, "--filter", "origin = :o AND dep_delay > :d", "--param", "o=JFK", "--param", "d=600",
        "--order-by", "dep_delay desc", "--limit", "3", "--json",
    ).json  # fmt: skip
    delays = [item["data"]["dep_delay"] for item in found["items"]]
    assert len(delays) == 3
    assert delays == sorted(delays, reverse=True)
    assert {item["data"]["origin"] for item in found["items"]} == {"JFK"}
    assert {item["classification"] for item in found["items"]} == {"UNCLASS"}


def test_an_item_is_created_then_found_then_replaced_on_demand(
    blade: Cli, world: Sandbox, add_source: AddSource
) -> None:
    source = add_source(MAINTENANCE)
    assert in_catalog(world, source, "MAINT-123") is None
    outcomes = [
        blade("item", "ingest", source, "MAINT-123", *options, "--json").json["outcome"]
        for options in ((), (), ("--replace",))
    ]
    assert outcomes == ["CREATED", "ALREADY_EXISTS", "REPLACED"]
    row = blade("item", "get", source, "MAINT-123", "--json").json
    stored = in_catalog(world, source, "MAINT-123")
    assert stored["itemId"] == "MAINT-123"
    assert stored["data"] == row["data"]
    assert blade("source", "show", source, "--json").json["stats"]["itemCount"] == 2


def test_a_job_brings_exactly_the_rows_of_its_query_into_the_catalog(
    blade: Cli, world: Sandbox, add_source: AddSource
) -> None:
    source = add_source(MAINTENANCE)
    started = blade("job", "start", f"SELECT * FROM `{source}` WHERE priority = 'HIGH'", "--watch")
    assert "COMPLETED" in started.out
    found = check(
        world,
        f"SELECT * FROM {MAINTENANCE} WHERE priority = 'HIGH' ORDER BY item_id",
        Expected(data_type=source),
    )
    assert found.clean, found
    assert found.rows > 500


def test_every_value_of_every_sample_table_arrives_as_it_is(blade: Cli, world: Sandbox, add_source: AddSource) -> None:
    for table in (MAINTENANCE, DEPLOYMENT, LOGISTICS):
        source = add_source(table)
        blade("job", "start", "--source", source, "--watch")
        found = check(world, f"SELECT * FROM {table} ORDER BY item_id", Expected(data_type=source))
        assert found.clean, (table, found)


def test_a_job_shows_its_progress_as_the_customers_json(blade: Cli, add_source: AddSource) -> None:
    source = add_source(LOGISTICS)
    job_id = blade("job", "start", "--source", source, "--json").json["jobId"]
    blade("job", "watch", job_id)
    shown = blade("job", "show", job_id, "--json").json
    assert shown["status"] == "COMPLETED"
    assert (shown["totalItems"], shown["processedItems"], shown["successCount"], shown["errorCount"]) == (
        2000,
        2000,
        2000,
        0,
    )
    assert job_id in blade("job", "list", "--source", source).out


def test_a_job_can_be_paused_resumed_and_cancelled(
    blade: Cli, world: Sandbox, add_source: AddSource, wait_until: Callable[..., None]
) -> None:
    source = add_source(MAINTENANCE)
    start = ("job", "start", "--source", source, "--items-per-second", "300", "--json")
    job_id = blade(*start).json["jobId"]

    def job() -> Any:
        return blade("job", "show", job_id, "--json").json

    wait_until(lambda: job()["processedItems"] > 0)
    blade("job", "pause", job_id, "--reason", "lunch")
    wait_until(lambda: job()["status"] == "PAUSED")
    paused_at = job()["processedItems"]
    assert 0 < paused_at < 5000
    blade("job", "resume", job_id)
    wait_until(lambda: job()["processedItems"] > paused_at)
    blade("job", "cancel", job_id)
    assert blade("job", "watch", job_id, code=1).out.count("CANCELLED") >= 1
    assert any(event.get("reason") == "lunch" for event in job()["history"])
    stored = requests.get(
        f"{world.catalog_url}/v1/items:count?dataSource=BLADE:{source}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=60,
    ).json()
    assert stored["items"] == job()["successCount"] < 5000


def test_rows_that_share_an_item_id_are_errors_and_never_overwrite_each_other(
    blade: Cli, add_source: AddSource
) -> None:
    source = add_source(MAINTENANCE, "--item-id", "MAINT-{tail_number}-{due_date:%Y}")
    job_id = blade("job", "start", "--source", source, "--json").json["jobId"]
    blade("job", "watch", job_id, code=8)
    job = blade("job", "show", job_id, "--json").json
    assert job["successCount"] + job["errorCount"] == 5000
    assert job["errorCount"] > 1000
    assert {summary["reason"] for summary in job["errorSummaries"]} == {"ERROR_REASON_DUPLICATE_ITEM_ID"}


def test_the_same_request_id_starts_one_job(blade: Cli, add_source: AddSource) -> None:
    source = add_source(DEPLOYMENT)
    start = ("job", "start", "--source", source, "--request-id", f"once-{source}", "--json")
    assert blade(*start).json["jobId"] == blade(*start).json["jobId"]
    other = blade(*start, "--batch-size", "7", code=3)
    assert other.error["reason"] == "REQUEST_ID_REUSED"


def test_a_job_over_rest_has_ids_and_times_of_its_own(world: Sandbox, add_source: AddSource) -> None:
    name = add_source("main.blade.blade_sortie_data")
    sql = f"SELECT origin, COUNT(*) AS flights FROM `{name}` GROUP BY origin"
    body = {"sql": sql, "item_id": "{origin}", "lastModified": "", "classification": "UNCLASS"}
    preview = requests.post(f"{world.http_url}/jobs/blade/query/preview", json=body, headers=HEADERS, timeout=60).json()
    assert {item["itemId"] for item in preview["items"]} == {"EWR", "JFK", "LGA"}
    assert preview["itemIds"] == {
        "rowCount": 3,
        "missingCount": 0,
        "duplicateCount": 0,
        "message": "3 rows, each with an id of its own",
    }
    job = requests.post(f"{world.http_url}/jobs/blade/query/start", json=body, headers=HEADERS, timeout=60).json()
    assert (job["spec"]["itemId"], job["spec"]["lastModified"]) == ("{origin}", "")
    tested = requests.post(f"{world.http_url}/configure/blade/{name}:test", headers=HEADERS, timeout=60).json()
    assert tested["itemIds"]["message"] == "336,776 rows, each with an id of its own"


def test_an_update_tells_the_count_of_item_ids_that_it_made(blade: Cli, world: Sandbox, add_source: AddSource) -> None:
    name = add_source(DEPLOYMENT)
    updated = blade("source", "update", name, "--classification", "UNCLASS", "--json").json
    tested = blade("source", "test", name, "--json").json
    assert (updated["name"], updated["itemIds"]) == (name, tested["itemIds"])
    assert "itemIds" not in blade("source", "update", name, "--display-name", "Other", "--json").json
    url = f"{world.http_url}/configure/blade/{name}"
    patched = requests.patch(
        url, json={"mapping": {"classification": {"value": "CUI"}}}, headers=HEADERS, timeout=60
    ).json()
    assert patched["name"] == name, "REST answers with the source, as it does to an add"
    assert requests.post(f"{url}:test", headers=HEADERS, timeout=60).json()["itemIds"] == tested["itemIds"]
