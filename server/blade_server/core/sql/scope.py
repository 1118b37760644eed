"""Which WITH clause a name in a query means."""

from __future__ import annotations

from sqlglot import exp


def definition(table: exp.Table) -> exp.CTE | None:
    """The part of a WITH clause in whose reach the name stands; None: it is no such name."""
    if table.db:
        return None
    node: exp.Expr = table
    while node.parent is not None:
        inside, node = node, node.parent
        if isinstance(node, exp.With):
            visible = _before(node, inside)
            outer = node.parent
            if outer is None:
                break
            inside, node = node, outer
        else:
            clause = node.args.get("with_")
            visible = list(clause.expressions) if isinstance(clause, exp.With) and inside is not clause else []
        found = next((cte for cte in visible if cte.alias.lower() == table.name.lower()), None)
        if found is not None:
            return found
    return None


def _before(clause: exp.With, cte: exp.Expr) -> list[exp.CTE]:
    """What one part of a WITH clause can see of it: the parts before it, and itself if it is recursive."""
    index = next(at for at, other in enumerate(clause.expressions) if other is cte)
    return list(clause.expressions[: index + 1 if clause.recursive else index])
