"""Multi-statement transactions, as the driver's ``autocommit``, ``commit`` and ``rollback`` drive them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from databricks.sql.exc import DatabaseError, TransactionError

from blade_sandbox.warehouse import Warehouse

from .conftest import Connect

CONFLICT = "DELTA_CONCURRENT_WRITE"


@pytest.fixture
def begin(connect: Connect) -> Callable[[], Any]:
    """Opens a connection whose statements are transactions of several."""

    def open_one() -> Any:
        connection = connect(ignore_transactions=False)
        connection.autocommit = False
        return connection

    return open_one


@pytest.fixture
def table(connect: Connect) -> Iterator[str]:
    """A table of one row, (1, 'initial')."""
    name = f"main.default.t_{uuid.uuid4().hex}"
    cursor = connect().cursor()
    cursor.execute(f"CREATE TABLE {name} (id INT NOT NULL, value STRING DEFAULT 'none')")
    cursor.execute(f"INSERT INTO {name} VALUES (1, 'initial')")
    yield name
    cursor.execute(f"DROP TABLE IF EXISTS {name}")


@pytest.fixture
def seen(connect: Connect, table: str) -> Callable[[], list[tuple[int, str]]]:
    """What another connection sees in the table."""

    def read() -> list[tuple[int, str]]:
        with connect().cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            return [tuple(row) for row in cursor.fetchall()]

    return read


def test_a_commit_shows_all_writes_at_once(
    begin: Callable[[], Any], table: str, seen: Callable[[], list[tuple[int, str]]]
) -> None:
    connection = begin()
    cursor = connection.cursor()
    cursor.execute(f"INSERT INTO {table} (id) VALUES (2)")
    cursor.execute(f"UPDATE {table} SET value = 'changed' WHERE id = 1")
    cursor.execute(f"SELECT count(*) FROM {table}")
    assert cursor.fetchone()[0] == 2
    assert seen() == [(1, "initial")]
    connection.commit()
    assert seen() == [(1, "changed"), (2, "none")]


def test_a_rollback_leaves_nothing_and_the_next_transaction_begins_by_itself(
    begin: Callable[[], Any], table: str, seen: Callable[[], list[tuple[int, str]]]
) -> None:
    connection = begin()
    cursor = connection.cursor()
    cursor.executemany(f"INSERT INTO {table} VALUES (%(id)s, %(value)s)", [{"id": n, "value": "x"} for n in (2, 3)])
    connection.rollback()
    assert seen() == [(1, "initial")]
    cursor.execute(f"DELETE FROM {table}")
    connection.commit()
    assert seen() == []


def test_closing_the_connection_rolls_back(
    begin: Callable[[], Any], table: str, seen: Callable[[], list[tuple[int, str]]]
) -> None:
    connection = begin()
    connection.cursor().execute(f"DELETE FROM {table}")
    connection.close()
    assert seen() == [(1, "initial")]


def test_several_tables_are_written_all_or_none(begin: Callable[[], Any], connect: Connect, table: str) -> None:
    other = f"{table}_other"
    check = connect().cursor()
    check.execute(f"CREATE TABLE {other} (id INT)")
    connection = begin()
    cursor = connection.cursor()
    cursor.execute(f"INSERT INTO {other} SELECT id FROM {table}")
    cursor.execute(f"INSERT INTO {table} VALUES (2, 'x')")
    check.execute(f"UPDATE {table} SET value = 'theirs'")
    with pytest.raises(TransactionError, match=CONFLICT):
        connection.commit()
    check.execute(f"SELECT count(*) FROM {other}")
    assert check.fetchone()[0] == 0
    check.execute(f"DROP TABLE {other}")


def test_reads_repeat_while_others_write(begin: Callable[[], Any], connect: Connect, table: str) -> None:
    cursor = begin().cursor()
    read = f"SELECT value FROM {table} WHERE id = 1"
    before = cursor.execute(read).fetchone()[0]
    connect().cursor().execute(f"UPDATE {table} SET value = 'modified'")
    assert cursor.execute(read).fetchone()[0] == before == "initial"


def test_the_second_of_two_writers_fails_at_its_commit(
    begin: Callable[[], Any], table: str, seen: Callable[[], list[tuple[int, str]]]
) -> None:
    first, second = begin(), begin()
    first.cursor().execute(f"UPDATE {table} SET value = 'first'")
    second.cursor().execute(f"UPDATE {table} SET value = 'second'")
    first.commit()
    with pytest.raises(TransactionError, match=CONFLICT):
        second.commit()
    assert seen() == [(1, "first")]
    second.cursor().execute(f"UPDATE {table} SET value = 'again'")
    second.commit()
    assert seen() == [(1, "again")]


def test_after_a_failed_statement_only_rollback_is_left(
    begin: Callable[[], Any], table: str, seen: Callable[[], list[tuple[int, str]]]
) -> None:
    connection = begin()
    cursor = connection.cursor()
    cursor.execute(f"INSERT INTO {table} VALUES (2, 'x')")
    with pytest.raises(DatabaseError, match="TABLE_OR_VIEW_NOT_FOUND"):
        cursor.execute("SELECT * FROM nowhere")
    with pytest.raises(DatabaseError, match="TRANSACTION_ABORTED"):
        cursor.execute(f"SELECT * FROM {table}")
    with pytest.raises(TransactionError, match="TRANSACTION_ABORTED"):
        connection.commit()
    connection.rollback()
    assert seen() == [(1, "initial")]


@pytest.mark.parametrize(
    "statement",
    [
        "SHOW TABLES IN main.default",
        "SHOW SCHEMAS IN main",
        "SHOW CATALOGS",
        "SHOW FUNCTIONS",
        "DESCRIBE TABLE EXTENDED {table}",
        "DESCRIBE QUERY SELECT * FROM {table}",
        "SELECT * FROM main.information_schema.columns LIMIT 1",
        "SELECT * FROM {table} VERSION AS OF 0",
        "CREATE TABLE {table}_new (a INT)",
        "DROP TABLE {table}",
        "TRUNCATE TABLE {table}",
    ],
)
def test_what_a_transaction_does_not_allow_is_refused_and_ends_it(
    begin: Callable[[], Any], table: str, statement: str
) -> None:
    connection = begin()
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM {table}")
    with pytest.raises(DatabaseError, match="not supported in a transaction"):
        cursor.execute(statement.format(table=table))
    with pytest.raises(DatabaseError, match="TRANSACTION_ABORTED"):
        cursor.execute("SELECT 1")
    connection.rollback()
    assert cursor.execute("SELECT 1").fetchone()[0] == 1


@pytest.mark.parametrize("statement", ["DESCRIBE TABLE {table}", "DESCRIBE {table}", "SHOW COLUMNS IN {table}"])
def test_columns_may_be_looked_at(begin: Callable[[], Any], table: str, statement: str) -> None:
    cursor = begin().cursor()
    cursor.execute(f"SELECT * FROM {table}")
    cursor.execute(statement.format(table=table))
    assert len(cursor.fetchall()) == 2


@pytest.mark.parametrize("call", ["catalogs", "schemas", "tables", "columns"])
def test_the_metadata_calls_are_refused_and_do_not_end_it(begin: Callable[[], Any], table: str, call: str) -> None:
    connection = begin()
    cursor = connection.cursor()
    cursor.execute(f"DELETE FROM {table}")
    with pytest.raises(DatabaseError, match="multi-statement transaction"):
        getattr(cursor, call)()
    connection.commit()
    assert cursor.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def test_commit_without_a_transaction_is_an_error_and_rollback_is_not(connect: Connect) -> None:
    connection = connect(ignore_transactions=False, fetch_autocommit_from_server=True)
    assert connection.autocommit is True
    with pytest.raises(TransactionError, match="NO_ACTIVE_TRANSACTION"):
        connection.commit()
    connection.rollback()
    connection.autocommit = False
    assert connection.autocommit is False
    connection.commit()


def test_autocommit_stays_while_a_transaction_is_open(begin: Callable[[], Any], table: str) -> None:
    connection = begin()
    connection.cursor().execute(f"INSERT INTO {table} VALUES (2, 'x')")
    with pytest.raises(TransactionError, match="COMMIT or ROLLBACK first"):
        connection.autocommit = True
    connection.rollback()
    connection.autocommit = True


def test_begin_transaction_opens_one_under_autocommit(
    connect: Connect, table: str, seen: Callable[[], list[tuple[int, str]]]
) -> None:
    cursor = connect().cursor()
    cursor.execute("BEGIN TRANSACTION")
    with pytest.raises(DatabaseError, match="NESTED_TRANSACTION"):
        cursor.execute("BEGIN TRANSACTION")
    cursor.execute(f"MERGE INTO {table} t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE")
    cursor.execute(f"INSERT OVERWRITE {table} VALUES (9, 'over')")
    assert seen() == [(1, "initial")]
    cursor.execute("COMMIT")
    assert seen() == [(9, "over")]


def test_a_constraint_holds_inside_a_transaction(begin: Callable[[], Any], table: str) -> None:
    with pytest.raises(DatabaseError, match="DELTA_NOT_NULL_CONSTRAINT_VIOLATED"):
        begin().cursor().execute(f"INSERT INTO {table} VALUES (NULL, 'x')")


def test_a_transaction_leaves_no_copies_behind(
    begin: Callable[[], Any], rows: Any, table: str, warehouse: Warehouse
) -> None:
    connection, left = begin(), begin()
    connection.cursor().execute(f"UPDATE {table} SET value = 'x'")
    left.cursor().execute(f"SELECT * FROM {table}")
    lakehouse = warehouse._lakehouse
    assert lakehouse is not None
    copies = "SELECT count(DISTINCT schema_name) FROM duckdb_schemas() WHERE schema_name LIKE '.transaction.%'"
    assert lakehouse.rows(copies) == [(2,)]
    connection.commit()
    left.close()
    assert lakehouse.rows(copies) == [(0,)]
    assert [row[1] for row in rows("SHOW TABLES IN main.default LIKE 't_*'")] == [table.rsplit(".", 1)[1]]
    assert [row[4] for row in rows(f"DESCRIBE HISTORY {table}")] == ["UPDATE", "WRITE", "CREATE TABLE"]


def test_copies_a_killed_warehouse_left_in_its_file_go_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "kept.duckdb"
    with duckdb.connect(str(path)) as file:
        file.execute('CREATE SCHEMA ".transaction.1f.main.default"')
        file.execute('CREATE TABLE ".transaction.1f.main.default".t (a INT)')
    with Warehouse(database=path) as server:
        assert server._lakehouse is not None
        assert server._lakehouse.rows("SELECT * FROM duckdb_schemas() WHERE schema_name LIKE '.transaction%'") == []
