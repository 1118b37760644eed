"""Names of result columns without an alias: ``count(1)``, ``upper(name)``, ``(a + b)``, as Databricks makes them up."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

_KEEP = (exp.Alias, exp.Aliases, exp.Column, exp.Star, exp.Posexplode, exp.Inline, exp.Tuple)


def name_columns(tree: exp.Expr, value: Callable[[str], str | None]) -> None:
    """Give every unnamed column of every SELECT in the tree its Databricks name, in place.

    Args:
        tree: the statement, its parameters not yet bound.
        value: the text of a parameter's value by its name; None: NULL.
    """
    for select in list(tree.find_all(exp.Select)):
        for projection in list(select.expressions):
            if not isinstance(projection, _KEEP) and not _has_star(projection):
                projection.replace(exp.alias_(projection.copy(), _name(projection, value), quoted=True))


def _has_star(projection: exp.Expr) -> bool:
    return isinstance(projection, exp.Columns)


def _name(projection: exp.Expr, value: Callable[[str], str | None]) -> str:
    if isinstance(projection, exp.Explode):
        return "col"
    if isinstance(projection, exp.Dot):
        return str(projection.expression.name)
    shown = exp.Paren(this=projection.copy())
    for column in shown.find_all(exp.Column):
        for part in ("table", "db", "catalog"):
            column.set(part, None)
    for literal in shown.find_all(exp.Literal):
        literal.set("is_string", False)
    for star in list(shown.find_all(exp.Star)):
        star.replace(exp.Literal.number(1))
    for marker in list(shown.find_all(exp.Placeholder)):
        text = value(marker.name)
        marker.replace(exp.Literal.number("NULL" if text is None else text))
    text = shown.this.sql("databricks", normalize_functions="lower", identify=False)
    text = text.replace("`", "")
    return f"({text})" if isinstance(projection, (exp.Binary, exp.Connector)) and not _is_access(projection) else text


def _is_access(projection: exp.Expr) -> bool:
    return isinstance(projection, (exp.JSONExtract, exp.JSONExtractScalar, exp.Bracket))
