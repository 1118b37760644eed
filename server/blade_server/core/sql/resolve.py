"""Which source a query reads: names of sources, data types and tables -> full names of tables.

A table of the query may be called by the name of a source, by its data type, or by the name of its table, whole or in
part. What the query itself defines (WITH) comes first. References like `maintenance.priority` go on working.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sqlglot import exp

from blade_server.core.sql.bounded import bounded
from blade_server.core.sql.lineage import makes_column
from blade_server.core.sql.parse import Edit, Parsed, invalid, parse_query, position, quoted, reparse, rewrite, span
from blade_server.core.sql.reads_only import check_reads_only
from blade_server.core.sql.scope import definition
from blade_server.core.sql.view import check_under, free_name, put_under
from blade_server.errors import Invalid, Reason
from blade_server.model import Source
from blade_server.model.access import View

TableName = tuple[str, str, str]
"""Catalog, schema and table, in lower case."""

_PLAIN = re.compile(r"[\w-]+( +[\w-]+)*")
_NEVER = ("system", "information_schema")


@dataclass(frozen=True)
class Reach:
    """What the tables of a caller's SQL may be.

    `sources`: those whose rows he may read. `others`: those he may only know of; a query that names one of them
    resolves, and `Resolved.read` tells. `views`: what of his sources is there for him, by name, where that is not all.
    `tables`: patterns (`main.reference.*`) of further full names, which
    `every_table` makes needless; tables of `system` and `information_schema` are never among them, nor, but with
    `every_table`, is a `hidden` one, of a source of which not all is there for him.
    """

    sources: Sequence[Source]
    others: Sequence[Source] = ()
    views: Mapping[str, View] = field(default_factory=dict)
    tables: Sequence[str] = ()
    every_table: bool = False
    hidden: frozenset[TableName] = frozenset()

    def covers(self, parts: Sequence[str]) -> bool:
        """Whether the full name of a table that is no source is within it."""
        folded = [part.casefold() for part in parts]
        if len(folded) != 3 or folded[0].strip() == _NEVER[0] or folded[1].strip() == _NEVER[1]:
            return False
        if self.every_table:
            return True
        # Other characters can make other spellings: `t@v1` is the table `t`.
        lower = tuple(part.lower() for part in parts)  # as `hidden` has them: `straße` is folded to `strasse`
        if lower in self.hidden or tuple(folded) in self.hidden or not all(map(_PLAIN.fullmatch, folded)):
            return False
        patterns = (pattern.casefold().split(".") for pattern in self.tables)
        return any(all(map(fnmatchcase, folded, pattern)) for pattern in patterns)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A query as the warehouse gets it, the source whose mapping is for its rows, and all those it reads.

    `sql`: as it was asked. `views`: what is there of these sources, by name, where that is not all.
    `makes_classification`: it may make the column itself from which the mapping takes the classification.
    """

    sql: str
    statement: str
    source: Source
    read: tuple[Source, ...]
    views: Mapping[str, View]
    makes_classification: bool


@bounded(lambda sql, *_, **__: sql, "sql")
def resolve(sql: str, reach: Reach, *, chosen: Sequence[Source] = (), field: str = "sql") -> Resolved:
    """Check a query and put full table names in it.

    Args:
        sql: one SELECT.
        reach: what its tables may be.
        chosen: those the caller has named (by name or data type); empty: the query says it.
        field: where the SQL stands in the request, for errors.

    Raises:
        Invalid: the SQL is not one SELECT that only reads; a table is not known; it is not clear which source is meant.
    """
    parsed = parse_query(sql, field=field)
    check_reads_only(parsed, field=field)
    for placeholder in parsed.tree.find_all(exp.Placeholder):
        name = f":{placeholder.name}" if placeholder.this else "?"
        raise invalid(field, f"has the parameter {name}; write the value into the SQL")
    named: list[tuple[exp.Table, Source, Edit | None]] = []
    for table in list(parsed.tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Func) and definition(table) is None:
            source = _find(table, reach, chosen, field)
            if source is not None:
                named.append((table, source, _rename(table, source)))
    read = {source.name: source for _, source, _ in named}
    source = _reader(list(read.values()), chosen, reach, field)
    column = source.mapping.classification.column
    makes_classification = bool(column) and makes_column(parsed.tree, column, table_name(source))
    statement = rewrite(parsed, list(_under_views(parsed, named, reach.views, field)), field=field)
    # Once more over what is sent: the writer puts some names (of arguments, of units) into the text without quotes.
    sent = reparse(statement, field=field)
    check_reads_only(sent, field=field)
    check_under(sent.tree, reach.views, reach.sources, field=field)
    return Resolved(
        sql=sql,
        statement=statement,
        source=source,
        read=tuple(read.values()),
        views={name: reach.views[name] for name in {*read, source.name} & reach.views.keys()},
        makes_classification=makes_classification,
    )


