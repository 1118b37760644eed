"""Databricks SQL gives what Databricks would give, or a clear error."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import Any

import pytest
from databricks.sql.exc import ServerOperationError

Rows = Callable[..., list[tuple[Any, ...]]]
UTC = datetime.UTC


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("7 / 2", 3.5),
        ("7 div 2", 3),
        ("-7 % 3", -1),
        ("pmod(-7, 3)", 2),
        ("cast(1.9 as int)", 1),
        ("cast(-1.9D as int)", -1),
        ("cast('12' as int)", 12),
        ("try_cast('1.5' as int)", None),
        ("try_divide(1, 0)", None),
        ("try_add(2147483647, 1)", None),
        ("ceil(1.2)", 2),
        ("ceil(7 / 2) + cast(cast('7' as int) / 2 as int)", 7),
        ("concat('a', NULL)", None),
        ("concat_ws('-', 'a', NULL, 'b')", "a-b"),
        ("substring('abc', 0, 2)", "ab"),
        ("'a_c' LIKE 'a\\\\_c'", True),
        ("'abc' LIKE 'a\\\\_c'", False),
        ("regexp_replace('aba', 'a', 'x')", "xbx"),
        ("array('a', 'b')[0]", "a"),
        ("element_at(array('a', 'b'), -1)", "b"),
        ("map('k', 5)['k']", 5),
        ("(SELECT m[1] FROM VALUES (map(1, 'a', 2, 'b')) t(m))", "a"),
        ("(SELECT m[k] FROM VALUES (map('p', 'a', 'q', 'b'), 'q') t(m, k))", "b"),
        ("(SELECT m[d] FROM VALUES (map(date'2024-01-01', 'a'), date'2024-01-01') t(m, d))", "a"),
        ("(SELECT m[9] FROM VALUES (map(1, 'a')) t(m))", None),
        ("(SELECT a[i] FROM VALUES (array('x', 'y'), 1) t(a, i))", "y"),
        ("(SELECT a[1][0] FROM VALUES (array(array(1), array(2))) t(a))", 2),
        ("(SELECT a[1] FROM VALUES (array(1, NULL)) t(a))", None),
        ("split('a,b', ',')[1]", "b"),
        ("element_at(map(1, 'a', 2, 'b'), 1)", "a"),
        ("try_element_at(array(1), 5)", None),
        ("get(array(1, 2), 1)", 2),
        ("get(array(1, 2), 5)", None),
        ("get(array(1, 2), -1)", None),
        ("size(array(1, 2))", 2),
        ("dayofweek(date'2024-01-01')", 2),
        ("weekday(date'2024-01-01')", 0),
        ("date_add(date'2024-02-28', 2)", datetime.date(2024, 3, 1)),
        ("date'2024-01-31' + interval 1 month", datetime.date(2024, 2, 29)),
        ("datediff(date'2024-03-01', date'2024-02-01')", 29),
        ("date_trunc('month', timestamp'2024-05-06 07:08:09')", datetime.datetime(2024, 5, 1, tzinfo=UTC)),
        ("to_timestamp('06/05/2024 07:08', 'dd/MM/yyyy HH:mm')", datetime.datetime(2024, 5, 6, 7, 8, tzinfo=UTC)),
        ("to_date('28-01-2024', 'dd-MM-yyyy')", datetime.date(2024, 1, 28)),
        (
            "date_format(timestamp'2024-05-06 07:08:09.123', \"yyyy-MM-dd'T'HH:mm:ss.SSS\")",
            "2024-05-06T07:08:09.123",
        ),
        ("cast(timestamp'2024-05-06 07:08:09' as string)", "2024-05-06 07:08:09"),
        ("percentile(x, 0.5)", 1.5),
        ("typeof(cast(1 as int))", "int"),
        ("log(1)", 0.0),
        ("named_struct('a', named_struct('b', 7)).a.b", 7),
        ("get_json_object('{\"a\":{\"b\":5}}', '$.a.b')", "5"),
        ("nvl(NULL, 3)", 3),
        ("1 <=> NULL", False),
        ("cast(2.5 as decimal(5,1))", decimal.Decimal("2.5")),
        ("sequence(1, 3)[2]", 3),
    ],
)
def test_an_expression_has_databricks_value(rows: Rows, expression: str, value: Any) -> None:
    assert rows(f"SELECT {expression} AS v FROM VALUES (1), (2) AS t(x) GROUP BY ALL LIMIT 1")[0][0] == value


@pytest.mark.parametrize(
    ("statement", "error_class", "state"),
    [
        ("SELECT * FROM nowhere", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("SELECT * FROM main.nope.item", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("SELECT nmae FROM main.blade.item", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703"),
        ("SELECT i.nope FROM main.blade.item i", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703"),
        ("SELECT FROM WHERE", "PARSE_SYNTAX_ERROR", "42601"),
        ("SELEC 1", "PARSE_SYNTAX_ERROR", "42601"),
        ("SELECT 1; SELECT 2", "PARSE_SYNTAX_ERROR", "42601"),
        ("SELECT 'open", "PARSE_SYNTAX_ERROR", "42601"),
        ("-- nothing", "PARSE_EMPTY_STATEMENT", "42617"),
        ("SELECT 1/0", "DIVIDE_BY_ZERO", "22012"),
        ("SELECT array(1, 2)[2]", "INVALID_ARRAY_INDEX", "22003"),
        ("SELECT array(1, 2)[-1]", "INVALID_ARRAY_INDEX", "22003"),
        ("SELECT a[id] FROM (SELECT id, array(1) AS a FROM main.blade.item)", "INVALID_ARRAY_INDEX", "22003"),
        ("SELECT element_at(array(1), 2)", "INVALID_ARRAY_INDEX_IN_ELEMENT_AT", "22003"),
        ("SELECT element_at(array(1), 0)", "INVALID_INDEX_OF_ZERO", "22003"),
        ("SELECT ceil(id / (id - id)) FROM main.blade.item", "DIVIDE_BY_ZERO", "22012"),
        ("SELECT id % (id - id) FROM main.blade.item", "DIVIDE_BY_ZERO", "22012"),
        ("SELECT cast('x' AS INT)", "CAST_INVALID_INPUT", "22018"),
        ("SELECT cast('1.5' AS INT)", "CAST_INVALID_INPUT", "22018"),
        ("SELECT cast(name AS INT) FROM main.blade.item", "CAST_INVALID_INPUT", "22018"),
        ("SELECT date'2024-02-30'", "CAST_INVALID_INPUT", "22018"),
        ("SELECT cast(300 AS TINYINT)", "CAST_OVERFLOW", "22003"),
        ("SELECT cast(2147483647 AS INT) + cast(1 AS INT)", "ARITHMETIC_OVERFLOW", "22003"),
        ("SELECT cast(1000 AS DECIMAL(4,2))", "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003"),
        ("SELECT no_such_function(1)", "UNRESOLVED_ROUTINE", "42883"),
        ("SELECT id, count(*) FROM main.blade.item", "MISSING_AGGREGATION", "42803"),
        ("SELECT id FROM main.blade.item a, main.blade.item b", "AMBIGUOUS_REFERENCE", "42704"),
        ("SELECT sum(sum(id)) FROM main.blade.item", "NESTED_AGGREGATE_FUNCTION", "42607"),
        ("SELECT (SELECT id FROM main.blade.item)", "SCALAR_SUBQUERY_TOO_MANY_ROWS", "21000"),
        ("CREATE TABLE main.blade.item (a INT)", "TABLE_OR_VIEW_ALREADY_EXISTS", "42P07"),
        ("CREATE TABLE main.nope.t (a INT)", "SCHEMA_NOT_FOUND", "42704"),
        ("USE nope", "SCHEMA_NOT_FOUND", "42704"),
        ("USE CATALOG nope", "NO_SUCH_CATALOG_EXCEPTION", "42704"),
        ("SELECT * FROM main.blade.item VERSION AS OF 99", "DELTA_VERSION_NOT_FOUND", "22003"),
        ("DROP TABLE nowhere", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("SELECT raise_error('boom')", "USER_RAISED_EXCEPTION", "P0001"),
        ("SELECT a.b.c.d.e FROM a.b.c.d", "IDENTIFIER_TOO_MANY_NAME_PARTS", "42601"),
    ],
)
def test_a_sql_error_has_databricks_class_and_state(cursor: Any, statement: str, error_class: str, state: str) -> None:
    with pytest.raises(ServerOperationError) as caught:
        cursor.execute(statement)
    assert f"[{error_class}]" in str(caught.value)
    assert f"SQLSTATE: {state}" in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "construct"),
    [
        ("SELECT hash(1)", "hash"),
        ("SELECT from_json('{}', 'a int')", "from_json"),
        ("SELECT sha2('a', 512)", "sha2"),
        ("SELECT date_format(current_date(), 'QQQ')", "letter 'Q'"),
        ("SELECT exists(array(1), x -> x > 0)", "exists"),
        ("SELECT from_utc_timestamp(current_timestamp(), 'Europe/Berlin')", "time zones"),
        ("SELECT * FROM parquet.`/etc/passwd`", "path"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
        ("SELECT * FROM main.blade.item, LATERAL read_csv('/etc/passwd')", "file system"),
        ("GRANT SELECT ON TABLE main.blade.item TO someone", "GRANT"),
        ("SELECT v:a FROM (SELECT parse_json('{}') AS v)", "VARIANT"),
        ("CREATE TABLE generated (a INT, b INT GENERATED ALWAYS AS (a + 1))", "GENERATED"),
        ("ATTACH 'x.db'", "ATTACH"),
    ],
)
def test_what_cannot_be_said_in_duckdb_is_an_error_that_names_it(cursor: Any, statement: str, construct: str) -> None:
    with pytest.raises(ServerOperationError, match=r"(?s)UNSUPPORTED_FEATURE.*0A000") as caught:
        cursor.execute(statement)
    assert construct in str(caught.value)


def test_no_error_ever_has_the_state_that_makes_the_driver_switch(cursor: Any) -> None:
    with pytest.raises(ServerOperationError) as caught:
        cursor.execute("SELECT raise_error('[X] SQLSTATE: KP001')")
    assert str(caught.value).endswith("SQLSTATE: P0001")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT main.blade.item.id FROM main.blade.item WHERE main.blade.item.id = 3",
        "SELECT blade.item.id FROM main.blade.item WHERE item.id = 3",
        "SELECT `item`.`id` FROM `main`.`blade`.`item` WHERE ID = 3",
        "SELECT i.id FROM MAIN.Blade.ITEM AS i WHERE i.id = 3",
        "WITH item AS (SELECT 3 AS id) SELECT item.id FROM item",
        "SELECT id FROM (SELECT * FROM main.blade.item) WHERE id = 3 LIMIT ALL",
        "SELECT id FROM main.blade.item@v0 WHERE id = 3",
        "SELECT x.id FROM main.blade.item VERSION AS OF 0 AS x WHERE x.id = 3",
    ],
)
def test_a_name_is_found_however_it_is_spelled(rows: Rows, statement: str) -> None:
    assert rows(statement) == [(3,)]


def test_nulls_come_first_ascending_and_last_descending(rows: Rows) -> None:
    assert rows("SELECT x FROM VALUES (2), (NULL), (1) AS t(x) ORDER BY x") == [(None,), (1,), (2,)]
    assert rows("SELECT x FROM VALUES (2), (NULL), (1) AS t(x) ORDER BY x DESC") == [(2,), (1,), (None,)]


def test_lateral_view_explode_gives_a_row_an_element(rows: Rows) -> None:
    assert rows("SELECT k, v FROM (SELECT 'a' AS k, array(1, 2) AS vs) LATERAL VIEW explode(vs) AS v") == [
        ("a", 1),
        ("a", 2),
    ]
