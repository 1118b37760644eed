"""What the driver's published end-to-end suite asks of a warehouse, in tests of our own."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from databricks import sql
from databricks.sql.exc import DatabaseError, RequestError, ServerOperationError
from urllib3.exceptions import HTTPError

from blade_sandbox.warehouse import Warehouse

from .conftest import Connect, open_connection

Rows = Callable[..., list[tuple[Any, ...]]]
UTC = datetime.UTC

VALUES = [
    ("TRUE", "boolean", True),
    ("cast(1 AS TINYINT)", "tinyint", 1),
    ("cast(1000 AS SMALLINT)", "smallint", 1000),
    ("cast(100000 AS INTEGER)", "int", 100000),
    ("cast(10000000000000 AS BIGINT)", "bigint", 10000000000000),
    ("cast(100.001 AS DECIMAL(6, 3))", "decimal", Decimal("100.001")),
    ("5E3BD", "decimal", Decimal(5000)),
    ("date '2020-02-20'", "date", datetime.date(2020, 2, 20)),
    ("unhex('f000')", "binary", b"\xf0\x00"),
    ("'foo'", "string", "foo"),
    ("'数据砖 😀'", "string", "数据砖 😀"),
    ("CAST(NULL AS DOUBLE)", "double", None),
    ("NULL", "string", None),
    ("struct(1 as a, 2 as b)", "struct", {"a": 1, "b": 2}),
    ("map(1, 2, 3, 4)", "map", [(1, 2), (3, 4)]),
]


@pytest.mark.parametrize(("expression", "kind", "value"), VALUES)
def test_a_value_has_its_type_alone_and_in_many_rows(cursor: Any, expression: str, kind: str, value: Any) -> None:
    for statement in (f"SELECT {expression}", f"SELECT {expression}, id FROM RANGE(5000)"):
        cursor.execute(statement)
        assert cursor.description[0][1] == kind
        while found := cursor.fetchmany(1000):
            assert all(row[0] == value and type(row[0]) is type(value) for row in found)


def test_an_array_is_an_array(cursor: Any) -> None:
    (found,) = cursor.execute("SELECT array(1, 2, 3)").fetchone()
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [1, 2, 3]


def test_complex_columns_are_text_where_the_client_wants_text(connect: Connect) -> None:
    cursor = connect(_use_arrow_native_complex_types=False).cursor()
    cursor.execute("SELECT map('a', array(1)) AS m, array(named_struct('x', 'y')) AS a, named_struct('b', 2) AS s")
    assert [json.loads(value) for value in cursor.fetchone()] == [{"a": [1]}, [{"x": "y"}], {"b": 2}]


TIMES = [
    ("2021-09-30 11:27:35.123+04:00", datetime.datetime(2021, 9, 30, 7, 27, 35, 123000, UTC)),
    ("2021-09-30 11:27:35.123", datetime.datetime(2021, 9, 30, 11, 27, 35, 123000, UTC)),
    ("2021-09-30 11:27", datetime.datetime(2021, 9, 30, 11, 27, tzinfo=UTC)),
    ("2021-09-30 11", datetime.datetime(2021, 9, 30, 11, tzinfo=UTC)),
    ("2021-09-30", datetime.datetime(2021, 9, 30, tzinfo=UTC)),
    ("2021-09", datetime.datetime(2021, 9, 1, tzinfo=UTC)),
    ("2021", datetime.datetime(2021, 1, 1, tzinfo=UTC)),
    ("9999-12-31T15:59:59", datetime.datetime(9999, 12, 31, 15, 59, 59, tzinfo=UTC)),
    ("9999-99-31T15:59:59", None),
]


@pytest.mark.parametrize(("text", "time"), TIMES)
def test_short_and_impossible_times_without_ansi_mode(connect: Connect, text: str, time: Any) -> None:
    cursor = connect(session_configuration={"ansi_mode": False}).cursor()
    cursor.execute(f"SELECT TIMESTAMP('{text}'), DATE('{text}'), CAST(s AS TIMESTAMP) FROM VALUES ('{text}') t(s)")
    table = cursor.fetchall_arrow()
    assert table.field(0).type == pa.timestamp("us", tz="Etc/UTC")
    day = datetime.date.fromisoformat(text[:10]) if time and len(text) >= 10 else time and time.date()
    assert [table.column(number)[0].as_py() for number in range(3)] == [time, day, time]


def test_ansi_mode_is_what_the_session_says(connect: Connect) -> None:
    for mode in (True, False):
        cursor = connect(session_configuration={"ansi_mode": mode}).cursor()
        assert list(cursor.execute("SET ansi_mode").fetchone()) == ["ansi_mode", str(mode)]
    statement = (
        "SELECT CAST('x' AS INT), 1 / 0, CAST('1.9' AS INT), CAST(s AS INT), array(1)[5] FROM VALUES ('2.5') t(s)"
    )
    assert tuple(cursor.execute(statement).fetchone()) == (None, None, 1, 2, None)
    cursor.execute("SET ansi_mode = true")
    with pytest.raises(ServerOperationError, match="CAST_INVALID_INPUT"):
        cursor.execute(statement)
    with pytest.raises(DatabaseError, match="not a boolean"):
        connect(session_configuration={"ansi_mode": "maybe"})


def test_a_timestamp_is_shown_in_the_time_zone_of_the_session(cursor: Any) -> None:
    cursor.execute("SET TIME ZONE 'Europe/Amsterdam'")
    cursor.execute("SELECT CAST('2022-03-02 12:54:56' AS TIMESTAMP), hour(TIMESTAMP'2022-03-02 12:00:00Z') AS h")
    table = cursor.fetchall_arrow()
    assert table.field(0).type == pa.timestamp("us", tz="Europe/Amsterdam")
    assert table.column(0)[0].as_py() == datetime.datetime(2022, 3, 2, 11, 54, 56, tzinfo=UTC)
    assert table.column(1)[0].as_py() == 13
    with pytest.raises(ServerOperationError, match=r"INVALID_CONF_VALUE\.TIME_ZONE"):
        cursor.execute("SET TIME ZONE 'nowhere'")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("^ FOO BAR", "FOO BAR"),
        ("USE no_such_database_at_all", "no_such_database_at_all"),
        ("CREATE TABLE IF NOT EXISTS TABLE table_234", "table_234"),
    ],
)
def test_an_error_names_what_is_wrong_and_the_cursor_lives_on(cursor: Any, statement: str, named: str) -> None:
    with pytest.raises(DatabaseError, match=named):
        cursor.execute(statement)
    assert [list(row) for row in cursor.execute("SELECT 1;").fetchall()] == [[1]]


def test_create_table_as_select_answers_without_rows(cursor: Any) -> None:
    cursor.execute("CREATE OR REPLACE TABLE ctas AS (SELECT 1 AS a)")
    assert cursor.fetchall() == []


def test_tables_columns_schemas_and_catalogs_by_pattern(cursor: Any) -> None:
    for number in (1, 2):
        cursor.execute(
            f"CREATE OR REPLACE TABLE listed_{number} AS (SELECT 1 AS col_1, '2' AS col_2, "
            "named_struct('name', 'alice', 'age', 28) AS col_3, map('items', 45) AS col_4, array('x') AS col_5)"
        )
    cursor.tables(schema_name="defa%", table_name="listed%")
    assert [row[:3] for row in cursor.fetchall()] == [("main", "default", f"listed_{number}") for number in (1, 2)]
    assert all(column[1] == "string" for column in cursor.description)
    cursor.columns(schema_name="defa%", table_name="listed%")
    types = [(4, "INT"), (12, "STRING"), (2002, "STRUCT<name: STRING, age: INT>"), (2000, "MAP<STRING, INT>")]
    types.append((2003, "ARRAY<STRING>"))
    assert [tuple(row[4:6]) for row in cursor.fetchall()] == types * 2
    kinds = {column[0]: column[1] for column in cursor.description}
    assert (kinds["DATA_TYPE"], kinds["BUFFER_LENGTH"], kinds["SOURCE_DATA_TYPE"]) == ("int", "tinyint", "smallint")
    cursor.schemas(schema_name="def%")
    assert [tuple(row) for row in cursor.fetchall()] == [("default", "main")]
    cursor.catalogs()
    assert "main" in [row[0] for row in cursor.fetchall()]


def test_a_quote_in_text_is_found_by_text_and_by_parameter(cursor: Any) -> None:
    cursor.execute("CREATE OR REPLACE TABLE quoted AS (SELECT 'you\\'re' AS col_1)")
    assert cursor.execute("SELECT * FROM quoted WHERE col_1 LIKE 'you\\'re'").fetchall()[0]["col_1"] == "you're"
    found = cursor.execute("SELECT * FROM quoted WHERE quoted.col_1 LIKE %(var)s", {"var": "you're"}).fetchall()
    assert found[0]["col_1"] == "you're"


def test_a_column_made_of_a_parameter_is_named_after_its_value(cursor: Any) -> None:
    found = cursor.execute("SELECT 'samsonite', ? WHERE 'samsonite' LIKE '%sonite'", ["luggage"]).fetchone()
    assert (found.samsonite, found.luggage) == ("samsonite", "luggage")


def test_a_temporary_view_belongs_to_its_session(cursor: Any, connect: Connect) -> None:
    cursor.execute("CREATE TEMPORARY VIEW f AS SELECT * FROM range(10)")
    assert len(cursor.execute("SELECT * FROM f").fetchall()) == 10
    with pytest.raises(ServerOperationError, match="TABLE_OR_VIEW_NOT_FOUND"):
        connect().cursor().execute("SELECT * FROM f")


def test_fetches_of_all_kinds_go_on_where_the_last_ended(cursor: Any) -> None:
    cursor.execute("SELECT * FROM range(10)")
    assert cursor.fetchmany_arrow(1).to_pydict() == {"id": [0]}
    assert [row[0] for row in cursor.fetchmany(3)] == [1, 2, 3]
    assert cursor.fetchone()[0] == 4
    assert cursor.fetchall_arrow().to_pydict() == {"id": [5, 6, 7, 8, 9]}
    assert cursor.fetchone() is None
    assert cursor.fetchall() == []


@pytest.mark.parametrize("cloud_fetch", [True, False])
@pytest.mark.slow
def test_a_small_array_size_and_buffer_still_give_every_row(connect: Connect, cloud_fetch: bool) -> None:
    cursor = connect(use_cloud_fetch=cloud_fetch).cursor(arraysize=10, buffer_size_bytes=4096)
    cursor.execute("SELECT id, repeat('x', 1000) FROM range(0, 3000)")
    assert [row[0] for row in cursor.fetchmany(20)] == list(range(20))
    assert [row[0] for row in cursor.fetchall()] == list(range(20, 3000))


def test_a_row_limit_is_kept(connect: Connect) -> None:
    assert len(connect().cursor(row_limit=7).execute("SELECT * FROM range(100)").fetchall()) == 7


@pytest.mark.parametrize("lz4", [False, True])
def test_a_wide_result_comes_whole_with_and_without_compression(connect: Connect, lz4: bool) -> None:
    cursor = connect(enable_query_result_lz4_compression=lz4).cursor()
    columns = ", ".join(f"uuid() AS uuid{number}" for number in range(227))
    cursor.execute(f"SELECT id, {columns} FROM RANGE(2000.0)")
    assert cursor.active_result_set.lz4_compressed is lz4
    found = cursor.fetchall_arrow()
    assert found.column("id").to_pylist() == list(range(2000))
    assert all(len(value) == 36 for value in found.column(227).to_pylist())


def test_a_narrow_result_of_a_million_rows_comes_whole(cursor: Any) -> None:
    cursor.execute("SELECT * FROM RANGE(1000000)")
    assert pa.compute.sum(cursor.fetchall_arrow().column(0)).as_py() == sum(range(1_000_000))


def test_closing_the_connection_closes_what_it_opened_at_the_warehouse(connect: Connect) -> None:
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("SELECT id, id `id2`, id `id3` FROM RANGE(1000000) ORDER BY RANDOM()")
    backend, command = cursor.active_result_set.backend, cursor.active_result_set.command_id
    assert backend.get_query_state(command).value == "SUCCEEDED"
    connection.close()
    with pytest.raises(RequestError, match="RESOURCE_DOES_NOT_EXIST"):
        backend.get_query_state(command)
    connection.close()


def test_use_after_close_is_an_error(connect: Connect) -> None:
    connection = connect()
    cursor = connection.cursor()
    cursor.close()
    with pytest.raises(sql.Error, match="closed"):
        cursor.execute("SELECT 1")
    connection.close()
    with pytest.raises(sql.Error, match="closed"):
        connection.cursor()


@pytest.mark.parametrize("code", [502, 504])
def test_a_code_that_may_mean_it_was_done_is_not_retried(connect: Connect, warehouse: Warehouse, code: int) -> None:
    cursor = connect().cursor()
    warehouse.set_faults(fail_next={"count": 1, "code": code, "call": "ExecuteStatement"})
    with pytest.raises((RequestError, HTTPError)):
        cursor.execute("SELECT 1")
    assert warehouse.faults.shown()["fail_next"] is None
    eager = connect(_retry_dangerous_codes=[code], _retry_delay_max=0.2).cursor()
    warehouse.set_faults(fail_next={"count": 1, "code": code, "call": "ExecuteStatement"})
    assert eager.execute("SELECT 1").fetchone()[0] == 1


def test_a_statement_ends_at_its_time_limit(cursor: Any) -> None:
    cursor.execute("SET STATEMENT_TIMEOUT = 1")
    with pytest.raises(ServerOperationError, match="QUERY_EXECUTION_TIMEOUT_EXCEEDED"):
        cursor.execute("SELECT count(*) FROM range(100000) a, range(10000000) b WHERE a.id * b.id % 7 = 3")
    cursor.execute("RESET STATEMENT_TIMEOUT")
    assert cursor.execute("SELECT 1").fetchone()[0] == 1


def test_a_variant_arrives_as_json_text_and_is_described_as_variant(rows: Rows, cursor: Any) -> None:
    rows("CREATE OR REPLACE TABLE varied (id INTEGER, v VARIANT, s STRING)")
    rows("INSERT INTO varied VALUES (1, PARSE_JSON('{\"name\": \"John\"}'), 'a'), (2, PARSE_JSON('[1, 2]'), 'b')")
    cursor.execute("SELECT * FROM varied ORDER BY id")
    assert [column[1] for column in cursor.description] == ["int", "variant", "string"]
    assert [json.loads(row[1]) for row in cursor.fetchall()] == [{"name": "John"}, [1, 2]]
    assert rows("SELECT CAST(v AS STRING) FROM varied WHERE id = 2") == [("[1,2]",)]


def test_a_variant_keeps_the_digits_of_its_numbers_and_its_strings(rows: Rows) -> None:
    text = (
        '{"large": 12345678901234567890123, "fine": [-0.1234567890123456789], "n": 7, "s": "12345678901234567890123"}'
    )
    shown = '{"fine":[-0.1234567890123456789],"large":12345678901234567890123,"n":7,"s":"12345678901234567890123"}'
    assert rows(f"SELECT v, CAST(v AS STRING), to_json(v) FROM (SELECT parse_json('{text}') AS v)") == [(shown,) * 3]
    assert rows("SELECT CAST(parse_json('12345678901234567890123') AS STRING)") == [("12345678901234567890123",)]
    assert rows("SELECT CAST(parse_json('\"a\"') AS STRING), parse_json(NULL)") == [("a", None)]


def test_json_text_is_read_by_path(rows: Rows) -> None:
    text = '{"name": "Bo", "a": {"b": [7]}}'
    assert rows(f"SELECT s:name, s:a.b[0], s:a FROM VALUES ('{text}') t(s)") == [("Bo", "7", '{"b":[7]}')]


def test_an_identity_column_counts_by_itself(rows: Rows) -> None:
    rows("CREATE OR REPLACE TABLE counted_ids (id BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 5), x INT)")
    rows("INSERT INTO counted_ids (x) VALUES (1), (2)")
    assert rows("SELECT * FROM counted_ids ORDER BY id") == [(5, 1), (6, 2)]
    for statement in ("INSERT INTO counted_ids VALUES (1, 1)", "INSERT INTO counted_ids (id, x) VALUES (1, 1)"):
        with pytest.raises(ServerOperationError, match="DELTA_IDENTITY_COLUMNS_EXPLICIT_INSERT_NOT_SUPPORTED"):
            rows(statement)
    rows("CREATE OR REPLACE TABLE counted_ids (id BIGINT GENERATED BY DEFAULT AS IDENTITY, x INT)")
    rows("INSERT INTO counted_ids VALUES (100, 1)")
    rows("INSERT INTO counted_ids (x) VALUES (2)")
    assert rows("SELECT id FROM counted_ids ORDER BY id") == [(1,), (100,)]


def test_a_table_like_another_has_its_columns_and_a_clone_its_rows_too(rows: Rows) -> None:
    rows("CREATE OR REPLACE TABLE original (a INT NOT NULL COMMENT 'the a', b STRING DEFAULT 'x') COMMENT 'first'")
    rows("INSERT INTO original (a) VALUES (1)")
    rows("DROP TABLE IF EXISTS alike")
    rows("CREATE TABLE alike LIKE original")
    assert rows("DESCRIBE alike") == [("a", "int", "the a"), ("b", "string", None)]
    assert rows("SELECT * FROM alike") == []
    with pytest.raises(ServerOperationError, match="DELTA_NOT_NULL_CONSTRAINT_VIOLATED"):
        rows("INSERT INTO alike (a) VALUES (NULL)")
    rows("INSERT INTO original (a) VALUES (2)")
    rows("CREATE OR REPLACE TABLE cloned SHALLOW CLONE original VERSION AS OF 1")
    assert rows("SELECT * FROM cloned") == [(1, "x")]
    rows("CREATE OR REPLACE TABLE cloned DEEP CLONE original")
    assert len(rows("SELECT * FROM cloned")) == 2
    rows("CREATE TABLE IF NOT EXISTS cloned CLONE original")
    with pytest.raises(ServerOperationError, match="TABLE_OR_VIEW_ALREADY_EXISTS"):
        rows("CREATE TABLE cloned CLONE original")


@pytest.mark.parametrize(
    "statement",
    [
        "OPTIMIZE {} ZORDER BY (id)",
        "VACUUM {} RETAIN 168 HOURS",
        "ANALYZE TABLE {} COMPUTE STATISTICS FOR ALL COLUMNS",
        "EXPLAIN SELECT * FROM {}",
        "DESCRIBE QUERY SELECT * FROM {}",
    ],
)
def test_upkeep_and_plans_change_nothing_and_know_their_table(rows: Rows, statement: str) -> None:
    before = rows("DESCRIBE HISTORY main.blade.item")
    rows(statement.format("main.blade.item"))
    assert rows("DESCRIBE HISTORY main.blade.item") == before
    with pytest.raises(ServerOperationError, match="TABLE_OR_VIEW_NOT_FOUND"):
        rows(statement.format("main.blade.nothing"))


def test_tls_by_the_command_is_trusted_by_its_certificate_only(tmp_path: Path, parquet_file: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    code = "from blade_client.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "sandbox", "warehouse", "--table", f"main.blade.item={parquet_file}",
         "--tls-cert", certificate, "--tls-key", key],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"warehouse https://127\.0\.0\.1:(\d+) path (\S+)", line)
        assert match, line
        options = {"server_hostname": "127.0.0.1", "_port": int(match[1]), "http_path": match[2], "access_token":
                   "sandbox-token", "enable_telemetry": False, "_retry_stop_after_attempts_count": 1}  # fmt: skip
        with sql.connect(**options, _tls_trusted_ca_file=str(certificate)) as connection:
            found = connection.cursor().execute("SELECT * FROM main.blade.item").fetchall_arrow()
            assert found.num_rows == 20_000
        with pytest.raises((sql.Error, HTTPError, ssl.SSLError), match="CERTIFICATE_VERIFY_FAILED"):
            sql.connect(**options)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_connect_options_of_a_tls_warehouse_connect(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with Warehouse(tls_cert=certificate, tls_key=key) as server, sql.connect(**server.connect_options()) as connection:
        assert connection.cursor().execute("SELECT 1").fetchone()[0] == 1


def test_an_unknown_catalog_in_the_initial_namespace_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(DatabaseError, match="NO_SUCH_CATALOG_EXCEPTION"):
        open_connection(warehouse, catalog="nope")
