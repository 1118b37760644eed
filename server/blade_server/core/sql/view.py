"""What stands in a statement in the place of a source's table for somebody who may not read all of it.

A subquery of the rows up to his ceiling and of the columns that are there for him, under whatever he asks: filters,
joins and aggregates see nothing else, so that no count and no error tells of the rest. A row has the classification
that its item would have; what would be rejected for it (null, blank, not known) is above every ceiling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlglot import exp

from blade_server.core.sql.parse import Edit, invalid, position, quoted, render, reparse
from blade_server.core.transform.item_ids import BLANKS
from blade_server.model import Source
from blade_server.model.access import View

_ROWS = "source_rows"
_MOVED = ("pivots", "joins", "laterals")
"""What may hang on a table and can hang on a subquery."""
_PLAIN = {"this", "db", "catalog", "alias", "sample", *_MOVED}


def table_of(source: Source) -> exp.Table:
    """The table of a source, by its full name."""
    config = source.config
    return exp.table_(config.table, config.schema, config.catalog, quoted=True)


def relation(source: Source, view: View) -> exp.Expr:
    """The table, or in its place, under the same name, what of it is there."""
    if view.is_whole:
        return table_of(source)
    alias = exp.TableAlias(this=exp.to_identifier(source.config.table, quoted=True))
    return exp.Subquery(this=_rows(source, view, _ROWS), alias=alias)


def put_under(
    table: exp.Table, edit: Edit | None, source: Source, view: View, free: str, *, field: str
) -> Iterator[Edit | None]:
    """Put what of a source is there in the place of its table in a query; changes the tree that the table is of.

    Args:
        table: with its full name.
        edit: the same for the text: the full name, with an alias if the text has none and needs one.
        source: whose table it is.
        view: what is there.
        free: a name that stands nowhere in the query.
        field: where the SQL stands in the request, for errors.

    Returns:
        The edits of the text in the place of `edit`; None: one cannot be placed.

    Raises:
        Invalid: it is another version of the table, or something hangs on it that cannot hang on a subquery.
    """
    _check_plain(table, source, field)
    rows = f"({render(_rows(source, view, free), field=field)})"
    alias = table.args.get("alias")
    written = edit.text.removeprefix(_full_name(table)) if edit else ""
    if alias is None:
        written = f" AS {quoted(table.name)}"
        yield from _shorten(table, source)
    sample = table.args.get("sample")
    # Behind a subquery its name would stand between the two, which the warehouse does not read.
    sampled = f"(SELECT * FROM {rows} {render(sample, field=field)})" if sample else rows  # noqa: S608
    put = reparse(f"SELECT * FROM {sampled} AS {quoted(table.name)}", field=field).tree.args["from_"].this  # noqa: S608
    if alias is not None:
        put.set("alias", alias)
    for part in _MOVED:
        if table.args.get(part):
            put.set(part, table.args[part])
    table.replace(put)
    yield Edit(edit.start, edit.end, rows + written) if edit and not sample else None


def check_under(tree: exp.Expr, views: Mapping[str, View], sources: Collection[Source], *, field: str) -> None:
    """Pass a query in which no table is read past the view of its source.

    Args:
        tree: what is sent, read anew.
        views: by names of sources; what is not in it is whole.
        sources: those whose rows may be read.
        field: where the SQL stands in the request.

    Raises:
        Invalid.
    """
    if not views:
        return
    full = {_folded(table_of(source)) for source in sources if source.name not in views}
    seen = [(_folded(table_of(source)), source, views[source.name]) for source in sources if source.name in views]
    for table in tree.find_all(exp.Table):
        allowed = [(source, view) for name, source, view in seen if name == _folded(table)]
        if allowed and _folded(table) not in full:
            select = table.parent.parent if table.parent else None
            written = {render(_rows(source, view, table.alias), field=field) for source, view in allowed}
            if select is None or render(select, field=field) not in written:
                raise invalid(field, f"the table {table.name!r} cannot be read in this way; nest the query less")


def shorten(condition: exp.Expr, source: Source) -> None:
    """Let columns of a condition name the table by its name alone, which is all that a subquery has."""
    for column in condition.find_all(exp.Column):
        _cut(column, source)


def _shorten(table: exp.Table, source: Source) -> Iterator[Edit | None]:
    """As `shorten`, where the table stands, with the edits of the text."""
    select = table.find_ancestor(exp.Select)
    for column in list(select.find_all(exp.Column)) if select is not None else ():
        first, name = column.parts[0].meta, _cut(column, source)
        if name is not None:
            placed = "start" in first and "start" in name.meta
            yield Edit(first["start"], name.meta["start"] - 1, "") if placed else None


def _cut(column: exp.Column, source: Source) -> exp.Expr | None:
    """Takes schema and catalog of the table from the front of a column; the table's name in it, if they were there."""
    full = list(_folded(table_of(source)))
    parts = column.parts
    for behind in range(len(parts) - 1, 1, -1):  # what is behind the table's name may be a field of a struct
        if [part.name.casefold() for part in parts[:behind]] == full[-behind:]:
            for name in [one for one in ("catalog", "db", "table") if column.args.get(one)][: behind - 1]:
                column.set(name, None)
            return parts[behind - 1]
    return None


