"""Core over real parts: PostgreSQL, the driver, the sandbox warehouse and the sandbox catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import SecretStr
from tests.support.access import AsTester, called
from tests.support.engine import _sample_warehouse, ended, make_world, reaches, sample_warehouse
from tests.support.lakes import make_lakes
from tests.support.warehouses import lent

from blade_sandbox.catalog import CatalogServer
from blade_sandbox.warehouse import Warehouse as Sandbox
from blade_server.app.policies import direct_policy, source_policy
from blade_server.catalog import Catalog
from blade_server.core.audit.recorder import Recorder
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.direct.ingest import Ingest
from blade_server.core.direct.queries import Queries
from blade_server.core.sources.rules import with_defaults
from blade_server.core.sources.sources import Sources
from blade_server.model import Classification, RowMapping, Source, SourceConfig
from blade_server.settings import Settings
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.sources import SourceStore

__all__ = ["_sample_warehouse", "ended", "make_lakes", "make_world", "reaches", "sample_warehouse"]

TOKEN = "sandbox-secret-token"

TABLES = {
    "maintenance": """SELECT 'AF-' || lpad(i::VARCHAR, 3, '0') AS tail_number,
        CASE i % 3 WHEN 0 THEN 'HIGH' WHEN 1 THEN 'LOW' ELSE 'MEDIUM' END AS priority,
        DATE '2024-01-15' + (i % 10)::INT AS due_date, (i * 1.25)::DECIMAL(9, 2) AS cost,
        TIMESTAMPTZ '2024-01-10 10:00:00+00' + i * INTERVAL 1 MINUTE AS last_modified,
        CASE WHEN i = 7 THEN NULL ELSE 'UNCLASS' END AS classification
        FROM range(3000) t(i)""",
    "empty": "SELECT 'x' AS item_id, 'UNCLASS' AS classification WHERE 1 = 0",
    "odd": """SELECT * FROM (VALUES
        (NULL, 'UNCLASS', 1), ('a', 'UNCLASS', 2), ('b', 'NOFORN', 3), ('twice', 'UNCLASS', 4),
        ('twice', 'UNCLASS', 5), (' padded ', 'UNCLASS', 6), ('it''s', 'UNCLASS', 7)) t(item_id, classification, n)""",
    "exact": """SELECT item_id, 'UNCLASS' AS classification, amount::DECIMAL(38, 18) AS amount FROM (VALUES
        (1, '0'), (2, '0.000000000000000001'), (3, '99999999999999999999.999999999999999999')) t(item_id, amount)""",
}


@pytest.fixture(scope="session")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("tables")
    files: dict[str, Path] = {}
    for name, query in TABLES.items():
        files[f"main.blade.{name}"] = folder / f"{name}.parquet"
        duckdb.sql(f"COPY ({query}) TO '{folder / name}.parquet'")
    with Sandbox(tables=files, token=TOKEN) as server:
        yield server


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Iterator[Sandbox]:
    with lent(_sandbox) as sandbox:
        yield sandbox


@pytest.fixture
def catalog_server(tmp_path: Path) -> Iterator[CatalogServer]:
    with CatalogServer(directory=tmp_path / "catalog") as server:
        yield server


@pytest.fixture
def make_settings(sandbox: Sandbox, catalog_server: CatalogServer) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values = {
            "databricks_server_hostname": sandbox.url,
            "databricks_http_path": sandbox.http_path,
            "databricks_token": SecretStr(TOKEN),
            "catalog_url": catalog_server.url,
            "warehouse_timeout_s": 10.0,
            "retry_base_s": 0.05,
            "max_direct_queries": 3,
        }
        return Settings(**{**values, **changes})

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url, pool_size=4)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> AsTester:
    return AsTester(SourceStore(database))


@pytest.fixture
def recorder(database: Database) -> Recorder:
    """Not started: what nobody waits for is written by `flush`."""
    return Recorder(AuditStore(database))


@pytest.fixture
def sources(settings: Settings, store: SourceStore, recorder: Recorder) -> AsTester:
    return AsTester(Sources(source_policy(settings), store, recorder))


@pytest.fixture
def queries(settings: Settings, sources: Sources, recorder: Recorder) -> AsTester:
    return AsTester(Queries(direct_policy(settings), sources, recorder))


@pytest.fixture
def make_ingest(
    settings: Settings, sources: Sources, store: SourceStore, queries: Queries, recorder: Recorder
) -> Callable[[Catalog], AsTester]:
    """`make_ingest(catalog)`: ingests into it."""
    policy = direct_policy(settings)
    return lambda catalog: AsTester(Ingest(policy, sources, Catalogs(catalog), store, queries, recorder=recorder))


@pytest.fixture
def ingest(settings: Settings, make_ingest: Callable[[Catalog], AsTester]) -> Iterator[AsTester]:
    catalog = Catalog(settings.catalog_url)
    yield make_ingest(catalog)
    catalog.close()


@pytest.fixture
def stored(store: SourceStore) -> None:
    """Sources over all tables, without the detour over a connection test."""
    for name, data_type, table in (
        ("blade-maintenance", "maintenance", "maintenance"),
        ("odd", "odd", "odd"),
        ("empty", "none", "empty"),
        ("exact", "exact", "exact"),
    ):
        source = with_defaults(a_source(name, data_type, table=table))
        last_modified = "last_modified" if table == "maintenance" else ""
        store.add(replace(source, mapping=replace(source.mapping, last_modified=last_modified)), by=called())


@pytest.fixture
def source() -> Callable[..., Source]:
    return a_source


def a_source(
    name: str = "blade-maintenance", data_type: str = "maintenance", *, item_id: str | None = None, **config: Any
) -> Source:
    """What a caller would send; `table`, `host` and so on by name."""
    fields = {"catalog": "main", "schema": "blade", "table": "maintenance", **config}
    template = "MAINT-{tail_number}-{due_date:%Y}" if fields["table"] == "maintenance" else ""
    return Source(
        name=name,
        display_name="",
        data_type=data_type,
        enabled=True,
        config=SourceConfig(**fields),
        mapping=RowMapping(item_id=template if item_id is None else item_id, classification=Classification()),
    )
