"""Statements of BLADE's own over a source's table or around a query that `resolve` has let through."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
from sqlglot import exp

from blade_server.core.sql.bounded import bounded
from blade_server.core.sql.item_id_sql import NotInSqlError, item_id_sql
from blade_server.core.sql.parameters import cast_parameters, check_parameters, wrong_parameters
from blade_server.core.sql.parse import (
    Edit,
    Parsed,
    invalid,
    parse_condition,
    position,
    quoted,
    render,
    reparse,
    reparse_condition,
    rewrite,
    shown,
    span,
)
from blade_server.core.sql.reads_only import check_reads_only
from blade_server.core.sql.view import relation, shorten
from blade_server.core.transform.item_ids import Template, TemplateError
from blade_server.errors import Precondition, Reason
from blade_server.model import RowQuery, Source
from blade_server.model.access import WHOLE, View

_DIRECTION = re.compile(r"^(?P<column>.+?)(?:\s+(?P<direction>asc|desc))?$", re.IGNORECASE | re.DOTALL)


@bounded(lambda _, query, *__, **___: "".join([query.filter, *query.columns, *query.order_by]), "filter")
def select(source: Source, query: RowQuery, schema: pa.Schema | None = None, *, view: View = WHOLE) -> str:
    """The rows of a source that a query asks for. Its parameters stay parameters.

    Args:
        source: whose table.
        query: which rows; its numbers have been checked.
        schema: of what is there of the table, if it is known; then unknown columns are found here and not by the
            warehouse.
        view: what is there.

    Raises:
        Invalid: the filter is not one plain condition, a parameter is missing or not used, a column is not known.
    """
    wanted: list[exp.Expr] = [_column(name) for name in query.columns]
    tree = exp.select(*wanted or [exp.Star()]).from_(relation(source, view))
    if query.filter.strip():
        tree = tree.where(_condition(source, query, schema, view), copy=False)
    elif query.parameters:
        raise wrong_parameters([f"{name!r} is not used: there is no filter" for name in sorted(query.parameters)])
    if schema is not None:
        _check_columns("columns", query.columns, schema)
        _check_columns("order_by", [_ordering(text)[0] for text in query.order_by], schema)
    for text in query.order_by:
        name, descending = _ordering(text)
        tree = tree.order_by(exp.Ordered(this=_column(name), desc=descending, nulls_first=not descending), copy=False)
    if query.limit is not None:
        tree = tree.limit(query.limit, copy=False)
    if query.offset:
        tree = tree.offset(query.offset, copy=False)
    return render(tree, field="filter")


def all_rows(source: Source, limit: int, *, view: View = WHOLE) -> str:
    """The first rows that are there of a source, as they come; `limit` 0 asks only for its columns."""
    return render(exp.select("*").from_(relation(source, view)).limit(limit))


def look_up(source: Source, schema: pa.Schema, *, view: View = WHOLE) -> str:
    """The rows with the item id `:item_id`, at most two: a second one is enough to know that the id is ambiguous.

    Args:
        source: whose table and item id template.
        schema: of what is there of the table; how a value is written depends on its type.
        view: what is there.

    Raises:
        Precondition: the template needs a column that the table does not have, or has no form in SQL.
    """
    try:
        item_id = item_id_sql(Template.parse(source.mapping.item_id), {column.name: column.type for column in schema})
    except TemplateError as exc:
        reason = Reason.INVALID_FIELD if isinstance(exc, NotInSqlError) else Reason.MISSING_COLUMN
        raise Precondition(f"mapping.item_id {exc}", reason=reason) from exc
    wanted = exp.EQ(this=item_id, expression=exp.Placeholder(this="item_id"))
    return render(exp.select("*").from_(relation(source, view)).where(wanted).limit(2))


def count(statement: str) -> str:
    """How many rows a resolved query has, as one row of one column."""
    return f"SELECT COUNT(*) AS `row_count` FROM ({statement}) AS `counted`"  # noqa: S608  resolved


def count_ids(statement: str, template: str, schema: pa.Schema) -> str:
    """How many rows a resolved query has, how many of them have an item id, and how many different ones there are.

    Args:
        statement: the query.
        template: of the item ids.
        schema: of its result.

    Raises:
        TemplateError: there is no SQL for the ids.
    """
    item_id = item_id_sql(Template.parse(template), {column.name: column.type for column in schema})
    ids = render(exp.select(exp.alias_(item_id, "item_id", quoted=True)))
    counts = "COUNT(*) AS `rows`, COUNT(`item_id`) AS `with_id`, COUNT(DISTINCT `item_id`) AS `ids`"
    return f"SELECT {counts} FROM ({ids} FROM ({statement}) AS `counted`) AS `of_rows`"  # noqa: S608  resolved


@bounded(lambda statement, _: statement, "sql")
def limit(statement: str, rows: int) -> str:
    """At most so many rows of a resolved query, with its own column names: around it, DuckDB renames one of two `a`."""
    tree = reparse(statement).tree
    if isinstance(tree, (exp.Select, exp.SetOperation)) and not (tree.args.get("limit") or tree.args.get("offset")):
        return f"{statement} LIMIT {rows:d}"
    return f"SELECT * FROM ({statement}) AS `limited` LIMIT {rows:d}"  # noqa: S608  resolved


@bounded(lambda statement: statement, "sql")
def tables(statement: str) -> list[str]:
    """The tables a resolved query reads, each once, as quoted full names; but those with a version of their own."""
    tree = reparse(statement).tree
    return list(dict.fromkeys(_name(table) for table in tree.find_all(exp.Table) if _can_pin(table)))


@bounded(lambda statement: statement, "sql")
def names_of_tables(statement: str) -> list[str]:
    """The full names of the tables that a resolved query reads, pinned or not, each once, without quotes."""
    found = (table.parts for table in reparse(statement).tree.find_all(exp.Table) if table.catalog)
    return list(dict.fromkeys(".".join(part.name for part in parts) for parts in found))


@bounded(lambda statement, _: statement, "sql")
def pin(statement: str, versions: Mapping[str, int]) -> str:
    """The query over these versions of its tables; keys as `tables` gives them, others stay as they are."""
    parsed = reparse(statement)
    edits: list[Edit | None] = []
    for table in parsed.tree.find_all(exp.Table):
        version = versions.get(_name(table)) if _can_pin(table) else None
        if version is not None:
            place = span(table)
            table.set("version", exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(version)))
            name = parsed.text[place[0] : place[1] + 1] if place else ""
            edits.append(Edit(place[0], place[1], f"{name} VERSION AS OF {version:d}") if place else None)
    return rewrite(parsed, edits)


def history(table: str) -> str:
    """The statement whose first column is the newest version of a Delta table; refused for views and other tables."""
    return f"DESCRIBE HISTORY {table} LIMIT 1"


def _can_pin(table: exp.Table) -> bool:
    return bool(table.catalog) and not isinstance(table.this, exp.Func) and not table.args.get("version")


def _name(table: exp.Table) -> str:
    return ".".join(quoted(part.name) for part in table.parts)


def _column(name: str) -> exp.Column:
    return exp.Column(this=exp.to_identifier(name, quoted=True))


def _ordering(text: str) -> tuple[str, bool]:
    match = _DIRECTION.match(text.strip())
    if match is None:
        raise invalid("order_by", "has an empty entry; it must be a column, with ` asc` or ` desc` if you like")
    name = match["column"].strip()
    if len(name) > 2 and name[0] == name[-1] == "`":
        name = name[1:-1].replace("``", "`")
    return name, (match["direction"] or "asc").lower() == "desc"


def _condition(source: Source, query: RowQuery, schema: pa.Schema | None, view: View) -> exp.Expr:
    parsed = parse_condition(query.filter, field="filter")
    _check_condition(parsed)
    tree = parsed.tree
    if not view.is_whole:
        shorten(tree, source)
    check_parameters(tree, query.parameters)
    if schema is not None:
        # A dotted name can be a field of a struct, which the warehouse knows better.
        plain = [column for column in tree.find_all(exp.Column) if not column.table]
        bound = {name.name for function in tree.find_all(exp.Lambda) for name in function.expressions}
        _check_columns("filter", [column.name for column in plain if column.name not in bound], schema)
        cast_parameters(tree, query.parameters, schema)
    tree = exp.paren(tree, copy=False)
    # Once more over what is sent: the writer puts some names (of arguments, of units) into the text without quotes.
    written = reparse_condition(render(tree, field="filter"), field="filter")
    _check_condition(written)
    check_parameters(written.tree, query.parameters)
    return tree


def _check_condition(parsed: Parsed) -> None:
    """Pass what can be said of one row alone."""
    check_reads_only(parsed, field="filter")
    for node in parsed.tree.walk():
        if isinstance(node, exp.Query):
            raise invalid("filter", "holds a subquery; only the row's own columns can be used")
        if isinstance(node, (exp.AggFunc, exp.Window)):
            raise invalid(
                "filter", f"holds {shown(node, field='filter')}, which needs more than one row{position(node)}"
            )
        if isinstance(node, (exp.UDTF, exp.Star, exp.Alias)):
            raise invalid("filter", f"holds {shown(node, field='filter')}, which is no condition{position(node)}")


def _check_columns(where: str, names: Sequence[str], schema: pa.Schema) -> None:
    known = {name.lower(): name for name in schema.names}
    for name in names:
        if name.lower() not in known:
            close = difflib.get_close_matches(name.lower(), known)
            hint = f"; did you mean {known[close[0]]!r}?" if close else f"; it has {', '.join(schema.names[:30])}"
            raise invalid(where, f"the table has no column {name!r}{hint}")