def _under_views(
    parsed: Parsed,
    named: Sequence[tuple[exp.Table, Source, Edit | None]],
    views: Mapping[str, View],
    field: str,
) -> Iterator[Edit | None]:
    """The edits of the text; in the tree every table of which not all is there gives way to what is."""
    free = free_name(parsed.tree) if views else ""
    for table, source, edit in named:
        view = views.get(source.name)
        if view is None:
            yield edit
        else:
            yield from put_under(table, edit, source, view, free, field=field)


def _reader(read: list[Source], chosen: Sequence[Source], reach: Reach, field: str) -> Source:
    """The one source whose mapping makes items of the rows."""
    fitting = [source for source in read if source in chosen] if chosen else read
    if not fitting:
        fitting = list(chosen)
    if len(fitting) == 1:
        _check_same_warehouse(fitting[0], read, field)
        return fitting[0]
    if not fitting:
        raise invalid(field, f"reads no source; {_known(reach)}")
    names = ", ".join(sorted(source.name for source in fitting))
    raise Invalid.field(
        "source", f"several sources could be meant ({names}): name one of them", reason=Reason.SOURCE_AMBIGUOUS
    )


def _check_same_warehouse(source: Source, read: list[Source], field: str) -> None:
    for other in read:
        if other.config.host != source.config.host:
            raise invalid(field, f"reads the sources {source.name!r} and {other.name!r}, which are on different hosts")


def _find(table: exp.Table, reach: Reach, chosen: Sequence[Source], field: str) -> Source | None:
    """The source that a table name means; None: the full name of another table that may be read."""
    parts = [part.name for part in table.parts]
    for candidates in (*_meanings(parts, reach.sources), *_meanings(parts, reach.others)):
        preferred = [source for source in candidates if source in chosen]
        found = preferred or candidates
        if len({table_name(source) for source in found}) == 1:
            # Sources that share a table: any of them names it, the mapping is chosen elsewhere or refused there.
            if len(found) > 1 and not chosen:
                raise _ambiguous(table, found)
            return found[0]
        if found:
            raise _ambiguous(table, found)
    if reach.covers(parts):
        return None
    raise _unknown(table, parts, reach, field)


def _unknown(table: exp.Table, parts: list[str], reach: Reach, field: str) -> Invalid:
    name = ".".join(parts)
    known = [*reach.sources, *reach.others]
    close = difflib.get_close_matches(name, [word for source in known for word in (source.name, source.data_type)])
    hint = f"did you mean {close[0]!r}? " if close else ""
    what = "neither a source nor a full name (catalog.schema.table)"
    if len(parts) == 3:
        what = "neither a source nor a table that SQL may read here (BLADE_ALLOWED_TABLES)"
    return invalid(field, f"the table {name!r}{position(table)} is {what}; {hint}{_known(reach)}")


def _meanings(parts: list[str], sources: Sequence[Source]) -> Iterator[list[Source]]:
    """What a name can mean, most specific first."""
    wanted = [part.lower() for part in parts]
    if len(wanted) == 1:
        yield [source for source in sources if source.name == wanted[0]]
        yield [source for source in sources if source.data_type == wanted[0]]
    yield [source for source in sources if list(table_name(source))[-len(wanted) :] == wanted]


def _ambiguous(table: exp.Table, found: list[Source]) -> Invalid:
    names = ", ".join(sorted({source.name for source in found}))
    return Invalid.field(
        "source",
        f"the table {table.name!r}{position(table)} can mean the sources {names}: name one of them",
        reason=Reason.SOURCE_AMBIGUOUS,
    )


def _rename(table: exp.Table, source: Source) -> Edit | None:
    """Put the full name in the tree; returns the same for the text, None if it cannot be done there."""
    used, place = table.name, span(table)
    full = ".".join(quoted(part) for part in (source.config.catalog, source.config.schema, source.config.table))
    if used.lower() != source.config.table.lower() and not table.alias:
        # So that `maintenance.priority` goes on meaning a column of it.
        table.set("alias", exp.TableAlias(this=exp.to_identifier(used, quoted=True)))
        full += f" AS {quoted(used)}"
    table.set("this", exp.to_identifier(source.config.table, quoted=True))
    table.set("db", exp.to_identifier(source.config.schema, quoted=True))
    table.set("catalog", exp.to_identifier(source.config.catalog, quoted=True))
    return Edit(place[0], place[1], full) if place else None


def table_name(source: Source) -> TableName:
    """The full name of its table."""
    config = source.config
    return config.catalog.lower(), config.schema.lower(), config.table.lower()


def _known(reach: Reach) -> str:
    known = [*reach.sources, *reach.others]
    if not known:
        return "there are no sources yet, add one first"
    names = sorted(f"{source.name} ({source.data_type})" for source in known)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"the sources are {', '.join(names[:10])}{more}"
