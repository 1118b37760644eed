"""What may stand in a query: anything that reads tables and computes. What writes, runs code or reaches out is refused.

This keeps mistakes and mischief out of the warehouse; the rights of the token are the real fence.
"""

from __future__ import annotations

import re

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from blade_server.core.sql.functions import check_functions, check_named
from blade_server.core.sql.parse import Parsed, invalid, position

_TABLE_FUNCTIONS = {
    "range",
    "explode",
    "explode_outer",
    "posexplode",
    "posexplode_outer",
    "inline",
    "inline_outer",
    "stack",
    "json_tuple",
    "variant_explode",
    "variant_explode_outer",
    "sequence",
}

_FILE_FORMATS = {"parquet", "csv", "json", "text", "binaryfile", "delta", "avro", "orc", "xml", "iceberg"}

_FORBIDDEN_NODES: tuple[tuple[type[exp.Expr] | tuple[type[exp.Expr], ...], str], ...] = (
    ((exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Copy), "changes data; only reading is allowed"),
    ((exp.Create, exp.Drop, exp.Alter, exp.Command, exp.Set, exp.Describe), "is not a query; only reading is allowed"),
    (exp.Into, "INTO writes a table; only reading is allowed"),
    (exp.Lock, "FOR UPDATE locks rows; only reading is allowed"),
    (exp.QueryTransform, "TRANSFORM ... USING runs a program and is not allowed"),
    ((exp.Parameter, exp.SessionParameter), "variables are not allowed (for a version write VERSION AS OF 3)"),
)

_FORBIDDEN = tuple(kind for kinds, _ in _FORBIDDEN_NODES for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def check_reads_only(parsed: Parsed, *, field: str) -> None:
    """Pass what only reads.

    Raises:
        Invalid: naming what is not allowed and where it stands.
    """
    for token in parsed.tokens:
        if token.token_type is TokenType.PIPE_GT:
            raise invalid(field, f"the pipe |> at line {token.line} is not allowed; nest the queries")
    check_functions(parsed.tree, parsed.tokens, field=field)
    for node in parsed.tree.walk():
        if isinstance(node, _FORBIDDEN):
            why = next(why for kinds, why in _FORBIDDEN_NODES if isinstance(node, kinds))
            raise invalid(field, f"{why}{position(node)}")
        if isinstance(node, exp.Table):
            _check_table(node, field)
        elif isinstance(node, exp.Anonymous):
            check_named(node, field=field)
        elif (isinstance(node, exp.In) and node.args.get("field")) or (
            isinstance(node, exp.Lateral) and not isinstance(node.this, (exp.Subquery, exp.Func))
        ):
            raise invalid(field, f"a table may stand only behind FROM or JOIN{position(node)}")


def _check_table(table: exp.Table, field: str) -> None:
    source = table.this
    if isinstance(source, exp.Func):
        name = source.name if isinstance(source, exp.Anonymous) else type(source).sql_names()[0]
        if name.lower() not in _TABLE_FUNCTIONS:
            raise invalid(field, f"the table function {name.lower()} is not allowed{position(table)}")
    elif table.db.lower() in _FILE_FORMATS and re.search(r"[/:]", table.name):
        raise invalid(field, f"reading the file {table.name!r} is not allowed; name a table{position(table)}")
