"""Databricks SQL -> what runs here: parsed by sqlglot, names resolved, written in DuckDB's dialect.

What cannot be said in DuckDB with the same meaning is an error that names the
construct (``errors.unsupported``), never a statement that means something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlglot
import sqlglot.errors
from databricks.sql.thrift_api.TCLIService.ttypes import TSparkParameter
from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from blade_sandbox.warehouse.errors import syntax_error, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql import ddl, dml, table_changes
from blade_sandbox.warehouse.sql.column_names import name_columns
from blade_sandbox.warehouse.sql.functions import adapt
from blade_sandbox.warehouse.sql.parameters import POSITIONAL, Bindings
from blade_sandbox.warehouse.sql.render import render
from blade_sandbox.warehouse.sql.resolve import Resolver
from blade_sandbox.warehouse.sql.tokens import StatementTokens
from blade_sandbox.warehouse.statements import Query, Statement

_QUERIES = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
_VERSION_SUFFIX = re.compile(r"[vV](\d+)")


def plan(
    tokens: StatementTokens, parameters: Sequence[TSparkParameter], session: Session, lakehouse: Lakehouse
) -> Statement:
    """Turn one statement that sqlglot has a grammar for into something an operation can run.

    Raises:
        SqlError: syntax error, unknown table, unbound parameter, or a construct the sandbox lacks.
    """
    tree = _parse(_rewritten(tokens.text, tokens.tokens))
    bindings = Bindings(parameters=parameters)
    name_columns(tree, bindings.text)
    _bind(tree, bindings)
    resolver = Resolver(session=session, lakehouse=lakehouse)
    if isinstance(tree, _QUERIES):
        resolver.resolve(tree)
        return Query(
            sql=render(adapt(tree, ansi=session.ansi)),
            values=bindings.values,
            relations=resolver.relations,
            pinned=resolver.pinned,
            changes=resolver.changes,
        )
    if isinstance(tree, (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)):
        return dml.plan(tree, resolver, bindings)
    return ddl.plan(tree, resolver, bindings)


def _parse(text: str) -> exp.Expr:
    try:
        tree = sqlglot.parse_one(text, read="databricks")
    except sqlglot.errors.ParseError as exc:
        first = exc.errors[0] if exc.errors else {}
        near = str(first.get("highlight") or "").strip()
        position = f"(line {first.get('line')}, pos {first.get('col')})" if first else ""
        detail = str(first.get("description") or "")
        # Some of sqlglot's words are about its own classes.
        detail = "" if "<class" in detail else detail
        raise syntax_error(near, f"{detail} {position}".strip()) from exc
    if isinstance(tree, exp.Command):
        raise unsupported(f"the statement {str(tree.this).upper()}")
    if not isinstance(tree, (*_QUERIES, exp.DDL, exp.DML, exp.Query)) and not _is_statement(tree):
        raise syntax_error(text.strip().split()[0])
    return tree


def _is_statement(tree: exp.Expr) -> bool:
    return isinstance(tree, (exp.Drop, exp.Alter, exp.Comment, exp.TruncateTable, exp.Merge, exp.Delete, exp.Update))


def _rewritten(text: str, tokens: Sequence[Token]) -> str:
    """Write ``t@v3`` as ``t VERSION AS OF 3`` and the n-th ``?`` as a named marker: the tree keeps no source order."""
    edits = []
    markers = 0
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        if token.token_type == TokenType.PLACEHOLDER:
            markers += 1
            edits.append((token.start, token.end, f":{POSITIONAL}{markers}"))
        elif token.token_type == TokenType.PARAMETER and before and after and before.end + 1 == token.start:
            match = _VERSION_SUFFIX.fullmatch(after.text)
            if match and token.end + 1 == after.start:
                edits.append((token.start, after.end, f" VERSION AS OF {match[1]} "))
    for start, end, replacement in reversed(edits):
        text = text[:start] + replacement + text[end + 1 :]
    return text


def _bind(tree: exp.Expr, bindings: Bindings) -> None:
    for call in list(tree.find_all(exp.Anonymous)):
        if call.name.upper() == "IDENTIFIER" and isinstance(call.parent, exp.Table):
            _bind_identifier(call, bindings)
    for table in list(tree.find_all(exp.Table)):
        if table_changes.is_call(table):
            table_changes.bind(table, bindings.text)
    for placeholder in list(tree.find_all(exp.Placeholder)):
        placeholder.replace(bindings.value(placeholder.name))


def _bind_identifier(call: exp.Anonymous, bindings: Bindings) -> None:
    argument = call.expressions[0] if call.expressions else exp.Null()
    if isinstance(argument, exp.Placeholder) and argument.this:
        name = bindings.text(argument.name) or ""
    elif isinstance(argument, exp.Literal) and argument.is_string:
        name = argument.name
    else:
        raise unsupported("IDENTIFIER() of anything but a string or a named parameter")
    table = exp.to_table(name, dialect="databricks")
    for part in ("this", "db", "catalog"):
        call.parent.set(part, table.args.get(part))  # type: ignore[union-attr]
