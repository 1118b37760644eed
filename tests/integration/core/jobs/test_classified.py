"""Who may say what of the classification of items: nobody below EDITOR lowers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from tests.support.access import called_by
from tests.support.engine import EngineWorld, maintenance_rows

from blade_server.core.jobs.preview import Preview
from blade_server.core.jobs.start import StartJob
from blade_server.errors import Invalid, Reason
from blade_server.model import Classification, Job, JobSpec, Overrides, RowMapping, Source, SourceConfig
from blade_server.model.access import Caller, Role
from blade_server.storage.engine.leases import LEVEL

MARKINGS = ["UNCLASS", "CUI", "SECRET"]


@pytest.fixture
def world(tmp_path: Path, postgres_url: str) -> Iterator[EngineWorld]:
    """`marked`: classified by its column. `fixed`: CUI. `least`: by its column, CUI at least. One table."""
    world = EngineWorld(tmp_path, postgres_url)
    world.start(maintenance_rows(3) | {"classification": MARKINGS})
    for name, classification, least in (
        ("marked", Classification(column="classification"), ""),
        ("fixed", Classification(value="CUI"), ""),
        ("least", Classification(column="classification"), "CUI"),
    ):
        config = SourceConfig(catalog="main", schema="blade", table="blade_maintenance_data")
        mapping = RowMapping(item_id="item_id", classification=classification, min_classification=least)
        world.store_source(
            Source(name=name, display_name="", data_type=name, enabled=True, config=config, mapping=mapping)
        )
    yield world
    world.close()


def by(role: Role, *more: tuple[Role, str], needs: Role = Role.OPERATOR) -> Caller:
    return called_by("ada", needs, (role, "source:marked"), (role, "source:fixed"), (role, "source:least"), *more)


OPERATOR, EDITOR = by(Role.OPERATOR), by(Role.EDITOR)


def previewed(world: EngineWorld, caller: Caller, source: str, sql: str = "", classification: str = "") -> list[str]:
    overrides = Overrides(classification=classification)
    rows, _ = world.jobs.preview(
        Preview(sql=sql or f"SELECT * FROM {source}", source=source, overrides=overrides), by=caller
    )
    return [item.classification for item in rows.items]


@pytest.mark.parametrize(
    ("source", "asked", "operator", "editor"),
    [
        ("marked", "", MARKINGS, MARKINGS),
        ("marked", "UNCLASS", MARKINGS, ["UNCLASS"] * 3),
        ("marked", "CUI", ["CUI", "CUI", "SECRET"], ["CUI"] * 3),
        ("marked", "SECRET", ["SECRET"] * 3, ["SECRET"] * 3),
        ("fixed", "UNCLASS", ["CUI"] * 3, ["UNCLASS"] * 3),
        ("fixed", "SECRET", ["SECRET"] * 3, ["SECRET"] * 3),
        ("least", "", ["CUI", "CUI", "SECRET"], ["CUI", "CUI", "SECRET"]),
        ("least", "UNCLASS", ["CUI", "CUI", "SECRET"], ["CUI"] * 3),
    ],
)
def test_a_classification_for_all_items_only_raises(
    world: EngineWorld, source: str, asked: str, operator: list[str], editor: list[str]
) -> None:
    assert previewed(world, OPERATOR, source, classification=asked) == operator
    assert previewed(world, EDITOR, source, classification=asked) == editor


def test_sql_that_makes_the_column_is_for_editors(world: EngineWorld) -> None:
    sql = "SELECT * EXCEPT (classification), 'UNCLASS' AS classification FROM marked"
    for call in (
        lambda: previewed(world, OPERATOR, "marked", sql),
        lambda: world.jobs.start(
            StartJob(sql=sql, source="marked", overrides=Overrides(classification="SECRET")), by=OPERATOR
        ),
    ):
        with pytest.raises(Invalid, match="the column 'classification' itself") as caught:
            call()
        assert caught.value.reason is Reason.INVALID_SQL
        assert caught.value.violations[0].field == "sql"
    assert previewed(world, EDITOR, "marked", sql) == ["UNCLASS"] * 3
    only_marked = called_by("eve", Role.OPERATOR, (Role.EDITOR, "source:marked"))
    assert previewed(world, only_marked, "marked", sql) == ["UNCLASS"] * 3


def test_without_the_column_a_classification_for_all_items_does_not_help(world: EngineWorld) -> None:
    sql = "SELECT item_id, number, last_modified FROM marked"
    with pytest.raises(Exception, match="column 'classification'"):
        previewed(world, OPERATOR, "marked", sql, "UNCLASS")
    assert previewed(world, EDITOR, "marked", sql, "UNCLASS") == ["UNCLASS"] * 3


def test_what_other_sources_have_at_least_their_rows_keep(world: EngineWorld) -> None:
    fixed = world.sources.get("fixed")
    world.sources.update(
        replace(fixed, mapping=replace(fixed.mapping, classification=Classification(value="UNCLASS"))),
        {"mapping.classification"},
    )
    sql = "SELECT l.* FROM least l JOIN fixed f ON l.item_id = f.item_id"
    assert previewed(world, OPERATOR, "fixed", "SELECT * FROM fixed") == ["UNCLASS"] * 3
    assert previewed(world, OPERATOR, "fixed", sql) == ["CUI"] * 3
    assert previewed(world, EDITOR, "fixed", sql) == ["UNCLASS"] * 3


def spec(world: EngineWorld, job: Job) -> JobSpec:
    return world.store.get(job.job_id, history=False).spec


def test_a_job_and_its_retry_keep_it(world: EngineWorld, ended) -> None:
    world.runner()
    broken = "SELECT * EXCEPT (last_modified), 'nonsense' AS last_modified FROM marked"
    his = world.jobs.start(
        StartJob(sql=broken, source="marked", overrides=Overrides(classification="CUI")), by=OPERATOR
    )
    assert (spec(world, his).classification, spec(world, his).min_classification) == ("", "CUI")
    edited = world.jobs.start(
        StartJob(sql=broken, source="marked", overrides=Overrides(classification="UNCLASS")), by=EDITOR
    )
    assert (spec(world, edited).classification, spec(world, edited).min_classification) == ("UNCLASS", "")
    for job in (his, edited):
        assert ended(world, job).error_count == 3
    again = world.jobs.retry_failed(his.job_id, by=OPERATOR)
    assert spec(world, again).min_classification == "CUI"
    lowered = world.jobs.retry_failed(edited.job_id, by=OPERATOR)
    assert (spec(world, lowered).classification, spec(world, lowered).min_classification) == ("", "UNCLASS")
    assert spec(world, world.jobs.retry_failed(edited.job_id, by=EDITOR)).classification == "UNCLASS"


def test_items_in_the_catalog_have_it_and_older_servers_leave_such_jobs_alone(world: EngineWorld, ended) -> None:
    world.runner()
    job = world.jobs.start(StartJob(source="least"), by=OPERATOR)
    with world.database.begin() as connection:
        assert connection.exec_driver_sql("SELECT level FROM job").scalar_one() == 2 <= LEVEL
    assert ended(world, job).success_count == 3
    found = [
        requests.get(f"{world.catalog.url}/v1/items/BLADE:least/MAINT-{n}?envelope=1", timeout=60).json()
        for n in range(3)
    ]
    assert [item["classification"] for item in found] == ["CUI", "CUI", "SECRET"]


def test_a_least_classification_must_be_a_known_one(world: EngineWorld) -> None:
    source = world.sources.get("marked")
    wrong = replace(source, mapping=replace(source.mapping, min_classification="COSMIC"))
    with pytest.raises(Invalid, match=r"mapping.min_classification: 'COSMIC' is not one"):
        world.sources.update(wrong, {"mapping.min_classification"})
    raised = replace(source, mapping=replace(source.mapping, min_classification="SECRET"))
    assert world.sources.update(raised, {"mapping.min_classification"}).source.mapping.min_classification == "SECRET"
    assert previewed(world, OPERATOR, "marked") == ["SECRET"] * 3
