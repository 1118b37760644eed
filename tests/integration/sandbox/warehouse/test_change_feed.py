"""Change data feeds: table_changes() gives what each version of a table brought and took."""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from databricks.sql.exc import DatabaseError, ServerOperationError

from blade_sandbox.warehouse import Warehouse
from blade_sandbox.warehouse.lake import change_feed
from blade_sandbox.warehouse.sql import table_changes

from .conftest import Connect, open_connection

Rows = Callable[..., list[tuple[Any, ...]]]
ON = "TBLPROPERTIES (delta.enableChangeDataFeed = true)"
T = "main.default.feed"


@pytest.fixture
def table(rows: Rows) -> str:
    """Three rows: version 0 made it, version 1 put them in."""
    rows(f"DROP TABLE IF EXISTS {T}")
    rows(f"CREATE TABLE {T} (id INT NOT NULL, name STRING, tags ARRAY<INT>) {ON}")
    rows(f"INSERT INTO {T} VALUES (1, 'a', array(1)), (2, 'b', NULL), (3, 'c', array(3, 3))")
    return T


def changed(rows: Rows, *bounds: object) -> list[tuple[Any, ...]]:
    """Change type, version and id of the changes, in order."""
    spelled = ", ".join(str(bound) for bound in bounds)
    return rows(f"SELECT _change_type, _commit_version, id FROM table_changes('{T}', {spelled}) ORDER BY 2, 3, 1")


def latest(rows: Rows) -> int:
    return int(rows(f"DESCRIBE HISTORY {T} LIMIT 1")[0][0])


def test_each_kind_of_change_has_its_rows(rows: Rows, cursor: Any, table: str) -> None:
    rows(f"UPDATE {table} SET name = upper(name) WHERE id = 1")
    rows(f"DELETE FROM {table} WHERE id = 2")
    cursor.execute(
        f"SELECT * FROM table_changes('{table}', 1) WHERE _commit_version > 1 ORDER BY _commit_version, name"
    )
    assert [column[0] for column in cursor.description] == [
        *("id", "name", "tags"),
        *("_change_type", "_commit_version", "_commit_timestamp"),
    ]
    assert [column[1] for column in cursor.description][3:] == ["string", "bigint", "timestamp"]
    found = cursor.fetchall()
    assert [(row.id, row.name, row._change_type, row._commit_version) for row in found] == [
        (1, "A", "update_postimage", 2),
        (1, "a", "update_preimage", 2),
        (2, "b", "delete", 3),
    ]
    history = {row[0]: row[1] for row in rows(f"DESCRIBE HISTORY {table}")}
    assert [row._commit_timestamp for row in found] == [history[2], history[2], history[3]]


MERGE = f"MERGE INTO {T} AS t USING (VALUES (1, 'x'), (2, 'y'), (9, 'z')) AS s(id, name) ON t.id = s.id"
INSERTED = "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)"


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        (f"INSERT INTO {T} (id) VALUES (4), (5)", {"insert": 2}),
        (f"INSERT INTO {T} SELECT id + 10, name, tags FROM {T}", {"insert": 3}),
        (f"INSERT INTO {T} SELECT id, name, tags FROM table_changes('{T}', 1)", {"insert": 3}),
        (f"INSERT OVERWRITE {T} VALUES (1, 'a', array(1)), (7, 'g', NULL)", {"delete": 3, "insert": 2}),
        (f"UPDATE {T} SET name = name", {"update_preimage": 3, "update_postimage": 3}),
        (f"UPDATE {T} SET tags = array(7), id = id + 1 WHERE id > 1", {"update_preimage": 2, "update_postimage": 2}),
        (
            f"UPDATE {T} AS q SET q.name = 'n' WHERE q.id IN (SELECT max(id) FROM {T})",
            {"update_preimage": 1, "update_postimage": 1},
        ),
        (f"UPDATE {T} SET name = 'n' WHERE id > 99", {}),
        (f"DELETE FROM {T} AS q WHERE q.id <> 2", {"delete": 2}),
        (f"DELETE FROM {T}", {"delete": 3}),
        (f"TRUNCATE TABLE {T}", {"delete": 3}),
        (
            f"{MERGE} WHEN MATCHED AND s.id = 2 THEN DELETE WHEN MATCHED THEN UPDATE SET name = s.name {INSERTED}",
            {"delete": 1, "update_preimage": 1, "update_postimage": 1, "insert": 1},
        ),
        (
            f"{MERGE} WHEN MATCHED AND t.name = 'b' THEN UPDATE SET tags = array(0)",
            {"update_preimage": 1, "update_postimage": 1},
        ),
        (f"{MERGE} {INSERTED}", {"insert": 1}),
        (f"{MERGE} WHEN MATCHED THEN DELETE", {"delete": 2}),
        (
            f"{MERGE} WHEN NOT MATCHED BY SOURCE AND t.id > 2 THEN UPDATE SET name = 'gone' WHEN MATCHED THEN DELETE",
            {"update_preimage": 1, "update_postimage": 1, "delete": 2},
        ),
        (f"{MERGE} WHEN NOT MATCHED BY SOURCE THEN DELETE", {"delete": 1}),
        (
            f"CREATE OR REPLACE TABLE {T} {ON} AS SELECT 5 AS id, 'e' AS name, array(5) AS tags",
            {"delete": 3, "insert": 1},
        ),
    ],
)
def test_the_changes_of_a_statement_make_the_new_rows_of_the_old(
    rows: Rows, table: str, statement: str, kinds: dict[str, int]
) -> None:
    before = Counter(rows(f"SELECT id, name, string(tags) FROM {table}"))
    rows(statement)
    version = latest(rows)
    found = rows(f"SELECT _change_type, id, name, string(tags) FROM table_changes('{table}', {version}, {version})")
    assert Counter(row[0] for row in found) == kinds
    for kind, *row in found:
        before[tuple(row)] += 1 if kind in ("insert", "update_postimage") else -1
    assert +before == Counter(rows(f"SELECT id, name, string(tags) FROM {table}"))
    assert min(before.values(), default=0) >= 0


