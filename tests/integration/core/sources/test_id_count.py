"""How well item ids tell rows apart, as the test of a source and a preview say it."""

from __future__ import annotations

import re

import duckdb
import pytest
from pyarrow import parquet
from tests.support.access import AsTester
from tests.support.paths import ROOT

from blade_sandbox.data import sample_tables
from blade_server.app.policies import job_policy, source_policy
from blade_server.core.jobs.preview import Preview, PreviewItems
from blade_server.core.sources import id_count
from blade_server.core.sources.connection_test import try_connection
from blade_server.core.sources.rules import with_defaults
from blade_server.core.sql.item_id_sql import item_id_sql
from blade_server.core.transform.item_ids import Template
from blade_server.model import ItemIdCount, Overrides


def test_rows_that_share_an_id_and_rows_without_one_are_counted(sources, source) -> None:
    tested = sources.add(source("odd", "odd", table="odd"))
    assert tested.item_ids == ItemIdCount(
        rows=7,
        missing=1,
        duplicates=1,
        message="1 of 7 rows share their id with another, which alone becomes an item: choose columns that tell rows "
        "apart; 1 of 7 rows have no id, because a column of it is null or blank",
    )
    assert sources.test("odd").item_ids == tested.item_ids


def test_large_counts_are_written_for_people(sources, source) -> None:
    tested = sources.add(source(item_id="{priority}"), validate_only=True)
    assert tested.item_ids.message.startswith("2,997 of 3,000 rows share their id with another")


def test_ids_that_tell_all_rows_apart_are_said_to(sources, source) -> None:
    assert (
        sources.add(source(item_id="{tail_number}-{cost}")).item_ids.message == "3,000 rows, each with an id of its own"
    )
    assert sources.add(source("empty", "none", table="empty")).item_ids.message == "there are no rows"


def test_a_failed_test_counts_nothing(settings, source) -> None:
    tested = try_connection(source_policy(settings), with_defaults(source(table="nowhere")))
    assert tested.item_ids is None


def test_a_count_that_takes_too_long_is_given_up_and_said(sources, source, sandbox, monkeypatch) -> None:
    monkeypatch.setattr(id_count, "COUNT_TIMEOUT_S", 0.05)
    sources.add(source())
    sandbox.set_faults(slow_execute_ms=200)
    tested = sources.test("blade-maintenance")
    assert [step.outcome for step in tested.steps] == ["PASSED"] * 7
    assert tested.item_ids == ItemIdCount(message="the ids could not be counted within 0.05 s")


@pytest.fixture
def preview(settings, sources, stored) -> AsTester:
    return AsTester(PreviewItems(job_policy(settings).direct, sources))


def test_a_preview_counts_all_rows_of_the_query_and_by_the_jobs_own_ids(preview) -> None:
    sql = "SELECT priority, COUNT(*) AS n FROM maintenance GROUP BY ALL"
    options = {"item_id": "{priority}", "classification": "UNCLASS"}
    rows, counted = preview(Preview(sql=sql, limit=1, overrides=Overrides(**options)))
    assert (len(rows.items), counted.rows, counted.duplicates) == (1, 3, 0)
    _, counted = preview(Preview(source="blade-maintenance", overrides=Overrides(item_id="{priority}")))
    assert (counted.rows, counted.duplicates) == (3000, 2997)


@pytest.mark.parametrize("kind", ["maintenance", "sortie"])
def test_the_templates_of_the_page_tell_the_rows_of_the_sample_tables_apart(kind) -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    templates = {
        "maintenance": re.findall(r'"item_id": "(.+)"', page),
        "sortie": re.findall(r"--table main.blade.sorties.*\n +--item-id '(.+?)'", page),
    }
    (template,) = templates[kind]
    file = sample_tables()[f"main.blade.blade_{kind}_data"]
    types = {column.name: column.type for column in parquet.read_schema(file)}
    item_id = item_id_sql(Template.parse(template), types).sql("duckdb")
    ((rows, ids),) = duckdb.sql(f"SELECT COUNT(*), COUNT(DISTINCT {item_id}) FROM '{file}'").fetchall()
    assert rows == ids
