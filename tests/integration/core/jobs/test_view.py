"""Ceilings and masks over everything that reads a source: what somebody gets, and what is never said to him."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import sqlalchemy
from tests.support.access import AsTester
from tests.support.engine import EngineWorld, maintenance_rows

from blade_server.app.policies import direct_policy
from blade_server.catalog import Catalog
from blade_server.core.audit.recorder import Recorder
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.direct.ingest import Ingest, IngestOutcome
from blade_server.core.direct.queries import Queries
from blade_server.core.jobs.preview import Preview
from blade_server.core.jobs.start import StartJob
from blade_server.errors import BladeError, ConnectionTestFailed, Invalid, NotFound
from blade_server.model import Classification, Job, RowMapping, RowQuery, Source, SourceConfig, StepOutcome
from blade_server.model.access import Caller, Grant, Kind, Principal, Role
from blade_server.storage.audit import AuditStore
from blade_server.storage.sources import SourceStore

MARKINGS = ["UNCLASS", "CUI", "SECRET", None, "CUI", "NOFORN"]
UP_TO_CUI = ["MAINT-0", "MAINT-1", "MAINT-4"]
SECRET = "MAINT-2"


@pytest.fixture
def world(tmp_path: Path, postgres_url: str) -> Iterator[EngineWorld]:
    """`marked`: classified by its column, with the column `pay` masked. `plain`: the same table, all of it CUI."""
    world = EngineWorld(tmp_path, postgres_url)
    rows = maintenance_rows(len(MARKINGS)) | {
        "classification": MARKINGS,
        "pay": [9000 + n for n in range(len(MARKINGS))],
    }
    world.start(rows)
    for name, classification, masked in (
        ("marked", Classification(column="classification"), ("pay",)),
        ("plain", Classification(value="CUI"), ()),
    ):
        config = SourceConfig(catalog="main", schema="blade", table="blade_maintenance_data")
        mapping = RowMapping(item_id="item_id", classification=classification, masked_columns=masked)
        world.sources.add(
            Source(name=name, display_name="", data_type=name, enabled=True, config=config, mapping=mapping)
        )
    yield world
    world.close()


def by(*grants: Grant, needs: Role = Role.OPERATOR) -> Caller:
    return Caller(principal=Principal(name="ada", kind=Kind.TOKEN, grants=grants), needs=needs)


def upto(ceiling: str, role: Role = Role.OPERATOR, scope: str = "source:marked") -> Grant:
    return Grant(role=role, scope=scope, ceiling=ceiling, principal="ada")


BOUND = by(upto("CUI"))
MASKED = by(upto(""))
EDITOR = by(upto("", Role.EDITOR))


@pytest.fixture
def queries(world: EngineWorld) -> Queries:
    return Queries(direct_policy(world.settings), world.sources._part, Recorder(AuditStore(world.database)))


@pytest.fixture
def ingest(world: EngineWorld, queries: Queries) -> Iterator[AsTester]:
    catalog = Catalog(world.settings.catalog_url)
    recorder, store = Recorder(AuditStore(world.database)), SourceStore(world.database)
    yield AsTester(
        Ingest(direct_policy(world.settings), world.sources._part, Catalogs(catalog), store, queries, recorder=recorder)
    )
    catalog.close()


def items(queries: Queries, by: Caller, **query: object) -> list[str]:
    stream = queries.items(RowQuery(**{"source": "marked", "order_by": ["item_id"]} | query), by=by)
    try:
        found = list(stream)
        assert "pay" not in str([item.data_json for batch in found for item in batch.items]) or by is EDITOR
        return [item.item_id for batch in found for item in batch.items]
    finally:
        stream.close()


def test_queries_have_the_rows_and_columns_that_are_there(queries: Queries) -> None:
    assert items(queries, BOUND) == UP_TO_CUI
    assert items(queries, BOUND, filter="number >= 0", columns=["item_id"]) == UP_TO_CUI
    assert items(queries, by(upto("SECRET"))) == sorted([*UP_TO_CUI, SECRET])
    assert items(queries, by(upto("UNCLASS"), upto("CUI"))) == UP_TO_CUI
    assert items(queries, by(upto("UNCLASS"), upto("", Role.READER), needs=Role.READER)) == sorted([*UP_TO_CUI, SECRET])
    assert items(queries, by(upto("UNCLASS"), upto("", Role.READER))) == ["MAINT-0"]
    assert items(queries, EDITOR) == sorted([*UP_TO_CUI, SECRET])


def test_arrow_has_them_too(queries: Queries) -> None:
    for caller, rows, has_pay in ((BOUND, 3, False), (MASKED, 6, False), (EDITOR, 6, True)):
        stream = queries.arrow(RowQuery(source="marked"), by=caller)
        assert ("pay" in stream.schema.names) is has_pay
        assert sum(batch.num_rows for batch in stream) == rows
        stream.close()


def test_what_is_not_there_reads_as_what_nobody_has(queries: Queries) -> None:
    def words(ask: Callable[[str], object], *names: str) -> set[str]:
        said = set()
        for name in names:
            with pytest.raises(BladeError) as caught:
                ask(name)
            said.add(f"{type(caught.value).__name__} {caught.value.message}".replace(name, "X"))
        return said

    def item(item_id: str) -> object:
        return queries.item(source="marked", item_id=item_id, by=BOUND)

    assert len(words(item, SECRET, "MAINT-9", "MAINT-3", "MAINT-5")) == 1
    for field in ("columns", "order_by"):
        assert len(words(lambda name, field=field: items(queries, BOUND, **{field: [name]}), "pay", "pxy")) == 1
    assert len(words(lambda name: items(queries, BOUND, filter=f"{name} > 1"), "pay", "pxy")) == 1
    assert queries.item(source="marked", item_id="MAINT-1", by=BOUND).item_id == "MAINT-1"


def previewed(world: EngineWorld, caller: Caller, sql: str) -> tuple[list[str], int | None]:
    rows, counted = world.jobs.preview(Preview(sql=sql, source="marked"), by=caller)
    return [item.item_id for item in rows.items], counted.rows


def test_previews_and_their_counts_are_of_what_is_there(world: EngineWorld) -> None:
    for sql in ("", "SELECT * FROM marked", "SELECT * FROM main.blade.blade_maintenance_data"):
        assert previewed(world, BOUND, sql) == (UP_TO_CUI, 3)
        assert previewed(world, MASKED, sql)[1] == previewed(world, EDITOR, sql)[1] == 6
    with pytest.raises(BladeError, match="pay"):
        previewed(world, MASKED, "SELECT item_id, classification, last_modified, pay FROM marked")
    assert len(previewed(world, EDITOR, "SELECT item_id, classification, last_modified, pay FROM marked")[0]) == 4


def stored(world: EngineWorld, source: str = "marked") -> dict[str, str]:
    """The items of a source in the catalog, as they were sent."""
    base = f"{world.catalog.url}/v1/items/BLADE:{source}"
    return {item_id: requests.get(f"{base}/{item_id}", timeout=60).text for item_id in world.held(f"BLADE:{source}")}


def test_a_job_sends_what_is_there_for_its_starter(world: EngineWorld, ended: Callable[..., Job]) -> None:
    world.runner()
    job = world.jobs.start(StartJob(source="marked"), by=BOUND)
    assert job.spec.sql == "SELECT * FROM `main`.`blade`.`blade_maintenance_data`"
    done = ended(world, job)
    assert (done.total_items, done.success_count, done.error_count) == (3, 3, 0)
    sent = stored(world)
    assert sorted(sent) == UP_TO_CUI
    assert all('"pay"' not in text for text in sent.values())
    assert ended(world, world.jobs.start(StartJob(source="marked"), by=EDITOR)).success_count == 4
    assert all('"pay"' in text for text in stored(world).values())


def test_a_job_keeps_the_view_of_its_start(world: EngineWorld, ended: Callable[..., Job]) -> None:
    """Nobody runs it yet when the mask is taken away; whoever takes it over has the statement and nothing else."""
    job = world.jobs.start(StartJob(source="marked"), by=BOUND)
    world.sources.update(
        replace(world.sources.get("marked"), mapping=replace(world.sources.get("marked").mapping, masked_columns=())),
        {"mapping.masked_columns"},
    )
    lost = world.leases.claim_next("lost", 60)
    assert lost is not None
    with world.database.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE job SET lease_until = now() - interval '1 second'"))
    world.runner()
    assert ended(world, job).success_count == 3
    assert all('"pay"' not in text for text in stored(world).values())


BROKEN = "SELECT * EXCEPT (last_modified), 'nonsense' AS last_modified FROM marked"


def test_a_retry_finds_again_what_is_there_for_whoever_retries(world: EngineWorld, ended: Callable[..., Job]) -> None:
    world.runner()
    job = world.jobs.start(StartJob(sql=BROKEN, source="marked"), by=by(upto("SECRET")))
    assert ended(world, job).error_count == 4
    again = ended(world, world.jobs.retry_failed(job.job_id, by=BOUND))
    assert (again.spec.ceiling, again.error_count, again.skipped_count) == ("CUI", 3, 1)
    higher = ended(world, world.jobs.retry_failed(again.job_id, by=EDITOR))
    assert (higher.spec.ceiling, higher.error_count) == ("", 3)


def test_failed_rows_are_for_those_for_whom_all_of_it_is_there(world: EngineWorld, ended: Callable[..., Job]) -> None:
    world.runner()
    for starter, readers, others in (
        (by(upto("SECRET")), (by(upto("SECRET")), MASKED, EDITOR), (BOUND, by(upto("GONE")))),
        (MASKED, (MASKED, EDITOR), (BOUND, by(upto("SECRET")))),
        (EDITOR, (EDITOR,), (BOUND, MASKED, by(upto("SECRET")))),
    ):
        job = ended(world, world.jobs.start(StartJob(sql=BROKEN, source="marked"), by=starter))
        for reader in (*readers, *others):
            may = reader in readers
            shown = world.jobs.show.for_caller(world.jobs.show.get(job.job_id, by=reader), by=reader)
            errors, _ = world.jobs.show.errors(job.job_id, by=reader)
            assert bool(shown.error_summaries[0].samples[0].row_json) is may
            assert bool(errors[0].row_json) is may
            assert (errors[0].redacted, shown.redacted) == (not may, not may)


def test_his_own_job_is_his_though_it_read_more_of_another_source(
    world: EngineWorld, ended: Callable[..., Job]
) -> None:
    world.runner()
    both = by(upto("CUI"), upto("", scope="source:plain"))
    joined = BROKEN.replace("marked", "marked m JOIN plain p USING (item_id)").replace("* EXCEPT", "m.* EXCEPT")
    job = ended(
        world, world.jobs.start(StartJob(sql=joined.replace(", 'n", ", item_id, 'n"), source="marked"), by=both)
    )
    assert job.spec.reads_beyond
    assert not world.jobs.show.for_caller(job, by=both).redacted
    other = replace(BOUND, principal=replace(BOUND.principal, name="eve"))
    assert world.jobs.show.for_caller(job, by=other).redacted


def test_ingesting_an_item_above_the_ceiling_is_as_with_one_that_nobody_has(
    world: EngineWorld, ingest: AsTester
) -> None:
    assert ingest.ingest(source="marked", item_id=SECRET, by=EDITOR).outcome is IngestOutcome.CREATED
    said = set()
    for item_id in (SECRET, "MAINT-9"):
        for replaces in (False, True):
            with pytest.raises(NotFound) as caught:
                ingest.ingest(source="marked", item_id=item_id, replace=replaces, by=BOUND)
            said.add(caught.value.message.replace(item_id, "X"))
    assert len(said) == 1
    assert ingest.ingest(source="marked", item_id="MAINT-1", by=BOUND).outcome is IngestOutcome.CREATED
    assert ingest.ingest(source="marked", item_id="MAINT-1", by=BOUND).outcome is IngestOutcome.ALREADY_EXISTS
    assert '"pay"' not in stored(world)["MAINT-1"]


def test_the_connection_test_is_of_what_is_there(world: EngineWorld) -> None:
    for caller, columns, rows in ((BOUND, 6, 3), (MASKED, 6, 6), (EDITOR, 7, 6)):
        tested = world.sources.test("marked", by=caller)
        assert {step.outcome for step in tested.steps} == {StepOutcome.PASSED}
        assert f"has {columns} columns" in " ".join(step.message for step in tested.steps)
        assert tested.item_ids.rows == rows
    low = by(upto("GONE"))
    assert "the table is empty" in world.sources.test("marked", by=low).steps[-1].message


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"masked_columns": ("item_id",)}, "is needed by mapping.item_id"),
        ({"masked_columns": ("Classification",)}, "is needed by mapping.classification.column"),
        ({"masked_columns": ("pay",), "item_id": "{row:hash}"}, "needs every column"),
        ({"masked_columns": ("pay", "PAY")}, "more than once"),
        ({"masked_columns": (" ",)}, "blank"),
        ({"masked_columns": ("x" * 300,)}, "255"),
        ({"masked_columns": tuple(f"c{n}" for n in range(1001))}, "at most 1,000"),
        ({"masked_columns": ("pay",), "last_modified": "PAY"}, "is needed by mapping.last_modified"),
    ],
)
def test_what_makes_an_item_cannot_be_masked(world: EngineWorld, changes: dict, wrong: str) -> None:
    source = world.sources.get("marked")
    with pytest.raises(Invalid, match=wrong) as caught:
        world.sources.update(replace(source, mapping=replace(source.mapping, **changes)), {"mapping"})
    assert "source.mapping.masked_columns" in {violation.field for violation in caught.value.violations}


def test_a_column_that_is_not_there_is_no_mask(world: EngineWorld) -> None:
    source = world.sources.get("marked")
    with pytest.raises(ConnectionTestFailed, match=r"'pxy', which mapping\.masked_columns names"):
        world.sources.update(replace(source, mapping=replace(source.mapping, masked_columns=("pxy",))), {"mapping"})


def test_a_source_is_no_way_round_a_ceiling_or_a_mask(world: EngineWorld) -> None:
    """Over the same table, classified otherwise, by somebody who edits another data type."""
    mine = replace(world.sources.get("marked"), name="mine", data_type="mine", etag="")
    mine = replace(mine, mapping=replace(mine.mapping, masked_columns=()))
    for grants in ((upto("CUI"),), (upto(""),)):
        with pytest.raises(Invalid, match="no table that"):
            world.sources.add(mine, by=by(*grants, upto("", Role.EDITOR, "data_type:mine"), needs=Role.EDITOR))
    whole = by(upto("", Role.EDITOR), upto("", Role.EDITOR, "data_type:mine"), needs=Role.EDITOR)
    assert world.sources.add(mine, by=whole).source.name == "mine"


def test_the_audit_log_says_what_was_left_out(world: EngineWorld) -> None:
    world.jobs.start(StartJob(source="marked"), by=BOUND)
    with world.database.begin() as connection:
        said = connection.execute(
            sqlalchemy.text("SELECT content::jsonb ->> 'detail' FROM audit_entry WHERE object LIKE 'job:%'")
        )
        assert said.scalars().all() == ["rows of marked up to CUI, 1 of its columns masked"]
