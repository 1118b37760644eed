from __future__ import annotations

import json

import grpc
import pytest

from blade.v1 import config_service_pb2 as config
from blade.v1.cost_pb2 import ListSourceCostsResponse, SourceCost
from blade.v1.source_pb2 import Source
from blade.v1.source_pb2 import TestStep as Step

CUSTOMER = {
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
STORED = Source(
    name="blade-maintenance",
    display_name="BLADE Maintenance Data",
    data_type="maintenance",
    enabled=True,
    config={"catalog": "main", "schema": "blade", "table": "blade_maintenance_data", "warehouse_id": "test-warehouse"},
)
STEPS = [
    Step(kind="RESOLVE", outcome="PASSED", message="127.0.0.1", duration_ms=3.4),
    Step(kind="FETCH_ONE_ROW", outcome="PASSED", message="one row", duration_ms=1234.4),
]


@pytest.mark.parametrize("spelling", ["warehouse_id", "warehouseId"])
@pytest.mark.parametrize("by_stdin", [True, False])
def test_the_customers_form_is_added_from_a_file_or_stdin(server, run, tmp_path, spelling, by_stdin) -> None:
    server.on("AddSource", config.AddSourceResponse(source=STORED, steps=STEPS))
    form = {**CUSTOMER, "config": {**CUSTOMER["config"]}}
    form["config"][spelling] = form["config"].pop("warehouse_id")
    text = json.dumps(form)
    (tmp_path / "source.json").write_text(text)
    result = run("source", "add", "-", stdin=text) if by_stdin else run("source", "add", str(tmp_path / "source.json"))
    assert result.exit_code == 0, result.output
    assert server.asked("AddSource")[0].source == STORED


def test_adding_shows_the_steps_as_a_checklist_with_durations(server, run) -> None:
    server.on("AddSource", config.AddSourceResponse(source=STORED, steps=STEPS))
    result = run("source", "add", "-", stdin=json.dumps(CUSTOMER))
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["✓", "resolve", "3", "ms", "127.0.0.1"]
    assert lines[2].split() == ["✓", "fetch", "one", "row", "1,234", "ms", "one", "row"]
    assert lines[3] == "Source blade-maintenance was added."


def test_adding_says_what_was_taken_by_default_and_how_well_the_ids_tell_rows_apart(server, run) -> None:
    stored = Source(mapping={"item_id": "item_id", "last_modified": "last_modified"})
    stored.MergeFrom(STORED)
    stored.mapping.classification.column = "classification"
    item_ids = {
        "row_count": 5000,
        "duplicate_count": 2428,
        "message": "2,428 of 5,000 rows share their id with another",
    }
    server.on("AddSource", config.AddSourceResponse(source=stored, steps=STEPS, item_ids=item_ids))
    lines = run("source", "add", "-", stdin=json.dumps(CUSTOMER)).stdout.splitlines()
    assert lines[3] == "Item ids  2,428 of 5,000 rows share their id with another"
    assert lines[4] == (
        "By default  item id from column item_id, time of the last change from column last_modified "
        "(--no-last-modified for none), classification from column classification"
    )
    options = ["--item-id", "x", "--no-last-modified", "--classification", "UNCLASS"]
    assert "By default" not in run("source", "add", "-", *options, stdin=json.dumps(CUSTOMER)).stdout
    sent = server.asked("AddSource")[-1].source.mapping
    assert (sent.HasField("last_modified"), sent.last_modified) == (True, "")


def test_options_make_the_same_source(server, run) -> None:
    server.on("AddSource", config.AddSourceResponse(source=STORED, steps=STEPS))
    result = run(
        *["source", "add", "--name", "s", "--data-type", "d", "--display-name", "D", "--disabled"],
        *[
            "--table",
            "main.`odd.``schema`.t",
            "--warehouse-id",
            "w",
            "--host",
            "h",
            "--credentials",
            "env:BLADE_SECRET_X",
        ],
        *["--items-per-second", "5.5", "--max-running-jobs", "2", "--item-id", "M-{a}", "--last-modified", "m"],
        *["--classification-column", "c", "--min-classification", "CUI", "--metadata", "k=v=w", "--metadata", "e="],
        *["--mask", "pay", "--mask", "odd `name"],
        "--validate-only",
    )
    assert result.exit_code == 0, result.output
    (request,) = server.asked("AddSource")
    assert request.validate_only
    assert request.source == Source(
        name="s",
        data_type="d",
        display_name="D",
        enabled=False,
        config={
            "catalog": "main",
            "schema": "odd.`schema",
            "table": "t",
            "warehouse_id": "w",
            "host": "h",
            "credentials": "env:BLADE_SECRET_X",
            "items_per_second": 5.5,
            "max_running_jobs": 2,
        },
        mapping={
            "item_id": "M-{a}",
            "last_modified": "m",
            "classification": {"column": "c"},
            "min_classification": "CUI",
            "masked_columns": ["pay", "odd `name"],
            "metadata": {"k": "v=w", "e": ""},
        },
    )
    assert "nothing was stored" in result.stdout


def test_options_stand_over_the_file_and_what_is_not_said_stays_unset(server, run) -> None:
    server.on("AddSource", config.AddSourceResponse(source=STORED))
    run("source", "add", "-", "--name", "other", "--classification", "UNCLASS", stdin=json.dumps(CUSTOMER))
    (request,) = server.asked("AddSource")
    assert request.source.name == "other"
    assert request.source.config.warehouse_id == "test-warehouse"
    assert request.source.mapping.classification.value == "UNCLASS"
    server.requests.clear()
    run("source", "add", "--name", "s", "--table", "a.b.c")
    assert not server.asked("AddSource")[0].source.HasField("enabled")


def test_masks_are_taken_away_by_an_empty_one(server, run) -> None:
    server.on("UpdateSource", config.UpdateSourceResponse(source=STORED))
    run("source", "update", "s", "--mask", "")
    (request,) = server.asked("UpdateSource")
    assert list(request.update_mask.paths) == ["mapping.masked_columns"]
    assert not request.source.mapping.masked_columns


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "JSON"),
        ("[1]", "object"),
        ('{"nmae": "x"}', "nmae"),
        ('{"config": {"tabel": "x"}}', "tabel"),
        ('{"name": 3}', "name"),
        (b'{"name": "\xff"}', "UTF-8"),
    ],
)
def test_a_file_that_is_no_source_is_wrong_usage_and_named(server, run, text, named) -> None:
    result = run("source", "add", "-", stdin=text)
    assert result.exit_code == 2
    assert named in result.stderr
    assert server.requests == []


