"""Names of result columns without an alias: ``count(1)``, ``upper(name)``, ``(a + b)``, as Databricks makes them up."""

from __future__ import annotations

from sqlglot import exp

from blade_sandbox.warehouse.parameters import POSITIONAL

_KEEP = (exp.Alias, exp.Aliases, exp.Column, exp.Star, exp.Posexplode, exp.Inline, exp.Tuple)


def name_columns(tree: exp.Expr) -> None:
    """Give every unnamed column of every SELECT in the tree its Databricks name, in place."""
    for select in list(tree.find_all(exp.Select)):
        for projection in list(select.expressions):
            if not isinstance(projection, _KEEP) and not _has_star(projection):
                projection.replace(exp.alias_(projection.copy(), _name(projection), quoted=True))


def _has_star(projection: exp.Expr) -> bool:
    return isinstance(projection, exp.Columns)


def _name(projection: exp.Expr) -> str:
    if isinstance(projection, exp.Explode):
        return "col"
    if isinstance(projection, exp.Dot):
        return str(projection.expression.name)
    shown = projection.copy()
    for column in shown.find_all(exp.Column):
        for part in ("table", "db", "catalog"):
            column.set(part, None)
    for literal in shown.find_all(exp.Literal):
        literal.set("is_string", False)
    for star in list(shown.find_all(exp.Star)):
        star.replace(exp.Literal.number(1))
    for marker in shown.find_all(exp.Placeholder):
        if marker.name.startswith(POSITIONAL):
            marker.set("this", None)
    text = shown.sql("databricks", normalize_functions="lower", identify=False)
    text = text.replace("`", "")
    return f"({text})" if isinstance(projection, (exp.Binary, exp.Connector)) and not _is_access(projection) else text


def _is_access(projection: exp.Expr) -> bool:
    return isinstance(projection, (exp.JSONExtract, exp.JSONExtractScalar, exp.Bracket))