def test_a_statement_with_parameters_records_its_changes(rows: Rows, table: str) -> None:
    rows(f"UPDATE {table} SET name = :name WHERE id = :id", {"name": "q", "id": 2})
    assert changed(rows, 2) == [("update_postimage", 2, 2), ("update_preimage", 2, 2)]


def test_counts_are_told_as_without_a_feed(rows: Rows, table: str) -> None:
    assert rows(f"INSERT INTO {table} (id) VALUES (4), (5)") == [(2, 2)]
    assert rows(f"UPDATE {table} SET name = 'n' WHERE id > 3") == [(2,)]
    assert rows(f"DELETE FROM {table} WHERE id > 4") == [(1,)]
    assert rows(f"{MERGE} WHEN MATCHED AND s.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET name = s.name") == [
        (2, 1, 1, 0)
    ]
    assert rows(f"DELETE FROM {table}") == [(3,)]


def test_a_table_with_all_that_is_in_it_is_inserted_by_its_first_version(rows: Rows) -> None:
    rows(f"CREATE OR REPLACE TABLE {T} {ON} AS SELECT id FROM range(3)")
    version = latest(rows)
    assert changed(rows, version) == [("insert", version, n) for n in range(3)]


def test_a_range_has_both_ends_and_may_be_of_versions_or_times(rows: Rows, cursor: Any, table: str) -> None:
    rows(f"DELETE FROM {table} WHERE id = 1")
    rows(f"DELETE FROM {table} WHERE id = 2")
    assert [row[2] for row in changed(rows, 2, 3)] == [1, 2]
    assert [row[2] for row in changed(rows, 3, 3)] == [2]
    times = {row[0]: row[1] for row in rows(f"DESCRIBE HISTORY {table}")}
    assert [row[2] for row in changed(rows, f"'{times[2].isoformat()}'", f"'{times[2].isoformat()}'")] == [1]
    between = times[2] + (times[3] - times[2]) / 2
    assert [row[2] for row in changed(rows, f"timestamp'{between.isoformat()}'")] == [2]
    assert changed(rows, f"'{between.isoformat()}'", f"'{between.isoformat()}'") == []
    first = rows("SELECT id FROM table_changes(:t, :a, :b)", {"t": table, "a": 2, "b": 2})
    assert first == [(1,)]


@pytest.mark.parametrize(
    "name", ["main.default.feed", "default.feed", "feed", "`main`.default.`feed`", "MAIN.Default.FEED"]
)
def test_the_table_is_named_as_everywhere(rows: Rows, table: str, name: str) -> None:
    assert rows(f"SELECT count(*) FROM table_changes('{name}', 1)") == [(3,)]