def test_a_failed_test_shows_the_checklist_and_ends_with_5(server, run) -> None:
    message = "no table main.blade.t; see SHOW TABLES IN main.blade"
    failure = server.fails(grpc.StatusCode.FAILED_PRECONDITION, message, "CONNECTION_TEST_FAILED", step="TABLE")
    server.on("AddSource", failure)
    result = run("source", "add", "-", stdin=json.dumps(CUSTOMER))
    assert result.exit_code == 5
    marks = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    assert marks == ["✓", "✓", "✓", "✓", "✗", "·", "·"]
    assert result.stderr == f"Error: {message}\n"
    result = run("source", "add", "-", "--json", stdin=json.dumps(CUSTOMER))
    assert result.stdout == ""
    assert [step["outcome"] for step in json.loads(result.stderr)["error"]["steps"]][4:] == [
        "FAILED",
        "NOT_RUN",
        "NOT_RUN",
    ]


def test_the_stored_source_is_shown_as_table_and_as_protobuf_json(server, run) -> None:
    server.on("GetSource", config.GetSourceResponse(source=STORED))
    shown = run("source", "show", "blade-maintenance")
    assert "main.blade.blade_maintenance_data" in shown.stdout
    shown = json.loads(run("source", "show", "blade-maintenance", "--json").stdout)
    assert shown["config"]["warehouseId"] == "test-warehouse"
    assert shown["config"]["maxRunningJobs"] == 0, "zeros are written out"


def test_sources_of_all_pages_are_listed(server, run) -> None:
    server.on(
        "ListSources",
        config.ListSourcesResponse(sources=[Source(name="alpha")], next_page_token="t"),
        config.ListSourcesResponse(sources=[Source(name="beta", data_type="d", enabled=True)]),
    )
    result = run("source", "list", "--data-type", "d")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["NAME", "alpha", "beta"]
    assert server.asked("ListSources")[1].page_token == "t"
    assert server.asked("ListSources")[0].data_type == "d"


def test_what_sources_cost_is_listed_with_the_most_expensive_first(server, run) -> None:
    costs = [
        SourceCost(source="gone", cost={"statements": 1, "warehouse_ms": 900, "rows_read": 10, "bytes_read": 999}),
        SourceCost(source="parts", data_type="part", cost={"statements": 1234, "warehouse_ms": 4_000_000}),
    ]
    pages = [
        ListSourceCostsResponse(costs=costs[:1], next_page_token="t"),
        ListSourceCostsResponse(costs=costs[1:]),
    ]
    server.on("ListSourceCosts", *pages, *pages)
    lines = [line.split() for line in run("source", "cost", "--since", "2026-11-03").stdout.splitlines()]
    assert lines[1:] == [
        ["parts", "part", "1", "h", "06", "min", "1,234", "0", "0"],
        ["gone", "(removed)", "0.9", "s", "1", "10", "999"],
    ]
    assert server.asked("ListSourceCosts")[0].since.ToJsonString() == "2026-11-03T00:00:00Z"
    shown = json.loads(run("source", "cost", "--json").stdout)["costs"]
    assert [(each["source"], each["cost"]["warehouseMs"]) for each in shown] == [("parts", 4_000_000), ("gone", 900)]
    assert not server.asked("ListSourceCosts")[2].HasField("since")


