"""Item id templates as SQL: the string that `Template.render` makes of a row, as an expression over its columns.

Both must agree to the letter, because an item is looked up with `<expression> = :item_id`. The expression counts on a
session in UTC and in ANSI mode (a SQL warehouse's default; else Spark prints small decimals with an exponent).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import sqlglot
from sqlglot import exp

from blade_server.core.transform.item_ids import BLANKS, ROW_HASH, Template, TemplateError, format_pieces
from blade_server.core.transform.row_hash import DIGITS, prefix

_DIRECTIVES = {
    "Y": "DATE_FORMAT(x, 'yyyy')",
    "y": "DATE_FORMAT(x, 'yy')",
    "m": "DATE_FORMAT(x, 'MM')",
    "d": "DATE_FORMAT(x, 'dd')",
    "H": "DATE_FORMAT(x, 'HH')",
    "M": "DATE_FORMAT(x, 'mm')",
    "S": "DATE_FORMAT(x, 'ss')",
    "j": "LPAD(CAST(DAYOFYEAR(x) AS STRING), 3, '0')",
}
_DATE = "DATE_FORMAT(x, 'yyyy-MM-dd')"
_TIME = "TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM DATE_FORMAT(x, 'HH:mm:ss.SSSSSS')))"
_TIMESTAMP = f"{_DATE} || 'T' || {_TIME} || 'Z'"
_ISO = "'^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?)?$'"
_PARSED = (
    f"TRY_CAST(CASE WHEN x RLIKE {_ISO} THEN x WHEN x RLIKE '^[0-9]{{8}}$' "
    "THEN SUBSTRING(x, 1, 4) || '-' || SUBSTRING(x, 5, 2) || '-' || SUBSTRING(x, 7, 2) END AS TIMESTAMP)"
)
"""Databricks takes more than ISO 8601 for a time (`2024-1-5`, `2024`); such rows have no id, so they must be NULL."""


class NotInSqlError(TemplateError):
    """The template is one, but has no form in SQL over these columns."""


def item_id_sql(template: Template, types: Mapping[str, pa.DataType]) -> exp.Expr:
    """The id as an expression in the databricks dialect; NULL where a value is missing or no date.

    Args:
        template: of the ids.
        types: column name -> type, as in the table.

    Raises:
        TemplateError: as `Template.check`; NotInSqlError for the hash of a row with a column of no one spelling.
    """
    pieces: list[exp.Expr] = []
    for part, name in template.resolve(types):
        if part.row_hash:
            pieces.append(_row_hash(types))
        elif name:
            pieces += _column(exp.column(name, quoted=True), types[name], part.format)
        else:
            pieces.append(exp.Literal.string(part.literal))
    return _concatenated(pieces)


def _column(column: exp.Expr, kind: pa.DataType, pattern: str) -> list[exp.Expr]:
    if pa.types.is_string(kind):
        trim = exp.Trim(this=column, expression=exp.Literal.string(BLANKS), position="BOTH")
        column = exp.Nullif(this=trim, expression=exp.Literal.string(""))
        if not pattern:
            return [column]
        column = _filled(_PARSED, column)
    if pattern:
        return [
            exp.Literal.string(literal) if literal else _filled(_DIRECTIVES[letter], column)
            for literal, letter in format_pieces(pattern)
        ]
    if pa.types.is_date(kind):
        return [_filled(_DATE, column)]
    return [_filled(_TIMESTAMP if pa.types.is_timestamp(kind) else "CAST(x AS STRING)", column)]


def _row_hash(types: Mapping[str, pa.DataType]) -> exp.Expr:
    """As `core.transform.row_hash`."""
    contents = []
    for name in sorted(types):
        value = _bare(name, types[name])
        length = exp.cast(exp.Length(this=value), "STRING")
        pieces = [exp.Literal.string(prefix(name)), length, exp.Literal.string(":"), value, exp.Literal.string(",")]
        contents.append(exp.Coalesce(this=_concatenated(pieces), expressions=[exp.Literal.string("")]))
    digest = exp.SHA2(this=_concatenated(contents), length=exp.Literal.number(256))
    return exp.Substring(this=digest, start=exp.Literal.number(1), length=exp.Literal.number(DIGITS))


def _bare(name: str, kind: pa.DataType) -> exp.Expr:
    column, kinds = exp.column(name, quoted=True), pa.types
    if kinds.is_string(kind):
        return column
    if kinds.is_timestamp(kind):
        return _filled(_TIMESTAMP if kind.tz else _TIMESTAMP.removesuffix(" || 'Z'"), column)
    if kinds.is_date(kind) or kinds.is_integer(kind) or kinds.is_boolean(kind) or kinds.is_decimal(kind):
        (spelled,) = _column(column, kind, "")
        return spelled
    raise NotInSqlError(
        f"has {ROW_HASH}, which SQL cannot write for column {name!r} of type {kind}: such ids can be neither looked up "
        "nor counted in the warehouse"
    )


def _filled(pattern: str, column: exp.Expr) -> exp.Expr:
    """The parsed pattern with the column in the place of `x`."""
    tree = sqlglot.parse_one(pattern, read="databricks")
    return tree.transform(lambda node: column.copy() if isinstance(node, exp.Column) and node.name == "x" else node)


def _concatenated(pieces: Sequence[exp.Expr]) -> exp.Expr:
    """`||`, which is NULL as soon as one piece is."""
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = exp.DPipe(this=whole, expression=piece, safe=True)
    return whole