def _full_name(table: exp.Table) -> str:
    return ".".join(quoted(part.name) for part in table.parts)


def _folded(table: exp.Table) -> tuple[str, ...]:
    return tuple(part.name.casefold() for part in table.parts)


def _check_plain(table: exp.Table, source: Source, field: str) -> None:
    if table.args.get("version") or table.args.get("when"):
        raise invalid(
            field,
            f"reads another version of the table {table.name!r}{position(table)}; that needs the role EDITOR on source "
            f"{source.name!r}, because rows may have been classified otherwise then",
        )
    hanging = {name for name, value in table.args.items() if value} - _PLAIN
    if hanging or not isinstance(table.parent, (exp.From, exp.Join, exp.Subquery, exp.Paren)):
        raise invalid(field, f"the table {table.name!r}{position(table)} may stand only plainly behind FROM or JOIN")


def free_name(tree: exp.Expr) -> str:
    """A name that stands nowhere in a query: with a name of his own nobody can answer for the table's columns."""
    taken = {name.name.casefold() for name in tree.find_all(exp.Identifier)}
    number = 0
    while (free := f"{_ROWS}_{number}" if number else _ROWS) in taken:
        number += 1
    return free


def _rows(source: Source, view: View, name: str) -> exp.Select:
    """The rows and columns that are there."""
    star = exp.Star(except_=[exp.to_identifier(column, quoted=True) for column in view.masked] or None)
    table = table_of(source)
    table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    select = exp.select(star).from_(table)
    for condition in _conditions(source, view, name):
        select = select.where(condition, copy=False)
    return select


def _conditions(source: Source, view: View, name: str) -> Sequence[exp.Expr]:
    mapping = source.mapping
    if not view.ceiling:
        return ()
    fixed = [one for one in (mapping.min_classification, mapping.classification.value) if one]
    if not view.classifications or any(one not in view.classifications for one in fixed):
        return (exp.false(),)
    if mapping.classification.value:
        return ()
    column = exp.column(mapping.classification.column, table=name, quoted=True)
    trimmed = exp.Trim(
        this=exp.cast(column, "STRING", dialect="databricks"), expression=exp.Literal.string(BLANKS), position="BOTH"
    )
    known = exp.In(this=trimmed, expressions=[exp.Literal.string(one) for one in view.classifications])
    # What is computed anew for each row keeps the caller's conditions above this one: together the warehouse might ask
    # them first, and an error of theirs would tell of rows that are not there.
    return known, exp.GTE(this=exp.Rand(), expression=exp.Literal.number(0))
