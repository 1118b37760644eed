"""Pages of jobs and of item errors cost what they show, however much there is and however far down they are."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, text
from tests.support.databases import create_database, own_database
from tests.support.nouns import a_source, a_spec

from blade_server.model import Status
from blade_server.model.access import Scope
from blade_server.storage.codec import source_document, spec_document
from blade_server.storage.database import Database
from blade_server.storage.jobs.show import JobStore

JOBS, ERRORS, PAGE = 20_000, 50_000, 50

SPEC = a_spec()
_FILL = """
INSERT INTO source (name, data_type, enabled, config, mapping, create_time, update_time)
    VALUES ('rare', 'rare', true, '{}', '{}', now(), now()), ('common', 'common', true, '{}', '{}', now(), now());
INSERT INTO job (job_id, source, data_type, source_json, spec, plan, status, error_count, create_time, update_time)
    SELECT 'job-' || lpad(n::text, 8, '0'), CASE WHEN n % 200 = 0 THEN 'rare' ELSE 'common' END, 'x',
        CAST(:source AS jsonb), CAST(:spec AS jsonb), '{}',
        CASE WHEN n % 200 = 1 THEN 'FAILED' ELSE 'COMPLETED' END, CASE WHEN n % 100 < 2 THEN 3 ELSE 0 END, now(), now()
    FROM generate_series(1, :jobs) AS n;
INSERT INTO job_item_error (job_id, key, item_id, stage, reason, attempts, create_time)
    SELECT 'job-' || lpad((1 + n % 2)::text, 8, '0'), '', 'item-' || n, 'UPLOAD', 'ITEM_REJECTED', 1, now()
    FROM generate_series(1, :errors) AS n;
"""


@pytest.fixture(scope="module")
def filled(_postgres: str, _migrated_template: str) -> str:
    """Name of a database with these jobs and errors, for copies."""
    name = f"filled_{secrets.token_hex(4)}"
    database = Database(create_database(_postgres, name, _migrated_template))
    values = {
        "jobs": JOBS,
        "errors": ERRORS,
        "source": json.dumps(source_document(a_source())),
        "spec": json.dumps(spec_document(SPEC)),
    }
    with database.begin() as connection:
        for statement in _FILL.split(";\n")[:-1]:
            connection.execute(text(statement), values)
        connection.execute(text("ANALYZE"))
    database.close()
    return name


@pytest.fixture
def database(_postgres: str, filled: str) -> Iterator[Database]:
    with own_database(_postgres, filled) as url:
        database = Database(url)
        yield database
        database.close()


def plans(database: Database, ask: Callable[[], Any]) -> list[dict[str, Any]]:
    """How PostgreSQL carries out each query that `ask` makes."""
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    ask()
    event.remove(database.engine, "before_cursor_execute", note)
    with database.begin() as connection:
        return [
            connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()[0][
                "Plan"
            ]
            for statement, parameters in asked
        ]


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from steps(part)


def looked_at(plan: dict[str, Any]) -> int:
    """Rows of tables that were looked at."""
    scans = [step for step in steps(plan) if "Relation Name" in step]
    return sum(
        int((step["Actual Rows"] + step.get("Rows Removed by Filter", 0)) * step["Actual Loops"]) for step in scans
    )


def indexes(plan: dict[str, Any]) -> set[str]:
    return {step["Index Name"] for step in steps(plan) if "Index Name" in step}


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "job_pkey"),
        ({"source": "rare"}, "job_by_source"),
        ({"statuses": [Status.FAILED]}, "job_by_status"),
        ({"with_errors": True}, "job_with_errors"),
    ],
)
@pytest.mark.parametrize("before", ["", "job-00012345"])
def test_a_page_of_jobs_is_read_from_an_index_in_order(database, before, filters, index):
    store = JobStore(database)
    (plan,) = plans(database, lambda: store.page(limit=PAGE, before_job_id=before, seen=Scope(all=True), **filters))
    assert indexes(plan) == {index}
    assert not [step for step in steps(plan) if step["Node Type"] in {"Seq Scan", "Sort"}]
    assert looked_at(plan) == PAGE


def test_a_page_of_jobs_of_several_states_reads_only_jobs_of_those_states(database):
    store = JobStore(database)
    statuses = [Status.FAILED, Status.RUNNING]
    (plan,) = plans(database, lambda: store.page(limit=PAGE, statuses=statuses, seen=Scope(all=True)))
    assert indexes(plan) == {"job_by_status"}
    assert looked_at(plan) <= JOBS // 200


@pytest.mark.parametrize("after", [-1, ERRORS - 1000])
def test_a_page_of_item_errors_is_read_from_an_index_in_order(database, after):
    store = JobStore(database)
    (plan,) = plans(
        database,
        lambda: store.errors("job-00000001", after_seq=after, limit=PAGE, seen=Scope(all=True), reads=Scope(all=True)),
    )
    assert indexes(plan) == {"job_item_error_pkey"}
    assert not [step for step in steps(plan) if step["Node Type"] in {"Seq Scan", "Sort"}]
    assert looked_at(plan) == PAGE