def test_a_name_with_odd_letters_is_quoted_within_the_text(rows: Rows) -> None:
    rows("CREATE SCHEMA IF NOT EXISTS main.`odd schema`")
    rows(f"CREATE OR REPLACE TABLE main.`odd schema`.`t-1` {ON} AS SELECT 1 AS id")
    assert rows("SELECT id FROM table_changes('main.`odd schema`.`t-1`', 0)") == [(1,)]
    rows("DROP SCHEMA main.`odd schema` CASCADE")


def test_changes_are_joined_and_named_like_a_table(rows: Rows, table: str) -> None:
    rows(f"DELETE FROM {table} WHERE id = 2")
    joined = f"SELECT c._change_type, t.id FROM {table} AS t RIGHT JOIN table_changes('{table}', 2) AS c ON c.id = t.id"
    assert rows(joined) == [("delete", None)]
    assert rows(f"WITH c AS (SELECT * FROM table_changes('{table}', 1)) SELECT count(*) FROM c") == [(4,)]
    assert rows(f"SELECT count(*) FROM (SELECT feed.id FROM table_changes('{table}', 1))") == [(4,)]


# ---------------------------------------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        (("2",), r"\[DELTA_CDC_START_VERSION_AFTER_LATEST\].*Start version 2 .*exceeds the latest table version 1"),
        (("1", "0"), r"\[DELTA_INVALID_CDC_RANGE\] CDC range from start 1 to end 0 was invalid"),
        (("0", "2"), r"\[DELTA_VERSION_NOT_FOUND\].*version 2.*\[0, 1\]"),
        (("-1",), r"\[DELTA_VERSION_NOT_FOUND\].*version -1"),
        (("NULL",), r"\[DELTA_CDC_READ_NULL_RANGE_BOUNDARY\]"),
        (("'2999-01-01'",), r"\[DELTA_TIMESTAMP_GREATER_THAN_COMMIT\]"),
        (("0", "'2999-01-01'"), r"\[DELTA_TIMESTAMP_GREATER_THAN_COMMIT\]"),
        (("0", "'2001-01-01'"), r"\[DELTA_TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION\]"),
        (("'yesterday'",), r"a timestamp in quotes"),
        ((), r"a start and an end"),
    ],
)
def test_a_range_that_is_none_is_an_error(rows: Rows, table: str, bounds: tuple[str, ...], error: str) -> None:
    with pytest.raises(ServerOperationError, match=f"(?s){error}"):
        rows(f"SELECT * FROM table_changes({', '.join([repr(table), *bounds])})")


def test_a_time_before_the_table_starts_at_its_first_version(rows: Rows, table: str) -> None:
    assert len(changed(rows, "'2001-01-01'")) == 3


