"""The small moves by which a syntax tree is changed in place."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

Rewrite = Callable[[exp.Expr], None]
"""Changes one node where it stands."""


def wrap(node: exp.Expr, build: Callable[[exp.Expr], exp.Expr]) -> None:
    """Put something around a node, where it stands."""
    inner = node.copy()
    node.replace(build(inner))


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """A function DuckDB knows and sqlglot need not."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def as_type(kind: str) -> Rewrite:
    """The result has this type in Databricks and another in DuckDB."""
    return lambda node: wrap(node, lambda inner: exp.Cast(this=inner, to=exp.DataType.build(kind, dialect="duckdb")))
