"""Jobs whose item ids, times of last change and classifications are not those of the source's mapping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.support.access import called
from tests.support.engine import EngineWorld

from blade_sandbox.warehouse import Warehouse
from blade_server.core.jobs.ids import fingerprint
from blade_server.core.jobs.preview import Preview
from blade_server.core.jobs.start import StartJob
from blade_server.errors import Invalid, Precondition, Reason
from blade_server.model import Classification, Overrides, RowMapping, Source, SourceConfig, Status

ANALYTICAL = [
    ("SELECT carrier, COUNT(*) AS flights FROM sortie GROUP BY carrier", "{carrier}"),
    ("SELECT origin, dest, AVG(dep_delay) AS delay FROM sortie GROUP BY origin, dest", "{origin}-{dest}"),
    ("SELECT month, MAX(arr_delay) AS worst FROM sortie GROUP BY month HAVING COUNT(*) > 1", "M{month}"),
    ("SELECT DISTINCT tailnum FROM sortie WHERE tailnum LIKE 'N1%'", "{tailnum}"),
    ("SELECT 'all' AS scope, COUNT(*) AS n, SUM(distance) AS miles FROM sortie", "{scope}"),
    (
        (
            "WITH late AS (SELECT * FROM sortie WHERE dep_delay > 300) "
            "SELECT carrier, COUNT(*) AS n FROM late GROUP BY carrier"
        ),
        "late-{carrier}",
    ),
    (
        (
            "WITH a AS (SELECT origin, COUNT(*) AS n FROM sortie GROUP BY origin), b AS (SELECT MAX(n) AS top FROM a) "
            "SELECT a.origin, a.n / b.top AS share FROM a CROSS JOIN b"
        ),
        "{origin}",
    ),
    (
        (
            "SELECT month, carrier, flights FROM (SELECT month, carrier, COUNT(*) AS flights, ROW_NUMBER() OVER "
            "(PARTITION BY month ORDER BY COUNT(*) DESC, carrier) AS place FROM sortie GROUP BY month, carrier) "
            "WHERE place <= 3"
        ),
        "{month}-{carrier}",
    ),
    (
        "SELECT due_date, SUM(COUNT(*)) OVER (ORDER BY due_date) AS so_far FROM maintenance GROUP BY due_date",
        "{due_date}",
    ),
    (
        (
            "SELECT item_id AS nr, LAG(due_date) OVER (PARTITION BY tail_number ORDER BY due_date, item_id) AS before "
            "FROM maintenance"
        ),
        "{nr}",
    ),
    ("SELECT priority, RANK() OVER (ORDER BY COUNT(*) DESC) AS place FROM maintenance GROUP BY priority", "{priority}"),
    (
        (
            "SELECT m.tail_number, COUNT(DISTINCT m.item_id) AS tasks, COUNT(DISTINCT s.flight) AS flights "
            "FROM maintenance m JOIN sortie s ON s.tailnum = m.tail_number WHERE m.priority = 'CRITICAL' "
            "GROUP BY m.tail_number"
        ),
        "{tail_number}",
    ),
    (
        (
            "SELECT d.location, COUNT(l.item_id) AS parts FROM deployment d LEFT JOIN logistics l "
            "ON l.destination = d.location AND l.urgent GROUP BY d.location"
        ),
        "{location}",
    ),
    (
        (
            "SELECT tail_number FROM maintenance m WHERE NOT EXISTS "
            "(SELECT 1 FROM sortie s WHERE s.tailnum = m.tail_number AND s.carrier = 'UA') GROUP BY tail_number"
        ),
        "{tail_number}",
    ),
    ("SELECT origin AS airport FROM logistics UNION SELECT location FROM deployment", "{airport}"),
    (
        (
            "SELECT origin, SUM(quantity * unit_cost) AS value FROM logistics WHERE required_by < DATE '2024-07-01' "
            "GROUP BY origin ORDER BY value DESC LIMIT 5"
        ),
        "{origin}",
    ),
    (
        (
            "SELECT CASE WHEN unit_cost < 1000 THEN 'low' ELSE 'high' END AS band, COUNT(*) AS n, "
            "COUNT(*) FILTER (WHERE urgent) AS urgent FROM logistics GROUP BY 1"
        ),
        "{band}",
    ),
    (
        (
            "SELECT unit, tail, COUNT(*) AS n FROM deployment LATERAL VIEW explode(tail_numbers) t AS tail "
            "GROUP BY unit, tail"
        ),
        "{unit}/{tail}",
    ),
    (
        "SELECT origin, destination, SUM(quantity) AS n FROM logistics GROUP BY origin, destination",
        "{origin}{destination}",
    ),
    (
        (
            "SELECT DATE_TRUNC('MONTH', start_date) AS begin, SUM(personnel) AS people FROM deployment "
            "GROUP BY DATE_TRUNC('MONTH', start_date)"
        ),
        "{begin:%Y-%m}",
    ),
]
"""Aggregations, joins, CTEs and windows, each with what identifies its rows."""


@pytest.fixture
def world(tmp_path: Path, postgres_url: str, sample_warehouse: Warehouse) -> Iterator[EngineWorld]:
    """All sample tables as sources of whole mappings: id, time of last change and classification by column."""
    world = EngineWorld(tmp_path, postgres_url)
    world.read(sample_warehouse)
    for kind in ("sortie", "maintenance", "deployment", "logistics"):
        world.store_source(sample_source(kind))
    yield world
    world.close()


def sample_source(kind: str) -> Source:
    config = SourceConfig(catalog="main", schema="blade", table=f"blade_{kind}_data")
    mapping = RowMapping(item_id="item_id", classification=Classification(column="classification"))
    return Source(name=kind, display_name="", data_type=kind, enabled=True, config=config, mapping=mapping)


def test_twenty_analytical_queries_become_items(world: EngineWorld, ended) -> None:
    world.runner()
    jobs = []
    for at, (sql, item_id) in enumerate(ANALYTICAL):
        overrides = Overrides(item_id=f"q{at}-{item_id}", classification="UNCLASS")
        jobs.append(world.jobs.start(StartJob(sql=sql, data_type="sortie", overrides=overrides), by=called("analyst")))
    expected = {}
    for job in jobs:
        done = ended(world, job)
        assert (done.status, done.error_count, done.error_message) == (Status.COMPLETED, 0, ""), done.spec.sql
        assert done.success_count == done.total_items > 0
        expected[job.job_id] = done.success_count
    held = world.held("BLADE:sortie")
    assert len(held) == sum(expected.values())


def test_an_override_is_kept_in_the_spec_and_by_a_retry(world: EngineWorld, ended) -> None:
    world.runner()
    overrides = Overrides(item_id="{carrier}", last_modified="", classification="UNCLASS")
    sql = "SELECT CASE carrier WHEN 'AA' THEN NULL ELSE carrier END AS carrier FROM sortie GROUP BY 1"
    job = ended(world, world.jobs.start(StartJob(sql=sql, overrides=overrides), by=called("x")))
    assert job.spec.overrides == overrides
    assert [summary.reason for summary in job.error_summaries] == [Reason.MISSING_ITEM_ID]
    assert job.error_summaries[0].samples[0].field == "carrier"


def test_the_times_of_last_change_are_the_mappings_another_columns_or_none(world: EngineWorld) -> None:
    def shown(**overrides: object) -> str | None:
        sql = "SELECT *, TIMESTAMP '2001-02-03 04:05:06' AS seen FROM maintenance WHERE item_id = 'MAINT-1'"
        preview = Preview(sql=sql, overrides=Overrides(**overrides))
        return world.jobs.preview(preview)[0].items[0].last_modified

    assert shown() == shown(item_id="{tail_number}") == shown(last_modified="last_modified") is not None
    assert shown(last_modified="seen") == "2001-02-03T04:05:06Z"
    assert shown(last_modified="") is None


def test_a_column_that_the_result_lacks_is_named_with_the_way_out(world: EngineWorld) -> None:
    def failure(**overrides: object) -> str:
        sql = "SELECT carrier, COUNT(*) AS n FROM sortie GROUP BY carrier"
        with pytest.raises(Precondition) as caught:
            world.jobs.preview(Preview(sql=sql, overrides=Overrides(**overrides)))
        assert caught.value.reason is Reason.MISSING_COLUMN
        return caught.value.message

    assert failure().endswith(
        "column 'item_id', which mapping.item_id names, is not among the 2 columns of the result; there: carrier, n; "
        "select it, or set item_id for this job"
    )
    assert "which item_id names" in failure(item_id="{Carier}")
    assert failure(item_id="{carrier}").endswith("select it, or set classification for this job")
    assert "which last_modified names" in failure(
        item_id="{carrier}", last_modified="changed", classification="UNCLASS"
    )


def test_an_override_that_is_none_is_refused_at_once(world: EngineWorld) -> None:
    for overrides, field in (
        (Overrides(item_id="{carrier"), "item_id"),
        (Overrides(item_id="same for all {{"), "item_id"),
        (Overrides(last_modified="x\n"), "last_modified"),
    ):
        with pytest.raises(Invalid) as caught:
            world.jobs.start(StartJob(source="sortie", overrides=overrides), by=called("x"))
        assert [violation.field for violation in caught.value.violations] == [field]


@pytest.mark.slow
def test_a_job_with_overrides_is_left_to_servers_that_know_them(world: EngineWorld) -> None:
    """An older one would take the mapping's item id, and with it overwrite the items of the source."""

    def level(**overrides: object) -> int:
        job = world.jobs.start(StartJob(source="sortie", overrides=Overrides(**overrides)), by=called("x"))
        with world.database.read() as connection:
            return connection.exec_driver_sql("SELECT level FROM job WHERE job_id = %s", (job.job_id,)).scalar_one()

    assert [level(), level(classification="UNCLASS")] == [0, 0]
    source = replace(world.sources.get("sortie"), etag="")
    for template in ("{row:hash}", "{flight}-{row:hash}"):
        world.sources.update(replace(source, mapping=replace(source.mapping, item_id=template)), {"mapping.item_id"})
        assert level() == 1
    assert [level(item_id="{flight}"), level(last_modified="time_hour"), level(last_modified="")] == [1, 1, 1]


