"""Tables change: DML, DDL, their history and their old versions."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from databricks.sql.exc import ServerOperationError

from blade_sandbox.warehouse import Warehouse
from blade_sandbox.warehouse.lake import history

from .conftest import open_connection

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def table(rows: Rows) -> Iterator[str]:
    """A table of three rows, version 1."""
    rows("CREATE OR REPLACE TABLE main.default.part (id INT NOT NULL, name STRING COMMENT 'its name')")
    rows("INSERT INTO main.default.part VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    yield "main.default.part"
    rows("DROP TABLE IF EXISTS main.default.part")


def content(rows: Rows, source: str = "main.default.part") -> list[tuple[Any, ...]]:
    return rows(f"SELECT id, name FROM {source} ORDER BY id")


def latest(rows: Rows) -> int:
    return int(rows("DESCRIBE HISTORY main.default.part LIMIT 1")[0][0])


@pytest.mark.parametrize(
    ("statement", "counts", "after"),
    [
        ("INSERT INTO {t} (name, id) VALUES ('d', 4)", (1, 1), [(1, "a"), (2, "b"), (3, "c"), (4, "d")]),
        (
            "INSERT INTO {t} SELECT id + 10, name FROM {t} WHERE id = 1",
            (1, 1),
            [(1, "a"), (2, "b"), (3, "c"), (11, "a")],
        ),
        ("INSERT OVERWRITE {t} VALUES (9, 'z')", (1, 1), [(9, "z")]),
        ("UPDATE {t} SET name = upper(name) WHERE id < 3", (2,), [(1, "A"), (2, "B"), (3, "c")]),
        ("UPDATE {t} AS p SET p.name = 'x' WHERE p.id = 1", (1,), [(1, "x"), (2, "b"), (3, "c")]),
        ("DELETE FROM {t} WHERE id IN (1, 2)", (2,), [(3, "c")]),
        ("DELETE FROM {t}", (3,), []),
        (
            (
                "MERGE INTO {t} AS t USING (SELECT 3 AS id, 'C' AS name UNION ALL SELECT 4, 'D') AS s ON t.id = s.id "
                "WHEN MATCHED THEN UPDATE SET t.name = s.name "
                "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)"
            ),
            (2, 1, 0, 1),
            [(1, "a"), (2, "b"), (3, "C"), (4, "D")],
        ),
        (
            "MERGE INTO {t} USING (SELECT 1 AS id, 'A' AS name) AS s ON part.id = s.id WHEN MATCHED THEN DELETE",
            (1, 0, 1, 0),
            [(2, "b"), (3, "c")],
        ),
        (
            (
                "MERGE INTO {t} t USING (SELECT 5 AS id, 'E' AS name) AS s ON t.id = s.id "
                "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
            ),
            (1, 0, 0, 1),
            [(1, "a"), (2, "b"), (3, "c"), (5, "E")],
        ),
    ],
)
def test_a_write_changes_the_rows_and_tells_how_many(
    rows: Rows, cursor: Any, table: str, statement: str, counts: tuple[int, ...], after: list[Any]
) -> None:
    assert rows(statement.format(t=table)) == [counts]
    assert cursor.rowcount == counts[0]
    assert content(rows) == after


def test_a_failed_write_changes_nothing_and_makes_no_version(rows: Rows, table: str) -> None:
    before = latest(rows)
    with pytest.raises(ServerOperationError, match="DELTA_NOT_NULL_CONSTRAINT_VIOLATED"):
        rows(f"INSERT INTO {table} VALUES (4, 'd'), (NULL, 'e')")
    assert content(rows) == [(1, "a"), (2, "b"), (3, "c")]
    assert latest(rows) == before


def test_a_version_stays_as_it_was_while_the_table_goes_on(rows: Rows, table: str) -> None:
    version = latest(rows)
    rows(f"DELETE FROM {table} WHERE id = 1")
    rows(f"UPDATE {table} SET name = 'changed'")
    assert content(rows, f"{table} VERSION AS OF {version}") == [(1, "a"), (2, "b"), (3, "c")]
    assert content(rows, f"{table}@v{version + 1}") == [(2, "b"), (3, "c")]
    assert content(rows, f"{table} VERSION AS OF {latest(rows)}") == content(rows)


def test_a_version_that_was_asked_for_outlives_many_writes(rows: Rows, table: str) -> None:
    version = latest(rows)
    for number in range(20):
        rows(f"INSERT INTO {table} VALUES ({number + 100}, 'n')")
    assert len(content(rows, f"{table} VERSION AS OF {version}")) == 3
    for gone in (version + 1, version + 50):
        with pytest.raises(ServerOperationError, match="DELTA_VERSION_NOT_FOUND"):
            rows(f"SELECT * FROM {table} VERSION AS OF {gone}")


def test_of_a_large_table_the_last_version_and_one_asked_for_are_kept(
    rows: Rows, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LARGE_TABLE_ROWS", 2)
    version = latest(rows)
    for number in range(4):
        rows(f"INSERT INTO {table} VALUES ({number + 100}, 'n')")
    assert [len(content(rows, f"{table} VERSION AS OF {version + n}")) for n in (0, 3, 4)] == [3, 6, 7]
    for gone in (1, 2):
        with pytest.raises(ServerOperationError, match="DELTA_VERSION_NOT_FOUND"):
            rows(f"SELECT * FROM {table} VERSION AS OF {version + gone}")


def test_the_history_lists_newest_first(rows: Rows, cursor: Any, table: str) -> None:
    rows(f"DELETE FROM {table} WHERE id = 1")
    cursor.execute(f"DESCRIBE HISTORY {table}")
    found = cursor.fetchall()
    names = [column[0] for column in cursor.description]
    assert names[:2] == ["version", "timestamp"]
    assert cursor.description[0][1] == "bigint"
    versions = [row.version for row in found]
    assert versions == sorted(versions, reverse=True)
    assert [row.operation for row in found[:3]] == ["DELETE", "WRITE", "CREATE OR REPLACE TABLE"]


def test_a_view_has_no_history_and_no_versions(rows: Rows, table: str) -> None:
    rows(f"CREATE OR REPLACE VIEW main.default.part_names AS SELECT name FROM {table}")
    with pytest.raises(ServerOperationError, match="EXPECT_TABLE_NOT_VIEW"):
        rows("DESCRIBE HISTORY main.default.part_names")
    with pytest.raises(ServerOperationError, match="time travel on the view"):
        rows("SELECT * FROM main.default.part_names VERSION AS OF 0")
    assert len(rows("SELECT * FROM main.default.part_names")) == 3
    rows("DROP VIEW main.default.part_names")


def test_a_time_finds_the_version_that_was_current_then(rows: Rows, cursor: Any, table: str) -> None:
    cursor.execute(f"DESCRIBE HISTORY {table} LIMIT 1")
    written = cursor.fetchone().timestamp
    rows(f"DELETE FROM {table}")
    assert len(content(rows, f"{table} TIMESTAMP AS OF '{written.isoformat()}'")) == 3
    long_ago = written - datetime.timedelta(days=999)
    with pytest.raises(ServerOperationError, match="DELTA_TIMESTAMP_EARLIER"):
        rows(f"SELECT * FROM {table} TIMESTAMP AS OF '{long_ago.isoformat()}'")


def test_a_table_can_be_made_changed_and_dropped(rows: Rows) -> None:
    rows("CREATE TABLE main.default.made USING delta TBLPROPERTIES ('a' = 'b') AS SELECT 1 AS a, 'x' AS b")
    rows("ALTER TABLE main.default.made ADD COLUMNS (c DOUBLE COMMENT 'new', d DATE)")
    rows("ALTER TABLE main.default.made RENAME COLUMN b TO e")
    rows("ALTER TABLE main.default.made DROP COLUMN a")
    assert rows("DESCRIBE TABLE main.default.made") == [
        ("e", "string", None),
        ("c", "double", "new"),
        ("d", "date", None),
    ]
    rows("ALTER TABLE main.default.made RENAME TO renamed")
    assert rows("SELECT * FROM main.default.renamed") == [("x", None, None)]
    rows("TRUNCATE TABLE main.default.renamed")
    assert rows("SELECT count(*) FROM main.default.renamed") == [(0,)]
    rows("DROP TABLE main.default.renamed")
    rows("DROP TABLE IF EXISTS main.default.renamed")


def test_views_follow_their_table_and_temporary_ones_their_session(
    rows: Rows, table: str, warehouse: Warehouse
) -> None:
    rows(f"CREATE OR REPLACE VIEW main.default.wide AS SELECT id FROM {table} WHERE id > 1")
    rows(f"CREATE OR REPLACE TEMPORARY VIEW narrow AS SELECT max(id) AS top FROM {table}")
    rows(f"INSERT INTO {table} VALUES (4, 'd')")
    assert rows("SELECT count(*) FROM main.default.wide") == [(3,)]
    assert rows("SELECT top FROM narrow") == [(4,)]
    with open_connection(warehouse) as other, pytest.raises(ServerOperationError, match="TABLE_OR_VIEW_NOT_FOUND"):
        other.cursor().execute("SELECT * FROM narrow")
    with pytest.raises(ServerOperationError, match="EXPECT_TABLE_NOT_VIEW"):
        rows("DELETE FROM main.default.wide")
    rows("DROP VIEW main.default.wide")


def test_catalogs_and_schemas_can_be_made_used_and_dropped(rows: Rows) -> None:
    rows("CREATE CATALOG IF NOT EXISTS second")
    rows("CREATE SCHEMA second.area")
    rows("USE second.area")
    rows("CREATE TABLE here (a INT)")
    assert rows("SELECT current_catalog(), current_schema()") == [("second", "area")]
    assert rows("SHOW TABLES") == [("area", "here", False)]
    assert rows("SELECT count(*) FROM second.area.here JOIN main.blade.item ON a = id") == [(0,)]
    with pytest.raises(ServerOperationError, match="SCHEMA_NOT_EMPTY"):
        rows("DROP SCHEMA second.area")
    rows("USE CATALOG main")
    rows("DROP CATALOG second CASCADE")
    assert ("second",) not in rows("SHOW CATALOGS")


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SHOW CATALOGS", ("main",)),
        ("SHOW SCHEMAS IN main", ("blade",)),
        ("SHOW DATABASES LIKE 'bl*'", ("blade",)),
        ("SHOW TABLES IN main.blade", ("blade", "item", False)),
        ("SHOW TABLES IN blade LIKE 'x*|it*'", ("blade", "item", False)),
        ("SHOW COLUMNS IN main.blade.item", ("name",)),
        ("DESCRIBE main.blade.item", ("id", "bigint", None)),
        ("DESC TABLE EXTENDED main.blade.item", ("Type", "MANAGED", "")),
        ("SELECT table_name FROM main.information_schema.tables", ("item",)),
        ("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'item'", ("id", "BIGINT")),
        ("SELECT catalog_name, schema_name FROM system.information_schema.schemata", ("main", "blade")),
        ("SELECT catalog_name FROM system.information_schema.catalogs", ("main",)),
        ("SET ansi_mode", ("ansi_mode", "true")),
    ],
)
def test_the_catalog_can_be_looked_at(rows: Rows, statement: str, found: tuple[Any, ...]) -> None:
    assert found in rows(statement)


def test_the_metadata_calls_of_the_driver_list_the_same(cursor: Any) -> None:
    cursor.catalogs()
    assert "main" in [row.TABLE_CAT for row in cursor.fetchall()]
    cursor.schemas(catalog_name="main", schema_name="bl%")
    assert [tuple(row) for row in cursor.fetchall()] == [("blade", "main")]
    cursor.tables(catalog_name="main", schema_name="blade", table_types=["TABLE"])
    assert [row.TABLE_NAME for row in cursor.fetchall()] == ["item"]
    cursor.columns(catalog_name="main", table_name="item")
    assert [(row.COLUMN_NAME, row.TYPE_NAME) for row in cursor.fetchall()] == [
        ("id", "BIGINT"),
        ("name", "STRING"),
        ("amount", "DOUBLE"),
    ]


def test_files_of_every_kind_become_tables_and_a_database_file_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,day\n1,2024-01-02\n")
    (tmp_path / "b.ndjson").write_text('{"id": 1, "tags": ["x"]}\n{"id": 2, "tags": []}\n')
    (tmp_path / "c.json").write_text('[{"id": 1, "at": {"x": 1.5}}]')
    with ZipFile(tmp_path / "d.csv.zip", "w") as archive:
        archive.writestr("d.csv", "id\n7\n8\n")
    files = {"main.raw.a": "a.csv", "main.raw.b": "b.ndjson", "other.raw.c": "c.json", "main.raw.d": "d.csv.zip"}
    tables = {name: tmp_path / file for name, file in files.items()}
    database = tmp_path / "keep.duckdb"
    with Warehouse(tables=tables, database=database) as server, open_connection(server) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT day FROM main.raw.a")
        assert cursor.fetchone()[0] == datetime.date(2024, 1, 2)
        cursor.execute("SELECT sum(size(tags)) FROM main.raw.b")
        assert cursor.fetchone()[0] == 1
        cursor.execute("SELECT at.x FROM other.raw.c")
        assert cursor.fetchone()[0] == 1.5
    with Warehouse(database=database) as server, open_connection(server) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT sum(id) FROM main.raw.d")
        assert cursor.fetchone()[0] == 15


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [("a.b", "a.csv", "catalog.schema.table"), ("a.b.c", "a.csv", "does not exist"), ("a.b.c", "a.xls", "parquet")],
)
def test_a_wrong_table_option_is_refused_before_serving(tmp_path: Path, name: str, file: str, message: str) -> None:
    (tmp_path / "a.xls").write_text("")
    with pytest.raises(ValueError, match=message):
        Warehouse(tables={name: tmp_path / file}).start()


def test_a_version_read_while_others_write_is_that_version(rows: Rows, table: str, warehouse: Warehouse) -> None:
    stop = threading.Event()

    def write() -> None:
        with open_connection(warehouse) as connection:
            cursor = connection.cursor()
            while not stop.is_set():
                cursor.execute(f"INSERT INTO {table} VALUES (7, 'w')")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(25):
            version, before = latest(rows), len(content(rows, table))
            found = len(content(rows, f"{table} VERSION AS OF {version}"))
            assert found == len(content(rows, f"{table} VERSION AS OF {version}"))
            assert found == version - first_insert(rows) + 3 <= before + 1
    finally:
        stop.set()
        writer.join()


def first_insert(rows: Rows) -> int:
    """The version that put the three rows in; each later one adds a row."""
    found = rows("DESCRIBE HISTORY main.default.part")
    return max(int(row[0]) for row in found if row[4] == "CREATE OR REPLACE TABLE") + 1
