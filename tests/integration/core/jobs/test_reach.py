"""What the SQL of a job or preview may read, by what its caller was granted; on a real warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.access import called_by
from tests.support.engine import EngineWorld

from blade_sandbox.warehouse import Warehouse
from blade_server.app.policies import job_policy, source_policy
from blade_server.core.audit.recorder import Recorder
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.jobs.preview import Preview
from blade_server.core.jobs.start import StartJob
from blade_server.core.sources.sources import Sources
from blade_server.errors import AccessDenied, Invalid, NotFound, Precondition, Reason
from blade_server.model import Classification, Overrides, RowMapping, Source, SourceConfig
from blade_server.model.access import Caller, Role
from blade_server.storage.audit import AuditStore
from blade_server.storage.sources import SourceStore

KINDS = ("sortie", "maintenance", "deployment", "logistics")
JOINED = "SELECT m.* FROM maintenance m JOIN sortie s ON s.tailnum = m.tail_number"


@pytest.fixture
def world(tmp_path: Path, postgres_url: str, sample_warehouse: Warehouse) -> Iterator[EngineWorld]:
    """Sample tables, each a source but logistics."""
    world = EngineWorld(tmp_path, postgres_url)
    world.read(sample_warehouse)
    for kind in KINDS[:-1]:
        config = SourceConfig(catalog="main", schema="blade", table=f"blade_{kind}_data")
        mapping = RowMapping(item_id="item_id", classification=Classification(value="UNCLASS"))
        world.store_source(
            Source(name=kind, display_name="", data_type=kind, enabled=True, config=config, mapping=mapping)
        )
    yield world
    world.close()


def by(*grants: tuple[Role, str], needs: Role = Role.OPERATOR) -> Caller:
    return called_by("ada", needs, *grants)


OPERATOR = (Role.OPERATOR, "source:maintenance")


def start(world: EngineWorld, sql: str, caller: Caller) -> None:
    world.jobs.start(StartJob(sql=sql, source="maintenance"), by=caller)


def test_every_table_must_be_one_that_he_may_read(world: EngineWorld) -> None:
    start(world, JOINED, by(OPERATOR, (Role.READER, "data_type:sortie")))
    start(world, JOINED, by(OPERATOR, (Role.EDITOR, "source:sortie")))
    start(world, JOINED, by((Role.OPERATOR, "*")))


def test_one_that_he_may_only_look_at_is_refused_by_name(world: EngineWorld) -> None:
    for table in ("sortie", "main.blade.blade_sortie_data"):
        with pytest.raises(AccessDenied, match="READER on source 'sortie'"):
            start(world, JOINED.replace("sortie", table), by(OPERATOR, (Role.VIEWER, "source:sortie")))


def test_one_that_he_may_not_know_of_reads_as_an_unknown_one(world: EngineWorld) -> None:
    for table, like in (("sortie", "sorxie"), ("main.blade.blade_sortie_data", "main.blade.blade_sorxie_data")):
        words = []
        for name in (table, like):
            with pytest.raises(Invalid) as caught:
                start(world, JOINED.replace("sortie", name), by(OPERATOR))
            words.append(caught.value.message.replace(name, "X"))
        assert words[0] == words[1]
        assert "the sources are maintenance (maintenance)" in words[0]


def test_his_own_source_needs_the_role_of_the_call(world: EngineWorld) -> None:
    with pytest.raises(AccessDenied, match="OPERATOR on source 'maintenance'"):
        start(world, "SELECT * FROM maintenance", by((Role.READER, "*"), (Role.OPERATOR, "source:sortie")))
    with pytest.raises(NotFound):
        start(world, "SELECT * FROM maintenance", by((Role.OPERATOR, "source:sortie")))


def test_a_retry_is_checked_again(world: EngineWorld, ended) -> None:
    world.runner()
    spoilt = JOINED.replace("m.*", "DISTINCT m.* EXCEPT (item_id), NULLIF(m.item_id, m.item_id) AS item_id")
    job = world.jobs.start(StartJob(sql=spoilt, source="maintenance"))
    assert ended(world, job).error_count > 0
    for may, why in (
        (by(OPERATOR), Invalid),
        (by(OPERATOR, (Role.VIEWER, "source:sortie")), AccessDenied),
        (by(OPERATOR, (Role.READER, "source:sortie")), Precondition),  # no id, no retry: he came as far as that
    ):
        with pytest.raises(why):
            world.jobs.retry_failed(job.job_id, by=may)


def test_tables_beside_sources_are_the_operators_to_allow(world: EngineWorld) -> None:
    sql = "SELECT m.* FROM maintenance m WHERE EXISTS (SELECT 1 FROM main.blade.blade_logistics_data)"
    reader = by((Role.OPERATOR, "*"))
    with pytest.raises(Invalid, match="BLADE_ALLOWED_TABLES"):
        start(world, sql, reader)
    start(world, sql, by((Role.ADMIN, "*")))

    settings = world.configured(allowed_tables="main.blade.*")
    recorder = Recorder(AuditStore(world.database))
    sources = Sources(source_policy(settings), SourceStore(world.database), recorder)
    policy = job_policy(settings)
    jobs = Jobs.over(policy, world.database, world.store, sources, recorder=recorder, wake=lambda: None)
    jobs.start(StartJob(sql=sql, source="maintenance"), by=reader)
    hidden = "SELECT m.* FROM maintenance m, main.blade.blade_sortie_data"  # the pattern covers it, and it is a source
    with pytest.raises(Invalid, match="neither a source"):
        jobs.start(StartJob(sql=hidden, source="maintenance"), by=by(OPERATOR))
    for table in ("system.information_schema.tables", "main.information_schema.tables"):
        with pytest.raises(Invalid, match="neither a source"):
            jobs.start(StartJob(sql=f"SELECT * FROM {table}", source="maintenance"), by=by((Role.ADMIN, "*")))


@pytest.mark.parametrize(
    "sql",
    [
        "FROM maintenance SELECT item_id",
        "WITH sortie AS (SELECT * FROM maintenance) SELECT item_id FROM sortie",
        "WITH maintenance AS (SELECT * FROM maintenance LIMIT 5) SELECT item_id FROM maintenance",
        "WITH w(item_id, n) AS (SELECT item_id, 1 FROM maintenance) SELECT * FROM w t(item_id, m)",
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM maintenance) THEN item_id END AS item_id FROM maintenance m",
        "SELECT item_id, sum(1) OVER w AS n FROM maintenance WINDOW w AS (PARTITION BY priority ORDER BY item_id)",
        "SELECT item_id, aggregate(array(1, 2), 0, (acc, x) -> acc + x) AS n FROM maintenance",
        "SELECT item_id FROM maintenance QUALIFY row_number() OVER (PARTITION BY priority ORDER BY item_id) < 9",
        "SELECT item_id FROM maintenance LATERAL VIEW explode(array(1, 2)) t AS x WHERE x = 1",
        "SELECT item_id, /* sortie */ named_struct('sum', 1).sum AS n -- main.x.y\n FROM maintenance",
        "SELECT item_id, `upper`(priority) AS p, 'secret(' AS s FROM `maintenance` AS `m (x)`",
        "SELECT item_id FROM (SELECT item_id, priority FROM maintenance) m WHERE m.priority IN ('HIGH') AND (1 = 1)",
        "SELECT item_id FROM maintenance WHERE priority LIKE ANY ('H%', 'L%')",
        "SELECT max(item_id) AS item_id FROM maintenance GROUP BY ROLLUP (priority) HAVING (count(*) > 1)",
    ],
)
def test_tricky_sql_over_his_own_source_runs(world: EngineWorld, sql: str) -> None:
    request = Preview(sql=sql, source="maintenance", overrides=Overrides(last_modified=""))
    rows, _ = world.jobs.preview(request, by=by((Role.READER, "source:maintenance"), needs=Role.READER))
    assert len(rows.items) > 0


@pytest.mark.parametrize("sql", ["SELECT myudf(1) AS a FROM maintenance", "SELECT secret('a', 'b') FROM maintenance"])
def test_functions_that_are_no_built_ins_are_for_nobody(world: EngineWorld, sql: str) -> None:
    with pytest.raises(Invalid) as caught:
        start(world, sql, by((Role.ADMIN, "*")))
    assert caught.value.reason is Reason.INVALID_SQL