def test_a_request_without_overrides_has_the_fingerprint_that_older_servers_gave_it(world: EngineWorld) -> None:
    request = StartJob(source="sortie", overrides=Overrides(classification="UNCLASS"), request_id="once")
    body = {**asdict(request), "request_id": "", "classification": "UNCLASS"}
    del body["overrides"], body["destination"]
    job = world.jobs.start(request, by=called("x"))
    with world.database.read() as connection:
        stored = connection.exec_driver_sql(
            "SELECT request_hash FROM job WHERE job_id = %s", (job.job_id,)
        ).scalar_one()
    assert stored == fingerprint(body)
    for other in (Overrides(item_id="{flight}"), Overrides(last_modified="")):
        with pytest.raises(Invalid, match="used before with another body"):
            world.jobs.start(replace(request, overrides=replace(other, classification="UNCLASS")), by=called("x"))


def test_two_columns_of_one_name_are_refused_by_name_in_a_preview_as_in_a_job(world: EngineWorld, ended) -> None:
    world.runner()
    sql = (
        "SELECT m.*, s.carrier, s.origin, s.origin FROM maintenance m JOIN sortie s ON s.tailnum = m.tail_number "
        "WHERE m.item_id = 'MAINT-1'"
    )
    for text, names in ((sql, "'origin'"), (sql.replace("s.carrier", "m.*"), "'tail_number', ")):
        with pytest.raises(Invalid) as caught:
            world.jobs.preview(Preview(sql=text, source="maintenance"))
        assert caught.value.reason is Reason.INVALID_SQL
        assert f"more than one column of the name {names}" in caught.value.message
        assert "with AS, or name the columns in place of *" in caught.value.message
    job = ended(world, world.jobs.start(StartJob(sql=sql, source="maintenance"), by=called("x")))
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.INVALID_SQL)
    assert "more than one column of the name 'origin'" in job.error_message
