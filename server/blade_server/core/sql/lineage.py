"""Whether a query hands a column of a table on as it is, or makes a column of that name itself.

Where the classification of items stands in a column, whoever can make that column decides what may go where. So what is
not plainly the column of the table counts as made: an alias, an expression, an aggregate, a column of another table, a
UNION that puts another column in its place. It is about the column alone: what else a row holds may come from other
rows, by joins and windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import cached_property

from sqlglot import exp

from blade_server.core.sql.scope import definition


class _Has(IntEnum):
    """What a relation has of the column; the highest counts where several come together."""

    NOTHING = 0
    AS_IS = 1
    UNKNOWN = 2
    MADE = 3


_NO_COLUMNS = ("SEMI", "ANTI")
"""Joins that only choose among the rows of what stands before them."""
_MANY_COLUMNS = (exp.UDTF, exp.Explode, exp.Inline, exp.Stack, exp.Anonymous)


def makes_column(query: exp.Expr, column: str, table: Sequence[str]) -> bool:
    """Whether a query's result can have a column `column` that is not that of the table, row by row.

    Args:
        query: resolved: tables have their full names.
        column: its name; case does not count.
        table: catalog, schema and name of the table, in lower case.
    """
    try:
        return _Lineage(column, table).of(query) > _Has.AS_IS
    except RecursionError:
        return True


class _Lineage:
    def __init__(self, column: str, table: Sequence[str]) -> None:
        self._column = column.casefold()
        self._table = list(table)
        self._known: dict[int, _Has] = {}

    def of(self, query: exp.Expr | None) -> _Has:
        query = query.unnest() if isinstance(query, (exp.Subquery, exp.Paren)) else query
        if id(query) not in self._known:
            self._known[id(query)] = _Has.MADE  # what reads itself makes its rows
            self._known[id(query)] = self._of(query)
        return self._known[id(query)]

    def _of(self, query: exp.Expr | None) -> _Has:
        if isinstance(query, exp.SetOperation):
            return self._of_arms(list(_arms(query)), by_name=bool(query.args.get("by_name")))
        if isinstance(query, exp.Select):
            select = _Select(query)
            return max((self._of_projection(one, select) for one in query.expressions), default=_Has.NOTHING)
        if isinstance(query, exp.Table):  # `(a JOIN b)`
            return self._of_relation(query)
        return _Has.MADE

    def _of_arms(self, arms: list[exp.Expr], *, by_name: bool) -> _Has:
        found = {self.of(arm) for arm in arms}
        if found == {_Has.AS_IS} and not by_name:  # then columns come together by their places
            places = {self._place(arm) for arm in arms}
            return _Has.MADE if None in places or len(places) > 1 else _Has.AS_IS
        return found.pop() if len(found) == 1 else _Has.MADE

    def _place(self, arm: exp.Expr) -> int | None:
        """Where the column stands among those of an arm; -1: where the table has it; None: it is not known."""
        select = arm.unnest() if isinstance(arm, (exp.Subquery, exp.Paren)) else arm
        names = [one.alias_or_name.casefold() for one in getattr(select, "expressions", [])]
        if names == ["*"]:
            return -1 if self._is_whole(select) else None
        return names.index(self._column) if self._column in names and "*" not in names else None

    def _is_whole(self, query: exp.Expr) -> bool:
        """Whether it has the columns of the table, all of them and in their order."""
        select = query.unnest() if isinstance(query, (exp.Subquery, exp.Paren)) else query
        if not isinstance(select, exp.Select) or [type(one) for one in select.expressions] != [exp.Star]:
            return False
        relations = _Select(select).relations
        if _left_out(select.expressions[0]) or len(relations) != 1 or _renamed(relations[0]):
            return False
        if isinstance(relations[0], exp.Subquery):
            return self._is_whole(relations[0].this)
        defined = definition(relations[0]) if isinstance(relations[0], exp.Table) else None
        if defined is not None:
            return not _renamed(defined) and self._is_whole(defined.this)
        return self._of_relation(relations[0]) is _Has.AS_IS

    def _of_projection(self, one: exp.Expr, select: _Select) -> _Has:
        star = one.this if isinstance(one, exp.Column) else one
        if isinstance(star, exp.Star):
            return self._of_star(
                star, select.qualified(one) if isinstance(one, exp.Column) else select.relations, select
            )
        if isinstance(one, exp.Alias):
            named = one.alias.casefold() == self._column
            plain = isinstance(one.this, exp.Column) and one.this.name.casefold() == self._column
            return _Has.NOTHING if not named else self._of_column(one.this, select) if plain else _Has.MADE
        if isinstance(one, exp.Aliases):
            return _Has.MADE if self._is_in(one.expressions) else _Has.NOTHING
        if isinstance(one, exp.Column):
            return self._of_column(one, select) if one.name.casefold() == self._column else _Has.NOTHING
        # The warehouse gives it a name, which can be that of a field in it, or several; `struct.*` has those of all.
        mentions = self._column in one.sql("databricks").casefold() or one.find(*_MANY_COLUMNS)
        return _Has.MADE if mentions or isinstance(one, exp.Dot) else _Has.NOTHING

    def _of_star(self, star: exp.Star, relations: list[exp.Expr], select: _Select) -> _Has:
        if star.args.get("replace") or star.args.get("rename") or not relations or self._merged(select):
            return _Has.MADE
        if self._is_in(_left_out(star)):
            return _Has.NOTHING
        return max(self._of_relation(relation) for relation in relations)

    def _of_column(self, column: exp.Expr, select: _Select) -> _Has:
        if self._merged(select):
            return _Has.MADE
        assert isinstance(column, exp.Column)
        if column.table:
            found = [self._of_relation(relation) for relation in select.qualified(column)]
            return found[0] if found == [_Has.AS_IS] else _Has.MADE
        # If a table that is not known has it, too, the warehouse refuses it as ambiguous.
        found = [self._of_relation(relation) for relation in select.relations]
        return _Has.AS_IS if _Has.AS_IS in found and _Has.MADE not in found else _Has.MADE

    def _of_relation(self, relation: exp.Expr) -> _Has:
        if relation.args.get("pivots") or relation.args.get("joins") or relation.args.get("laterals"):
            return _Has.MADE
        return self._renamed(relation, self._of_unnamed(relation))

    def _of_unnamed(self, relation: exp.Expr) -> _Has:
        if isinstance(relation, (exp.Subquery, exp.Lateral)) and not isinstance(relation.this, exp.Func):
            return self.of(relation.this)
        if not isinstance(relation, exp.Table) or isinstance(relation.this, exp.Func):
            return _Has.NOTHING if _renamed(relation) else _Has.UNKNOWN
        defined = definition(relation)
        if defined is not None:
            return self._renamed(defined, self.of(defined.this))
        return _Has.AS_IS if [part.name.lower() for part in relation.parts] == self._table else _Has.UNKNOWN

    def _renamed(self, relation: exp.Expr, found: _Has) -> _Has:
        """What it has under the names that it gives to its columns, or to the first of them."""
        columns = _renamed(relation)
        if columns and (self._is_in(columns) or found is not _Has.NOTHING):
            return _Has.MADE
        return found

    def _merged(self, select: _Select) -> bool:
        """Whether a join makes one column of two, or a pivot others of all that stands before it."""
        return any(
            join.method == "NATURAL"
            or any(part.args.get("pivots") for part in (join, join.this))
            or self._is_in(join.args.get("using") or [])
            for join in select.joins
        )

    def _is_in(self, names: Sequence[exp.Expr]) -> bool:
        return any(name.name.casefold() == self._column for name in names)


class _Select:
    """Where the columns of a SELECT come from."""

    def __init__(self, select: exp.Expr) -> None:
        self._select = select
        self.joins: list[exp.Join] = select.args.get("joins") or []

    @cached_property
    def relations(self) -> list[exp.Expr]:
        first = self._select.args.get("from_")
        joined = [join for join in self.joins if join.kind not in _NO_COLUMNS]
        return [part.this for part in ([first] if first else []) + joined] + (self._select.args.get("laterals") or [])

    def qualified(self, column: exp.Column) -> list[exp.Expr]:
        """Those that it may be of; none for a field of a struct: in `a.b.c` it is one unless `b` is a table in `a`."""
        wanted = [part.name.casefold() for part in column.parts[:-1]]
        return [relation for relation in self.relations if _qualifier(relation)[-len(wanted) :] == wanted]


def _arms(query: exp.Expr) -> Iterator[exp.Expr]:
    """Those of a chain of set operations, which may be thousands long."""
    pending = [query]
    while pending:
        one = pending.pop()
        inner = one.unnest() if isinstance(one, (exp.Subquery, exp.Paren)) else one
        if isinstance(inner, exp.SetOperation):
            pending += [inner.expression, inner.this]
        else:
            yield one


def _qualifier(relation: exp.Expr) -> list[str]:
    """What may stand before its columns, the last parts of it or all."""
    parts = relation.parts if isinstance(relation, exp.Table) and not relation.alias else []
    return [part.name.casefold() for part in parts] or [relation.alias_or_name.casefold()]


def _left_out(star: exp.Expr) -> list[exp.Expr]:
    return star.args.get("except_") or []


def _renamed(relation: exp.Expr) -> list[exp.Expr]:
    """The names that it gives to its columns, as `t(a, b)` does."""
    alias = relation.args.get("alias")
    return (alias.args.get("columns") or []) if isinstance(alias, exp.TableAlias) else []
