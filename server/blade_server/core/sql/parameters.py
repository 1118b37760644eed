"""The `:name` parameters of a filter: all there, all used, and read as what they are compared with.

Values travel as strings. Where one is compared with a column whose type is known it is cast to fit, so that numbers
compare as numbers, exactly, and not by a detour over text or floats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from sqlglot import exp

from blade_server.core.columns import find_column
from blade_server.core.sql.parse import invalid
from blade_server.errors import Invalid, Reason, Violation

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")


def check_parameters(tree: exp.Expr, given: Mapping[str, str]) -> None:
    """Pass a filter whose parameters are those given.

    Raises:
        Invalid: naming those that are missing and those that are not used.
    """
    used: set[str] = set()
    for placeholder in tree.find_all(exp.Placeholder):
        if not placeholder.this:
            raise invalid("filter", "has the parameter `?`; parameters have names, like `:priority`")
        used.add(placeholder.name)
    wrong = [f"{name!r} is missing; the filter uses :{name}" for name in sorted(used - given.keys())]
    wrong += [f"{name!r} is not used; the filter has no :{name}" for name in sorted(given.keys() - used)]
    if wrong:
        raise wrong_parameters(wrong)


def wrong_parameters(wrong: Sequence[str]) -> Invalid:
    """The error that names several parameters."""
    return Invalid([Violation(field="parameters", description=text) for text in wrong], reason=Reason.INVALID_SQL)


def cast_parameters(tree: exp.Expr, given: Mapping[str, str], schema: pa.Schema) -> None:
    """Put casts around the parameters that are compared with a column, in place."""
    for column, placeholder in list(_compared(tree)):
        position = find_column(schema.names, column.name)
        kind = None if position is None else _cast_type(schema.field(position).type, given[placeholder.name])
        if kind:
            placeholder.replace(exp.Cast(this=placeholder.copy(), to=exp.DataType.build(kind, dialect="databricks")))


def _compared(tree: exp.Expr) -> Iterator[tuple[exp.Column, exp.Placeholder]]:
    for node in tree.find_all(*_COMPARISONS, exp.Between, exp.In):
        if isinstance(node, exp.Between):
            sides = [node.this, node.args.get("low"), node.args.get("high")]
        else:
            sides = [node.this, *([node.expression] if isinstance(node, _COMPARISONS) else node.expressions)]
        columns = [side for side in sides if isinstance(side, exp.Column) and not side.table]
        if len(columns) == 1:
            yield from ((columns[0], side) for side in sides if isinstance(side, exp.Placeholder))


def _cast_type(kind: pa.DataType, value: str) -> str:
    """The type to read a value as; "": as the text it is."""
    types = pa.types
    if types.is_integer(kind) or types.is_decimal(kind):
        # A scale of its own: cast to the column's, 0.005 would equal 0.01.
        digits = kind.precision - kind.scale if types.is_decimal(kind) else 19
        return "BIGINT" if _INTEGER.fullmatch(value) else f"DECIMAL(38, {max(38 - digits - 1, 0)})"
    if types.is_floating(kind):
        return "DOUBLE"
    if types.is_boolean(kind):
        return "BOOLEAN"
    if types.is_date(kind):
        return "DATE"
    if types.is_timestamp(kind):
        return "TIMESTAMP_NTZ" if kind.tz is None else "TIMESTAMP"
    return ""
