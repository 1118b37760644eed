"""What INSERT, UPDATE, DELETE and MERGE do to the rows of a table, said so that its change rows can be recorded."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from blade_sandbox.warehouse.sql.render import render
from blade_sandbox.warehouse.statements import RowChanges

_KINDS: dict[type[exp.Expr], str] = {
    exp.Insert: "insert",
    exp.Update: "update_postimage",
    exp.Delete: "delete",
    exp.Merge: "",
}
_ACTION = "_merge_action"


def row_changes(tree: exp.Expr) -> RowChanges:
    """How a statement is run where change rows are recorded; the tree is resolved and adapted.

    Raises:
        SqlError: DuckDB has nothing of the same meaning.
    """
    returning = tree.copy()
    every: list[exp.Expr] = [exp.Star()]
    if isinstance(tree, exp.Merge):
        every.insert(0, exp.alias_(exp.column("merge_action"), _ACTION))
    returning.set("returning", exp.Returning(expressions=every))
    before = _BEFORE.get(type(tree))
    return RowChanges(
        step=render(returning),
        kind=_KINDS[type(tree)],
        before="" if before is None else " UNION ALL ".join(before(tree)),
    )


def _before_update(tree: exp.Expr) -> list[str]:
    rows = exp.select("*").from_(tree.this.copy())
    where = tree.args.get("where")
    return [render(rows if where is None else rows.where(where.this.copy()))]


def _before_merge(tree: exp.Expr) -> list[str]:
    """The rows that the MERGE updates: of those that a row of the source matches, and of those that none does."""
    on = tree.args["on"]
    found = []
    whens = tree.args["whens"].expressions
    matched = _updates([when for when in whens if when.args.get("matched")])
    if matched is not None:
        found.append(_joined(tree, "SEMI", exp.and_(on.copy(), matched), None))
    left_over = _updates([when for when in whens if not when.args.get("matched") and when.args.get("source")])
    if left_over is not None:
        found.append(_joined(tree, "ANTI", on.copy(), left_over))
    return found


def _joined(tree: exp.Expr, kind: str, on: exp.Expr, where: exp.Expr | None) -> str:
    rows = exp.select("*").from_(tree.this.copy()).join(tree.args["using"].copy(), on=on, join_type=kind)
    return render(rows if where is None else rows.where(where))


def _updates(whens: list[exp.Expr]) -> exp.Expr | None:
    """Whether the first of the clauses that holds for a row is an update; None if none of them is."""
    if not any(isinstance(when.args["then"], exp.Update) for when in whens):
        return None
    case = exp.Case()
    for when in whens:
        condition = when.args.get("condition")
        holds = exp.true() if condition is None else condition.copy()
        case = case.when(holds, exp.Boolean(this=isinstance(when.args["then"], exp.Update)))
    return exp.func("COALESCE", case, exp.false())


_BEFORE: dict[type[exp.Expr], Callable[[exp.Expr], list[str]]] = {
    exp.Update: _before_update,
    exp.Merge: _before_merge,
}
"""SELECTs of the rows that are about to be updated."""
