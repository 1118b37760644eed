from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from blade_server.core.transform.item_ids import Template, TemplateError
from blade_server.errors import Reason


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch(columns)


def ids(template: str, **columns: Any) -> list[str | None]:
    result: list[str | None] = Template.parse(template).render(batch(**columns)).ids.to_pylist()
    return result


def test_the_customers_example_comes_out() -> None:
    columns = {"tail_number": ["AF-001"], "due_date": ["2024-01-15"]}
    assert ids("MAINT-{tail_number}-{due_date:%Y}", **columns) == ["MAINT-AF-001-2024"]


def test_a_bare_column_name_is_the_simple_case() -> None:
    template = Template.parse("item_id")
    assert template.columns == ("item_id",)
    assert ids("item_id", ITEM_ID=["a", "b"]) == ["a", "b"]


def test_doubled_braces_are_literal_ones() -> None:
    assert ids("{{{a}}}-{{b}}", a=["x"]) == ["{x}-{b}"]


@pytest.mark.parametrize(
    ("template", "column"),
    [("{a{{b}}c}", "a{b}c"), ("{a{{b}}}", "a{b}"), ("{a}}b}", "a}b"), ("{d{{:%Y}", "d{")],
)
def test_a_brace_in_the_name_of_a_column_is_doubled(template: str, column: str) -> None:
    assert Template.parse(template).columns == (column,)


def test_a_template_that_needs_no_braces_in_names_means_what_it_meant() -> None:
    assert ids("{a}}}", a=["x"]) == ["x}"]


def test_columns_are_named_once_and_in_order() -> None:
    assert Template.parse("{b}-{a:%Y}-{b}").columns == ("b", "a")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("MAINT-{tail", "single '{'"),
        ("MAINT-tail}", "single '}'"),
        ("{a{b}}", "single '{'"),
        ("{}", "names no column"),
        ("{:%Y}", "names no column"),
        ("{{a}}", "names no column"),
        ("{due_date:%Q}", "'%Q'; allowed are %Y %y %m %d %H %M %S %j"),
        ("{due_date:%Y-%B}", "'%B'; allowed"),
        ("{due_date:%%Y}", "'%%'; allowed"),
        ("{due_date:%Y%}", "'%'; allowed"),
        ("{due_date:}", "no format part"),
        ("{due_date:yyyy}", "no format part"),
    ],
)
def test_what_is_no_template_is_refused_with_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text)
    assert complaint in str(caught.value)


MOMENT = datetime(2024, 2, 9, 5, 6, 7, 120_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["  padded \t"]), "padded"),
        (pa.array([2**63 - 1]), "9223372036854775807"),
        (pa.array([True]), "true"),
        (pa.array([Decimal("0.00000001")], pa.decimal128(20, 8)), "0.00000001"),
        (pa.array([date(2024, 2, 9)]), "2024-02-09"),
        (pa.array([MOMENT], pa.timestamp("us", "UTC")), "2024-02-09T05:06:07.12Z"),
        (pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("us")), "2024-02-09T05:06:07.12Z"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_values_are_spelled_as_written(column: pa.Array, expected: str) -> None:
    assert ids("{a}", a=column) == [expected]


def test_every_format_part_is_what_strftime_says() -> None:
    pattern = "%Y|%y|%m|%d|%H|%M|%S|%j"
    moments = [MOMENT, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2000, 12, 31, tzinfo=UTC)]
    column = pa.array(moments, pa.timestamp("us", "UTC"))
    assert ids(f"{{a:{pattern}}}", a=column) == [moment.strftime(pattern) for moment in moments]
    assert ids(f"{{a:{pattern}}}", a=pa.array([date(2024, 2, 9)])) == [date(2024, 2, 9).strftime(pattern)]


@pytest.mark.parametrize(
    "kind",
    [pa.float64(), pa.float32(), pa.binary(), pa.list_(pa.string()), pa.struct([("a", pa.int32())]), pa.duration("us")],
    ids=str,
)
def test_types_without_one_spelling_are_refused(kind: pa.DataType) -> None:
    schema = pa.schema([("reading", kind)])
    with pytest.raises(TemplateError, match=r"column 'reading' is of type .*no one spelling"):
        Template.parse("{Reading}").check(schema)


def test_a_date_format_over_a_number_is_refused() -> None:
    with pytest.raises(TemplateError, match="int64; the date format %Y needs a date"):
        Template.parse("{n:%Y}").check(pa.schema([("n", pa.int64())]))


def test_an_absent_column_is_refused() -> None:
    with pytest.raises(TemplateError, match="'tail', which is absent"):
        Template.parse("{tail}").check(pa.schema([("a", pa.string())]))


def test_names_are_those_of_the_schema() -> None:
    assert Template.parse("{TAIL}-{tail}").names(pa.schema([("Tail", pa.string())])) == ("Tail",)


@pytest.mark.parametrize("blank", [None, "", "   ", "\t\r\n"])
def test_null_and_blank_values_are_missing_and_the_first_such_column_is_named(blank: str | None) -> None:
    rendered = Template.parse("{a}-{b}").render(batch(a=["x", blank, "z"], b=["1", blank, "3"]))
    assert rendered.ids.to_pylist() == ["x-1", None, "z-3"]
    assert {row: (f.column, f.reason) for row, f in rendered.failures.items()} == {1: ("a", Reason.MISSING_ITEM_ID)}


def test_text_that_is_no_date_fails_that_row_alone_and_is_shown() -> None:
    rendered = Template.parse("{due:%Y}").render(batch(due=["2024-01-15", "soon", None]))
    assert rendered.ids.to_pylist() == ["2024", None, None]
    assert rendered.failures[1].reason is Reason.UNSERIALISABLE_VALUE
    assert "'soon'" in rendered.failures[1].message
    assert rendered.failures[2].reason is Reason.MISSING_ITEM_ID


@pytest.mark.parametrize("template", ["{day}", "{day:%Y}"])
def test_a_year_beyond_9999_fails_that_row_alone(template: str) -> None:
    days = pa.array([0, 2_932_897, -719_163], pa.int32()).cast(pa.date32())
    rendered = Template.parse(template).render(batch(day=days))
    assert rendered.ids.is_valid().to_pylist() == [True, False, False]
    assert "10000" in rendered.failures[1].message
    assert {f.reason for f in rendered.failures.values()} == {Reason.UNSERIALISABLE_VALUE}


def test_a_column_of_type_void_is_missing_everywhere() -> None:
    for template in ("{a}", "{a:%Y}"):
        rendered = Template.parse(template).render(batch(a=pa.nulls(2)))
        assert rendered.ids.to_pylist() == [None, None]
        assert len(rendered.failures) == 2


def test_an_empty_batch_has_no_ids() -> None:
    assert ids("X-{a}", a=pa.array([], pa.string())) == []