def test_no_changes_are_recorded_before_the_feed_is_on_and_while_it_is_off(rows: Rows) -> None:
    rows(f"CREATE OR REPLACE TABLE {T} (id INT)")
    with pytest.raises(ServerOperationError, match=r"\[DELTA_MISSING_CHANGE_DATA\]"):
        changed(rows, 0)
    start = latest(rows)
    rows(f"INSERT INTO {T} VALUES (1)")
    rows(f"ALTER TABLE {T} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
    rows(f"INSERT INTO {T} VALUES (2)")
    assert changed(rows, start + 2) == [("insert", start + 3, 2)]
    error = (
        rf"(?s)range \[{start + 1} , {start + 3}\] as change data was not\s+recorded for version \[{start + 1}\].*KD002"
    )
    with pytest.raises(ServerOperationError, match=error):
        changed(rows, start + 1)
    rows(f"ALTER TABLE {T} SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'false')")
    rows(f"INSERT INTO {T} VALUES (3)")
    rows(f"ALTER TABLE {T} SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'TRUE')")
    rows(f"INSERT INTO {T} VALUES (4)")
    with pytest.raises(ServerOperationError, match=rf"recorded for version \[{start + 4}\]"):
        changed(rows, start + 2)
    assert changed(rows, start + 6) == [("insert", start + 7, 4)]
    assert changed(rows, start + 2, start + 3) == [("insert", start + 3, 2)]


def test_a_table_that_is_replaced_without_the_property_has_no_feed(rows: Rows, table: str) -> None:
    rows(f"CREATE OR REPLACE TABLE {table} AS SELECT 1 AS id, 'a' AS name, array(1) AS tags")
    with pytest.raises(ServerOperationError, match=r"recorded for version \[2\]"):
        changed(rows, 1)
    assert len(changed(rows, 0, 1)) == 3


def test_vacuumed_changes_are_gone_and_the_later_ones_are_there(rows: Rows, table: str) -> None:
    rows(f"VACUUM {table}")
    rows(f"VACUUM {table} RETAIN 0 HOURS DRY RUN")
    assert len(changed(rows, 1)) == 3
    rows(f"VACUUM {table} RETAIN 0 HOURS")
    rows(f"DELETE FROM {table} WHERE id = 1")
    with pytest.raises(ServerOperationError, match=r"\[DELTA_CHANGE_DATA_FILE_NOT_FOUND\].*VACUUM"):
        changed(rows, 1)
    assert changed(rows, 2) == [("delete", 2, 1)]


def test_changes_that_go_while_a_statement_begins_are_missed_by_nobody(
    rows: Rows, table: str, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite = table_changes.rewrite

    def then_vacuum(*arguments: Any) -> Any:
        found = rewrite(*arguments)
        warehouse.run(f"VACUUM {table} RETAIN 0 HOURS")
        return found

    monkeypatch.setattr(table_changes, "rewrite", then_vacuum)
    with pytest.raises(ServerOperationError, match="DELTA_CHANGE_DATA_FILE_NOT_FOUND"):
        changed(rows, 1)


def test_the_oldest_changes_go_when_there_are_too_many(rows: Rows, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_feed, "KEEP_ROWS", 5)
    rows(f"INSERT INTO {table} (id) VALUES (4), (5), (6)")
    assert len(changed(rows, 2)) == 3
    with pytest.raises(ServerOperationError, match="DELTA_CHANGE_DATA_FILE_NOT_FOUND"):
        changed(rows, 1)
    rows(f"INSERT OVERWRITE {table} SELECT id, 'x', NULL FROM range(6)")
    with pytest.raises(ServerOperationError, match="DELTA_CHANGE_DATA_FILE_NOT_FOUND"):
        changed(rows, 3)
    rows(f"DELETE FROM {table} WHERE id = 0")
    assert changed(rows, 4) == [("delete", 4, 0)]


def test_added_columns_are_null_before_and_renamed_ones_cut_the_range(rows: Rows, table: str) -> None:
    rows(f"ALTER TABLE {table} ADD COLUMNS (more DECIMAL(10,2))")
    rows(f"INSERT INTO {table} (id, more) VALUES (4, 1.5)")
    found = rows(f"SELECT id, more FROM table_changes('{table}', 1) ORDER BY id")
    assert [(row[0], row[1] is None) for row in found] == [(1, True), (2, True), (3, True), (4, False)]
    rows(f"ALTER TABLE {table} RENAME COLUMN name TO title")
    rows(f"DELETE FROM {table} WHERE id = 1")
    with pytest.raises(
        ServerOperationError, match=r"(?s)\[DELTA_CHANGE_DATA_FEED_INCOMPATIBLE_SCHEMA_CHANGE\].*version 4"
    ):
        changed(rows, 1)
    assert rows(f"SELECT title FROM table_changes('{table}', 4)") == [("a",)]
    assert len(changed(rows, 1, 3)) == 4


def test_a_restore_takes_all_rows_out_and_puts_the_old_ones_in(rows: Rows, table: str) -> None:
    rows(f"DELETE FROM {table} WHERE id = 1")
    assert len(rows(f"RESTORE TABLE {table} TO VERSION AS OF 1")[0]) == 6
    assert rows(f"SELECT count(*) FROM {table}") == [(3,)]
    assert Counter(row[0] for row in changed(rows, 3)) == {"delete": 2, "insert": 3}
    operation, parameters = rows(f"DESCRIBE HISTORY {table} LIMIT 1")[0][4:6]
    assert (operation, dict(parameters)["version"]) == ("RESTORE", "1")
    at = rows(f"DESCRIBE HISTORY {table}")[1][1]
    rows(f"RESTORE {table} TO TIMESTAMP AS OF '{at.isoformat()}'")
    assert rows(f"SELECT id FROM {table} ORDER BY id") == [(2,), (3,)]
    with pytest.raises(ServerOperationError, match="DELTA_VERSION_NOT_FOUND"):
        rows(f"RESTORE TABLE {table} TO VERSION AS OF 77")


def test_a_restore_brings_the_feed_of_its_version_back(rows: Rows) -> None:
    rows(f"CREATE OR REPLACE TABLE {T} AS SELECT 1 AS id")
    start = latest(rows)
    rows(f"ALTER TABLE {T} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
    rows(f"RESTORE TABLE {T} TO VERSION AS OF {start}")
    with pytest.raises(ServerOperationError, match=rf"recorded for version \[{start + 2}\]"):
        changed(rows, start + 1)
    rows(f"RESTORE TABLE {T} TO VERSION AS OF {start + 1}")
    rows(f"DELETE FROM {T}")
    assert [row[0] for row in changed(rows, start + 4)] == ["delete"]


def test_a_failed_statement_leaves_no_changes(rows: Rows, table: str) -> None:
    for statement in (f"INSERT INTO {table} (id) VALUES (8), (NULL)", f"UPDATE {table} SET id = NULL WHERE id < 3"):
        with pytest.raises(ServerOperationError, match="NOT_NULL"):
            rows(statement)
    assert latest(rows) == 1
    assert len(changed(rows, 0)) == 3


def test_views_have_no_changes_and_are_made_of_none(rows: Rows, table: str) -> None:
    rows(f"CREATE OR REPLACE VIEW main.default.feed_view AS SELECT * FROM {table}")
    with pytest.raises(ServerOperationError, match="EXPECT_TABLE_NOT_VIEW"):
        rows("SELECT * FROM table_changes('main.default.feed_view', 0)")
    with pytest.raises(ServerOperationError, match="a view over table_changes"):
        rows(f"CREATE OR REPLACE VIEW main.default.feed_view AS SELECT * FROM table_changes('{table}', 0)")
    rows("DROP VIEW main.default.feed_view")
    with pytest.raises(ServerOperationError, match="TABLE_OR_VIEW_NOT_FOUND"):
        rows("SELECT * FROM table_changes('main.default.nowhere', 0)")


def test_transactions_neither_read_nor_write_with_a_feed(connect: Connect, table: str) -> None:
    for statement in (f"DELETE FROM {table}", f"SELECT * FROM table_changes('{table}', 0)"):
        connection = connect(ignore_transactions=False)
        connection.autocommit = False
        with pytest.raises(DatabaseError, match="TRANSACTION_NOT_SUPPORTED"):
            connection.cursor().execute(statement)
        connection.rollback()


def test_a_feed_that_is_switched_on_meanwhile_records_the_statement_that_waited(
    rows: Rows, warehouse: Warehouse
) -> None:
    """Writers side by side, while the feed is switched: whatever came after it is recorded."""
    rows(f"CREATE OR REPLACE TABLE {T} (id INT)")
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(warehouse.run, f"INSERT INTO {T} VALUES ({n})") for n in range(10)]
        warehouse.run(f"ALTER TABLE {T} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
        writes += [pool.submit(warehouse.run, f"INSERT INTO {T} VALUES ({n})") for n in range(10, 20)]
        for write in writes:
            write.result()
    history = rows(f"DESCRIBE HISTORY {T}")
    switched = next(row[0] for row in history if row[4] == "SET TBLPROPERTIES")
    assert [row[1] for row in changed(rows, switched)] == sorted(row[0] for row in history if row[0] > switched)


# --------------------------------------------------------------------------------------------------- what tells of it


def test_properties_are_shown_set_and_unset(rows: Rows, cursor: Any, table: str) -> None:
    assert ("delta.enableChangeDataFeed", "true") in rows(f"SHOW TBLPROPERTIES {table}")
    rows(f"ALTER TABLE {table} SET TBLPROPERTIES ('owner.team' = 'ops', delta.EnableChangeDataFeed = FALSE)")
    assert rows(f"SHOW TBLPROPERTIES {table} ('owner.team')") == [("owner.team", "ops")]
    assert rows(f"SHOW TBLPROPERTIES {table} (delta.enableChangeDataFeed)")[0][1] == "false"
    rows(f"ALTER TABLE {table} UNSET TBLPROPERTIES (owner.team)")
    assert "does not have property" in rows(f"SHOW TBLPROPERTIES {table} ('owner.team')")[0][1]
    with pytest.raises(ServerOperationError, match="UNSET_NONEXISTENT_PROPERTIES"):
        rows(f"ALTER TABLE {table} UNSET TBLPROPERTIES ('owner.team')")
    rows(f"ALTER TABLE {table} UNSET TBLPROPERTIES IF EXISTS ('owner.team')")
    cursor.execute(f"DESCRIBE DETAIL {table}")
    assert dict(cursor.fetchone().properties) == {"delta.enableChangeDataFeed": "false"}
    history = rows(f"DESCRIBE HISTORY {table}")
    assert [row[4] for row in history[:3]] == ["UNSET TBLPROPERTIES", "UNSET TBLPROPERTIES", "SET TBLPROPERTIES"]
    assert '"owner.team": "ops"' in dict(history[2][5])["properties"]
    shown = {row[0]: row[1] for row in rows(f"DESCRIBE TABLE EXTENDED {table}")}
    assert shown["Table Properties"] == "[delta.enableChangeDataFeed=false]"


@pytest.mark.parametrize("statement", ["(delta.x", "()", "delta.x = 1", "(delta.x = 1) more", "(delta.x = )"])
def test_properties_that_are_none_are_a_syntax_error(rows: Rows, table: str, statement: str) -> None:
    with pytest.raises(ServerOperationError, match="PARSE_SYNTAX_ERROR"):
        rows(f"ALTER TABLE {table} SET TBLPROPERTIES {statement}")


def test_a_column_with_a_name_of_the_feed_keeps_it_off(rows: Rows) -> None:
    rows(f"CREATE OR REPLACE TABLE {T} (id INT, _commit_version INT)")
    with pytest.raises(
        ServerOperationError, match=r"(?s)DELTA_TABLE_ALREADY_CONTAINS_CDC_COLUMNS.*\[_commit_version\]"
    ):
        rows(f"ALTER TABLE {T} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")


def test_the_id_of_a_table_stays_until_another_takes_its_name(rows: Rows, cursor: Any, table: str) -> None:
    def table_id(name: str = table) -> str:
        cursor.execute(f"DESCRIBE DETAIL {name}")
        return str(cursor.fetchone().id)

    first = table_id()
    rows(f"INSERT INTO {table} (id) VALUES (4)")
    rows(f"ALTER TABLE {table} ADD COLUMNS (more INT)")
    rows(f"TRUNCATE TABLE {table}")
    assert table_id() == first
    rows(f"ALTER TABLE {table} RENAME TO feed_renamed")
    assert table_id("main.default.feed_renamed") == first
    rows("INSERT INTO main.default.feed_renamed (id) VALUES (5)")
    assert rows("SELECT id FROM table_changes('main.default.feed_renamed', 1)") == [(5,)]
    rows("ALTER TABLE main.default.feed_renamed RENAME TO feed")
    rows(f"CREATE OR REPLACE TABLE {table} (id INT) {ON}")
    second = table_id()
    rows(f"DROP TABLE {table}")
    rows(f"CREATE TABLE {table} (id INT) {ON}")
    assert len({first, second, table_id()}) == 3
    assert changed(rows, 0) == []
    rows(f"CREATE OR REPLACE TABLE main.default.feed_clone CLONE {table}")
    assert table_id("main.default.feed_clone") != table_id()
    assert ("delta.enableChangeDataFeed", "true") in rows("SHOW TBLPROPERTIES main.default.feed_clone")
    rows("DROP TABLE main.default.feed_clone")


def test_the_feed_is_in_the_database_file(tmp_path: Path) -> None:
    database = tmp_path / "keep.duckdb"
    with Warehouse(database=database) as server:
        server.run(f"CREATE TABLE {T} {ON} AS SELECT 1 AS id")
        server.run(f"INSERT INTO {T} VALUES (2)")
    with Warehouse(database=database) as server, open_connection(server) as connection:
        server.run(f"DELETE FROM {T} WHERE id = 1")
        cursor = connection.cursor()
        cursor.execute(f"SELECT _change_type, id FROM table_changes('{T}', 0) ORDER BY _commit_version")
        assert [tuple(row) for row in cursor.fetchall()] == [("insert", 1), ("insert", 2), ("delete", 1)]


def test_a_few_changes_of_a_large_table_are_read_at_once(warehouse: Warehouse) -> None:
    """1,000 rows in 1 million: what is read is what changed."""
    warehouse.run(f"CREATE OR REPLACE TABLE {T} AS SELECT id, 'x' AS name FROM range(1000000)")
    warehouse.run(f"ALTER TABLE {T} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
    warehouse.run(f"UPDATE {T} SET name = 'y' WHERE id < 1000")
    began = time.process_time()
    (count,) = warehouse.run(f"SELECT count(*) FROM table_changes('{T}', 2) WHERE _change_type = 'update_postimage'")[0]
    assert count == 1000
    assert datetime.timedelta(seconds=time.process_time() - began) < datetime.timedelta(seconds=1)
    warehouse.run(f"DROP TABLE {T}")
