"""Statements without a query in them: SHOW, DESCRIBE, USE, SET, CREATE and DROP CATALOG.

sqlglot leaves most of these as raw text, so they are read here, word by word, from its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot.tokenizer_core import Token, TokenType

from blade_sandbox.warehouse.commands import describe, show, upkeep
from blade_sandbox.warehouse.errors import SqlError, catalog_not_found, syntax_error, unsupported
from blade_sandbox.warehouse.lake.lakehouse import DEFAULT_SCHEMA, Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql import cloning
from blade_sandbox.warehouse.statements import NO_ROWS, Action, Query, Statement
from blade_sandbox.warehouse.words import Words


def parse(text: str, tokens: Sequence[Token], session: Session, lakehouse: Lakehouse) -> Statement | None:
    """What to do for a command; None if the text is none of these statements.

    Raises:
        SqlError: a command with wrong syntax, or one the sandbox lacks.
    """
    first = tokens[0]
    if first.token_type in (TokenType.STRING, TokenType.IDENTIFIER):
        return None
    if first.text.upper() in _UNKNOWN:
        raise unsupported(f"the statement {first.text.upper()}")
    reader = _READERS.get(first.text.upper())
    if reader is None:
        return None
    # sqlglot makes one string of everything after SHOW, so the rest is read again.
    rest = text[first.end + 1 : tokens[-1].end + 1]
    return reader(Words(rest, list(sqlglot.tokenize(rest, read="databricks"))), session, lakehouse)


_UNKNOWN = {"GRANT", "REVOKE", "COPY", "CACHE", "UNCACHE", "CLEAR", "RESTORE", "CALL", "LOAD", "MSCK", "REPAIR",
            "DECLARE", "EXECUTE", "BEGIN", "SYNC", "FSCK", "REORG", "UNDROP", "EXPORT", "IMPORT", "ATTACH", "DETACH",
            "PRAGMA", "INSTALL", "CHECKPOINT"}  # fmt: skip


def _use(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    if words.accept("CATALOG"):
        return _set_catalog(words, session, lakehouse)
    words.accept_any("SCHEMA", "DATABASE")
    parts = words.name()
    words.end()
    if len(parts) > 2:
        raise syntax_error(parts[-1])
    catalog, schema = (parts[0].lower(), parts[1].lower()) if len(parts) == 2 else (session.catalog, parts[0].lower())

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        lakehouse.require_schema(catalog, schema)
        session.catalog, session.schema = catalog, schema
        return NO_ROWS

    return Action(run=run)


def _set_catalog(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    (name,) = words.name(parts=1)
    words.end()

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        if name.lower() not in lakehouse.catalogs():
            raise catalog_not_found(name)
        session.catalog, session.schema = name.lower(), DEFAULT_SCHEMA
        return NO_ROWS

    return Action(run=run)


def _set(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    if words.accept("CATALOG"):
        return _set_catalog(words, session, lakehouse)
    if words.accept("TIME", "ZONE"):
        return _assign(session, "spark.sql.session.timeZone", words.rest().strip("'\""))
    rest = words.rest()
    key, equals, value = (part.strip() for part in rest.partition("="))
    key, value = key.strip("`"), value.strip("'\"")
    if key.upper() in ("", "-V"):
        return show.answer(lambda: show.pairs(sorted(session.settings.items())))
    if not equals:
        return show.answer(lambda: show.pairs([(key, session.setting(key) or "<undefined>")]))
    return _assign(session, key, value)


def _assign(session: Session, key: str, value: str) -> Action:
    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        session.assign(key, value)
        return show.pairs([(key, value)])

    return Action(run=run)


def _reset(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    key = words.rest().strip("`").upper()

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        session.reset(key or None)
        return NO_ROWS

    return Action(run=run)


def _explain(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    words.accept_any("EXTENDED", "FORMATTED", "COST", "CODEGEN")
    text = words.rest()

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        # Late: the translation of any statement comes back here for those that are commands.
        from blade_sandbox.warehouse.sql.dialect import translate

        statement = translate(text, (), session, lakehouse)
        plan = "== Physical Plan ==\n"
        if isinstance(statement, Query):
            for name, table in statement.relations.items():
                cursor.register(name, table)
            plan += "\n".join(row[-1] for row in cursor.execute(f"EXPLAIN {statement.sql}").fetchall())
        else:
            plan += text
        return show.strings(["plan"], [(plan,)])

    return Action(run=run)


def _create(words: Words, session: Session, lakehouse: Lakehouse) -> Statement | None:
    if not words.accept("CATALOG"):
        return cloning.parse(words, session, lakehouse)
    quiet = words.accept("IF", "NOT", "EXISTS")
    (name,) = words.name(parts=1)

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        if name.lower() in lakehouse.catalogs() and not quiet:
            raise SqlError("CATALOG_ALREADY_EXISTS", "42P06", f"Catalog `{name}` already exists.")
        lakehouse.create_schema(name, DEFAULT_SCHEMA)
        return NO_ROWS

    return Action(run=run)


def _drop_catalog(words: Words, session: Session, lakehouse: Lakehouse) -> Action | None:
    if not words.accept("CATALOG"):
        return None
    quiet = words.accept("IF", "EXISTS")
    (name,) = words.name(parts=1)
    cascade = words.accept("CASCADE")

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        schemas = lakehouse.schemas(name)
        if not schemas and not quiet:
            raise catalog_not_found(name)
        if not cascade and (schemas not in ([], [DEFAULT_SCHEMA]) or lakehouse.has_tables(name, DEFAULT_SCHEMA)):
            raise SqlError("CATALOG_NOT_EMPTY", "2BP01", f"Cannot drop catalog `{name}`: it is not empty. Use CASCADE.")
        for schema in schemas:
            lakehouse.drop_schema(name, schema, cascade)
        return NO_ROWS

    return Action(run=run)


_READERS: dict[str, Callable[[Words, Session, Lakehouse], Statement | None]] = {
    "CREATE": _create,
    "OPTIMIZE": upkeep.optimize,
    "VACUUM": upkeep.vacuum,
    "ANALYZE": upkeep.analyze,
    "EXPLAIN": _explain,
    "DROP": _drop_catalog,
    "USE": _use,
    "SET": _set,
    "RESET": _reset,
    "SHOW": show.parse,
    "DESCRIBE": describe.parse,
    "DESC": describe.parse,
}
