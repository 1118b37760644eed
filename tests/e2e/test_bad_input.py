"""What is wrong is said clearly, changes nothing, and leaves the server serving."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.e2e.conftest import WRONG_TOKEN, Cli

from blade_client import BladeClient
from blade_client.errors import Invalid
from blade_sandbox.data import MAINTENANCE, SORTIE
from blade_sandbox.sandbox import Sandbox

AddSource = Callable[..., str]


@pytest.fixture
def source(add_source: AddSource) -> str:
    return add_source(MAINTENANCE)


@pytest.mark.parametrize(
    ("arguments", "code", "reason", "said"),
    [
        (("query", "nothing-like-it"), 4, "SOURCE_NOT_FOUND", "nothing-like-it"),
        (("source", "show", "nothing-like-it"), 4, "SOURCE_NOT_FOUND", "nothing-like-it"),
        (("job", "show", "job-00000000000000000000"), 4, "JOB_NOT_FOUND", "job-00000000000000000000"),
        (("job", "pause", "job-00000000000000000000"), 4, "JOB_NOT_FOUND", "job-00000000000000000000"),
        (("item", "get", "{source}", "MAINT-0"), 4, "ITEM_NOT_FOUND", "MAINT-0"),
        (("item", "ingest", "{source}", "MAINT-0"), 4, "ITEM_NOT_FOUND", "MAINT-0"),
        (("job", "start", "DELETE FROM `{source}`", "--source", "{source}"), 3, "INVALID_SQL", "SELECT"),
        (("job", "start", "SELECT 1; SELECT 2", "--source", "{source}"), 3, "INVALID_SQL", "one"),
        (("job", "start", "SELEC * FRM x", "--source", "{source}"), 3, "INVALID_SQL", ""),
        (("query", "{source}", "--limit", "0"), 3, "INVALID_FIELD", "limit"),
        (("query", "{source}", "--limit", "-1"), 3, "INVALID_FIELD", "limit"),
        (("query", "{source}", "--limit", "1000000001"), 3, "INVALID_FIELD", "limit"),
        (("query", "{source}", "--filter", "priority = 'HIGH') OR (1=1"), 3, None, "filter"),
        (("query", "{source}", "--filter", "no_such_column = 1"), None, None, "no_such_column"),
        (("job", "start", "--source", "{source}", "--batch-size", "0"), 3, "INVALID_FIELD", "batch_size"),
    ],
)  # fmt: skip
def test_a_wrong_call_names_what_is_wrong(
    blade: Cli, source: str, arguments: tuple[str, ...], code: int | None, reason: str | None, said: str
) -> None:
    ended = blade(*(each.format(source=source) for each in arguments), "--json", code=code)
    assert ended.code != 0
    assert reason in (None, ended.error["reason"])
    everything = ended.error["message"] + str(ended.error["violations"])
    assert said in everything
    assert blade("source", "test", source).code == 0


def test_a_filter_of_a_megabyte_is_refused(blade: Cli, source: str) -> None:
    # More than one argument of a command line may hold: it goes in by way of the library.
    with BladeClient(blade.server) as client, pytest.raises(Invalid, match="filter") as caught:
        list(client.query(source, filter="priority = '" + "x" * 1_000_000 + "'"))
    assert len(caught.value.message) < 2_000


def test_bytes_that_are_no_utf8_are_wrong_usage(blade: Cli, source: str) -> None:
    ended = blade("query", source, "--filter", b"priority = '\xff\xfe'", code=2)
    assert "UTF-8" in ended.err


def test_a_template_with_an_absent_column_is_not_stored(blade: Cli) -> None:
    ended = blade(
        "source", "add", "--name", "absent-column", "--data-type", "absent", "--table", MAINTENANCE,
        "--item-id", "X-{no_such_column}", "--json", code=5,
    )  # fmt: skip
    failed = [step for step in ended.error["steps"] if step["outcome"] == "FAILED"]
    assert [step["kind"] for step in failed] == ["COLUMNS"]
    assert "no_such_column" in failed[0]["message"]
    blade("source", "show", "absent-column", code=4)


def test_an_item_id_that_matches_two_rows_is_ambiguous(blade: Cli, add_source: AddSource) -> None:
    source = add_source(SORTIE, "--item-id", "carrier")
    assert blade("item", "get", source, "UA", "--json", code=5).error["reason"] == "ITEM_AMBIGUOUS"


def test_a_wrong_token_is_seen_when_the_source_is_added(blade: Cli, world: Sandbox) -> None:
    ended = blade(
        "source", "add", "--name", "wrong-token", "--data-type", "wrong", "--table", MAINTENANCE,
        "--host", world.warehouse_url, "--credentials", WRONG_TOKEN, "--json", code=5,
    )  # fmt: skip
    assert ended.error["metadata"]["step"] == "AUTHENTICATE"
    assert "not-the-token" not in ended.out + ended.err
    blade("source", "show", "wrong-token", code=4)


def test_a_table_that_is_not_there_is_seen_when_the_source_is_added(blade: Cli) -> None:
    ended = blade(
        "source", "add", "--name", "no-table", "--data-type", "none", "--table", "main.blade.no_such_table",
        "--json", code=5,
    )  # fmt: skip
    assert ended.error["metadata"]["step"] == "TABLE"


@pytest.mark.slow
def test_a_dead_warehouse_and_a_dead_catalog_are_said_to_be_away(make_world: Callable[..., Sandbox]) -> None:
    world = make_world(settings={"BLADE_RETRY_BASE_S": "0.1"})
    blade = Cli(world.target)
    blade("source", "add", "--name", "m", "--data-type", "m", "--table", MAINTENANCE)
    world.catalog.kill()
    assert blade("item", "ingest", "m", "MAINT-1", "--json", code=6).error["reason"] == "CATALOG_UNAVAILABLE"
    world.launch_catalog()
    world.catalog.wait_ready()
    world.warehouse.kill()
    assert blade("item", "get", "m", "MAINT-1", "--json", code=6).error["reason"] == "WAREHOUSE_UNAVAILABLE"
    assert blade("source", "test", "m", code=5)
    world.launch_warehouse()
    world.warehouse.wait_ready()
    blade("item", "ingest", "m", "MAINT-1")
    world.stop()


def test_a_server_that_is_not_there_is_said_to_be_away() -> None:
    assert "blade serve" in Cli("127.0.0.1:1")("source", "list", "--timeout", "2", code=6).err
