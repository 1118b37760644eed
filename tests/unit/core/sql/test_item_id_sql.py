"""The SQL of an item id against what the columns give."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from blade_server.core.sql.item_id_sql import item_id_sql
from blade_server.core.transform.item_ids import Template, TemplateError

TEXTS = ["2024-01-15", "2024-01-15T10:00:00", "2024-01-15 10:00:00.5", "2024-01-15T23:30:00-02:00", "20240115"]
TEXTS += ["2024-02-30", " 2024-12-31 ", "\t2023-03-04\r\n", "", "   ", None, "soon", "20241332", "2024", "2024-1-5"]
TEXTS += ["2024-01-15T10:00Z", "2024-01-15T10:00:00+0200", "0001-01-01", "9999-12-31T23:59:59"]
MOMENTS = [
    datetime(2024, 2, 9, 5, 6, 7, 120_000, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    None,
    datetime(999, 1, 1, tzinfo=UTC),
]
MOMENTS += [datetime(9999, 12, 31, 23, 59, 59, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
ODD = "odd `na'me"


def spread(values: list[Any]) -> list[Any]:
    return [values[row % len(values)] for row in range(len(TEXTS))]


TABLE = pa.table(
    {
        "Text": TEXTS,
        "ts": pa.array(spread(MOMENTS), pa.timestamp("us", "UTC")),
        "ntz": pa.array(spread([moment and moment.replace(tzinfo=None) for moment in MOMENTS]), pa.timestamp("us")),
        "day": spread([date(2024, 2, 29), None, date(1, 1, 1), date(9999, 12, 31), date(1969, 12, 31)]),
        "n": pa.array(spread([0, -5, 2**63 - 1, None]), pa.int64()),
        "flag": spread([True, False, None]),
        "amount": pa.array(spread([Decimal("0.00000001"), Decimal("-12.5"), Decimal(0), None]), pa.decimal128(20, 8)),
        "x": spread(["2024-01-15", "   "]),
        ODD: spread(["it's", "back\\slash", 'q"uote', "ü 😀", "\u00a0x\u00a0", "a\tb"]),
    }
)


TEMPLATES = [
    "text",
    "MAINT-{n}",
    "{flag}",
    "{amount}",
    "{day}",
    "{ts}",
    "{ntz}",
    "{ts:%Y-%m-%dT%H:%M:%S}",
    "{ntz:%j%y}",
]
TEMPLATES += ["{day:%Y/%j}", "{day:%H}", "{text:%Y%m%d%H%M%S}", "{text:%j}", "{x:%d}{X}", "{text:Year %Y, day %d}"]
TEMPLATES += ["{row:hash}", "R-{row:hash}-{n}"]
TEMPLATES += [f'it\'s {{{{x}}}} \\ "{{{ODD}}}"|{{n}}']


@pytest.mark.parametrize("text", TEMPLATES)
def test_sql_gives_the_same_string_in_a_database(text: str) -> None:
    """DuckDB through sqlglot, as the sandbox runs it; null where there is no id."""
    template = Template.parse(text)
    sql = item_id_sql(template, {column.name: column.type for column in TABLE.schema})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Etc/UTC'")
        connection.register("records", TABLE)
        found = connection.execute(f"SELECT {sql.sql('duckdb')} FROM records").fetchall()
    expected = template.render(TABLE.combine_chunks().to_batches()[0]).ids.to_pylist()
    assert [row[0] for row in found] == expected
    assert any(expected)


def test_sql_is_databricks_sql_with_the_tables_own_spelling() -> None:
    types = {"Tail_Number": pa.string(), "due_date": pa.date32(), "n": pa.int32()}
    assert item_id_sql(Template.parse("M-{tail_number}-{due_date:%Y}-{n}"), types).sql("databricks") == (
        r"'M-' || NULLIF(TRIM(BOTH ' \t\r\n' FROM `Tail_Number`), '') || '-' || "
        "DATE_FORMAT(`due_date`, 'yyyy') || '-' || CAST(`n` AS STRING)"
    )


def test_sql_refuses_what_rendering_refuses() -> None:
    with pytest.raises(TemplateError, match="no one spelling"):
        item_id_sql(Template.parse("{x}"), {"x": pa.float64()})


def test_the_hash_of_a_row_has_no_sql_where_a_column_has_no_one_spelling() -> None:
    for kind in (pa.float64(), pa.binary(), pa.list_(pa.int8()), pa.struct([("a", pa.int8())])):
        with pytest.raises(
            TemplateError, match=r"column 'x' of type .*: such ids can be neither looked up nor counted"
        ):
            item_id_sql(Template.parse("{row:hash}"), {"a": pa.int64(), "x": kind})


def test_the_sql_of_the_hash_of_a_row_is_databricks_sql() -> None:
    types = {"b": pa.string(), "A": pa.int32()}
    assert item_id_sql(Template.parse("{row:hash}"), types).sql("databricks") == (
        "SUBSTRING(SHA2(COALESCE('\"A\":' || CAST(LENGTH(CAST(`A` AS STRING)) AS STRING) || ':' || "
        "CAST(`A` AS STRING) || "
        "',', '') || COALESCE('\"b\":' || CAST(LENGTH(`b`) AS STRING) || ':' || `b` || ',', ''), 256), 1, 16)"
    )


def test_a_column_name_cannot_break_out_of_the_sql() -> None:
    name = "a` FROM secrets --"
    sql = item_id_sql(Template.parse(name), {name: pa.int64()})
    assert sql.sql("databricks") == "CAST(`a`` FROM secrets --` AS STRING)"
