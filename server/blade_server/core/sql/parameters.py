"""The `:name` parameters of a filter: all there, all used, and read as what they are compared with.

Values travel as strings. Where one is compared with a column whose type is known it is cast to fit, so that numbers
compare as numbers, exactly, and not by a detour over text or floats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import pyarrow as pa
from sqlglot import exp

from blade_server.core.sql.parse import invalid
from blade_server.core.transform.columns import find_column
from blade_server.errors import Invalid, Reason, Violation

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_NAME = re.compile(r"[a-z_]\w*", re.IGNORECASE | re.ASCII)
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?\s*", re.IGNORECASE | re.ASCII)
_MAX_DIGITS = 38


def check_parameters(tree: exp.Expr, given: Mapping[str, str]) -> None:
    """Pass a filter whose parameters are those given.

    Raises:
        Invalid: naming those that are missing, those that are not used, and names that are none.
    """
    used: set[str] = set()
    for placeholder in tree.find_all(exp.Placeholder):
        if not placeholder.this:
            raise invalid("filter", "has the parameter `?`; parameters have names, like `:priority`")
        used.add(placeholder.name)
    wrong = [f"{name!r} is missing; the filter uses :{name}" for name in sorted(used - given.keys())]
    wrong += [f"{name!r} is not used; the filter has no :{name}" for name in sorted(given.keys() - used)]
    # They are written into the SQL as they are: the quotes of :`a b` are not.
    odd = sorted(name for name in used if not _NAME.fullmatch(name))
    wrong += [f"{name!r} is no name of a parameter; that is letters, digits and _" for name in odd]
    if wrong:
        raise wrong_parameters(wrong)


def wrong_parameters(wrong: Sequence[str]) -> Invalid:
    """The error that names several parameters."""
    return Invalid([Violation(field="parameters", description=text) for text in wrong], reason=Reason.INVALID_SQL)


def cast_parameters(tree: exp.Expr, given: Mapping[str, str], schema: pa.Schema) -> None:
    """Put casts around the parameters that are compared with a column, in place.

    Raises:
        Invalid: naming those that are compared with a number and are none.
    """
    wrong: dict[str, None] = {}
    for column, placeholder in list(_compared(tree)):
        position = find_column(schema.names, column.name)
        if position is None:
            continue
        value, field = given[placeholder.name], schema.field(position)
        try:
            kind = _cast_type(field.type, value)
        except ValueError as exc:
            compared = f"compared with column {field.name!r} of type {field.type}"
            wrong[f"{placeholder.name!r} is {value[:80]!r}, {exc}; it is {compared}"] = None
            continue
        if kind:
            placeholder.replace(exp.Cast(this=placeholder.copy(), to=exp.DataType.build(kind, dialect="databricks")))
    if wrong:
        raise wrong_parameters(list(wrong))


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
    """The type to read a value as; "": as the text it is. Raises ValueError for a number that is none."""
    types = pa.types
    if types.is_integer(kind) or types.is_decimal(kind):
        return "BIGINT" if _INTEGER.fullmatch(value) else _decimal_type(value)
    if types.is_floating(kind):
        return "DOUBLE"
    if types.is_boolean(kind):
        return "BOOLEAN"
    if types.is_date(kind):
        return "DATE"
    if types.is_timestamp(kind):
        return "TIMESTAMP_NTZ" if kind.tz is None else "TIMESTAMP"
    return ""


def _decimal_type(value: str) -> str:
    """The narrowest type that holds all digits of a value: in any other, 0.005 could come to equal 0.01."""
    if not _NUMBER.fullmatch(value):
        raise ValueError("which is no number")
    _, digits, exponent = Decimal(value.strip()).as_tuple()
    assert isinstance(exponent, int)
    scale, whole = max(-exponent, 0), max(len(digits) + exponent, 1)
    if whole + scale > _MAX_DIGITS:
        raise ValueError(f"which has more than {_MAX_DIGITS} digits")
    return f"DECIMAL({whole + scale}, {scale})"
