"""A part of the rows of a resolved query, chosen by a column's values or by item ids."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from sqlglot import exp

from blade_server.core.sql.item_id_sql import item_id_sql
from blade_server.core.sql.parse import render
from blade_server.core.transform.item_ids import Template


def since(
    statement: str, column: pa.Field[pa.DataType], value: str, *, template: str, schema: pa.Schema, ids: Sequence[str]
) -> str:
    """The rows whose column is not below a value or null, and those with these item ids.

    Args:
        statement: the query.
        column: of its result.
        value: as text that the warehouse reads as the column's type.
        template: of the item ids.
        schema: of the query's result.
        ids: any number.

    Raises:
        TemplateError: there are ids, and no SQL for them.
    """
    changed = exp.column(column.name, quoted=True)
    condition: exp.Expr = exp.or_(
        exp.GTE(this=changed, expression=_literal(value, column.type)),
        exp.Is(this=changed.copy(), expression=exp.Null()),
    )
    if ids:
        item_id = item_id_sql(Template.parse(template), {field.name: field.type for field in schema})
        condition = exp.or_(condition, exp.In(this=item_id, expressions=[exp.Literal.string(one) for one in ids]))
    return _where(statement, condition)


def within(statement: str, column: pa.Field[pa.DataType], least: str, end: str) -> str:
    """The rows whose column is not below `least` and below `end`; an empty bound is none."""
    bounds = [
        kind(this=exp.column(column.name, quoted=True), expression=_literal(value, column.type))
        for kind, value in ((exp.GTE, least), (exp.LT, end))
        if value
    ]
    return _where(statement, exp.and_(*bounds))


def _where(statement: str, condition: exp.Expr) -> str:
    return f"SELECT * FROM ({statement}) AS `part` WHERE {render(condition)}"  # noqa: S608  resolved


def _literal(value: str, kind: pa.DataType) -> exp.Expr:
    types = pa.types
    if types.is_integer(kind) or types.is_decimal(kind):
        return exp.Literal.number(value)
    text = exp.Literal.string(value)
    if types.is_floating(kind):
        return exp.cast(text, "DOUBLE" if types.is_float64(kind) else "FLOAT")
    if types.is_date(kind):
        return exp.cast(text, "DATE")
    if types.is_timestamp(kind):
        name = "TIMESTAMP" if kind.tz else "TIMESTAMP_NTZ"
        return exp.Cast(this=text, to=exp.DataType.build(name, dialect="databricks"))
    return text