def test_no_sources_is_said_on_stderr(server, run) -> None:
    server.on("ListSources", config.ListSourcesResponse())
    result = run("source", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "blade source add" in result.stderr


def test_an_update_masks_the_fields_that_options_name(server, run) -> None:
    server.on("UpdateSource", config.UpdateSourceResponse(source=STORED))
    result = run(
        *["source", "update", "s", "--disabled", "--items-per-second", "0", "--classification", "CUI", "--etag", "e1"]
    )
    assert result.exit_code == 0, result.output
    (request,) = server.asked("UpdateSource")
    assert list(request.update_mask.paths) == ["config.items_per_second", "enabled", "mapping.classification"]
    assert (request.source.name, request.source.etag) == ("s", "e1")
    assert request.source.enabled is False


def test_an_update_from_a_file_masks_what_the_file_sets_and_nothing_else(server, run) -> None:
    server.on("UpdateSource", config.UpdateSourceResponse(source=STORED))
    form = {
        "name": "ignored",
        "etag": "e2",
        "stats": {"itemCount": 5},
        "createTime": "2024-01-10T15:30:00Z",
        "displayName": "",
        "config": {"warehouse_id": "w2", "itemsPerSecond": 0},
        "mapping": {"metadata": {"a": "b"}},
    }
    result = run("source", "update", "s", "-", stdin=json.dumps(form))
    assert result.exit_code == 0, result.output
    (request,) = server.asked("UpdateSource")
    assert list(request.update_mask.paths) == [
        "config.items_per_second",
        "config.warehouse_id",
        "display_name",
        "mapping.metadata",
    ]
    assert (request.source.name, request.source.etag) == ("s", "e2")


def test_an_update_says_how_well_the_ids_tell_rows_apart_if_they_were_counted(server, run) -> None:
    item_ids = {"row_count": 5, "duplicate_count": 2, "message": "2 of 5 rows share their id with another"}
    server.on("UpdateSource", config.UpdateSourceResponse(source=STORED, item_ids=item_ids))
    shown = run("source", "update", "s", "--item-id", "x").stdout.splitlines()
    assert shown[-1] == "Item ids  2 of 5 rows share their id with another"
    shown = json.loads(run("source", "update", "s", "--item-id", "x", "--json").stdout)
    assert (shown["name"], shown["itemIds"]["duplicateCount"]) == ("blade-maintenance", 2)
    server.on("UpdateSource", config.UpdateSourceResponse(source=STORED))
    assert "Item ids" not in run("source", "update", "s", "--disabled").stdout
    assert "itemIds" not in json.loads(run("source", "update", "s", "--disabled", "--json").stdout)


def test_an_update_of_nothing_is_wrong_usage(server, run) -> None:
    assert run("source", "update", "s").exit_code == 2
    assert server.requests == []


@pytest.mark.parametrize(("passed", "exit_code"), [(True, 0), (False, 5)])
def test_testing_a_source_ends_with_0_or_5(server, run, passed, exit_code) -> None:
    server.on("TestSource", config.TestSourceResponse(passed=passed, steps=STEPS))
    assert run("source", "test", "s").exit_code == exit_code
    result = run("source", "test", "s", "--json")
    assert result.exit_code == exit_code
    assert json.loads(result.stdout)["passed"] is passed


def test_testing_a_source_says_how_well_the_ids_tell_rows_apart(server, run) -> None:
    item_ids = {"message": "the ids could not be counted within 10 s"}
    server.on("TestSource", config.TestSourceResponse(passed=True, steps=STEPS, item_ids=item_ids))
    assert run("source", "test", "s").stdout.splitlines()[-1] == "Item ids  the ids could not be counted within 10 s"


def test_a_source_is_removed(server, run) -> None:
    server.on("RemoveSource", config.RemoveSourceResponse())
    result = run("source", "remove", "s", "--etag", "e")
    assert (result.exit_code, result.stdout) == (0, "Source s was removed.\n")
    assert server.asked("RemoveSource")[0].etag == "e"
