"""INSERT, UPDATE, DELETE, MERGE, TRUNCATE: statements that change the rows of one table."""

# ruff: noqa: S608 - names are quoted identifiers, values are bound
from __future__ import annotations

from sqlglot import exp

from blade_sandbox.warehouse.errors import SqlError, unsupported
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.sql.functions import adapt
from blade_sandbox.warehouse.sql.parameters import Bindings
from blade_sandbox.warehouse.sql.render import render
from blade_sandbox.warehouse.sql.resolve import Resolver
from blade_sandbox.warehouse.sql.row_changes import row_changes
from blade_sandbox.warehouse.statements import Statement, Write

ALWAYS = "always"
"""In the name of an identity column's sequence: no value may be given."""

AFFECTED = ("num_affected_rows",)
INSERTED = ("num_affected_rows", "num_inserted_rows")
MERGED = ("num_affected_rows", "num_updated_rows", "num_deleted_rows", "num_inserted_rows")
_COUNTS: dict[type[exp.Expr], tuple[str, ...]] = {
    exp.Insert: INSERTED,
    exp.Update: AFFECTED,
    exp.Delete: AFFECTED,
    exp.Merge: MERGED,
}


def plan(tree: exp.Expr, resolver: Resolver, bindings: Bindings) -> Statement:
    """The write this statement asks for.

    Raises:
        SqlError: an unknown table, or a form the sandbox lacks.
    """
    if isinstance(tree, exp.TruncateTable):
        name = resolver.name(tree.expressions[0])
        resolver.require_writable(name)
        return Write(table=name, operation="TRUNCATE", steps=(f"DELETE FROM {name.sql}",), whole=True)
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(target, exp.Table):
        raise unsupported(f"writing to {tree.this.sql('databricks')}")
    name = resolver.name(target)
    steps: tuple[str, ...] = ()
    whole = isinstance(tree, exp.Delete) and tree.args.get("where") is None
    if isinstance(tree, exp.Insert):
        if tree.args.get("where") or tree.args.get("partition"):
            raise unsupported("INSERT with REPLACE WHERE or PARTITION")
        if tree.args.get("overwrite"):
            tree.set("overwrite", False)
            steps = (f"DELETE FROM {resolver.place(name)}",)
            whole = True
    _unqualify(tree, {name.table, (target.alias or name.table).lower()})
    if isinstance(tree, exp.Merge):
        tree.set("returning", exp.Returning(expressions=[exp.column("merge_action")]))
    resolver.require_writable(name)
    recorded = resolver.records_changes(name)
    if isinstance(tree, exp.Insert):
        _check_identities(tree, name, resolver)
    resolver.resolve(tree)
    adapted = adapt(tree, ansi=resolver.session.ansi)
    return Write(
        table=name,
        operation="WRITE" if isinstance(tree, exp.Insert) else type(tree).__name__.upper(),
        steps=(*steps, render(adapted)),
        values=bindings.values,
        relations=resolver.relations,
        counts=_COUNTS[type(tree)],
        changes=row_changes(adapted) if recorded and not whole else None,
        whole=whole,
    )


def _check_identities(tree: exp.Insert, name: TableName, resolver: Resolver) -> None:
    """Raises SqlError if the rows bring values for a column that is GENERATED ALWAYS AS IDENTITY."""
    given = {column.name.lower() for column in tree.this.expressions} if isinstance(tree.this, exp.Schema) else None
    for column in resolver.lakehouse.columns(name):
        default = column.default or ""
        generated = "nextval(" in default and f".{column.name}.{ALWAYS}." in default
        if generated and (given is None or column.name.lower() in given):
            raise SqlError(
                "DELTA_IDENTITY_COLUMNS_EXPLICIT_INSERT_NOT_SUPPORTED",
                "42808",
                f"Providing values for GENERATED ALWAYS AS IDENTITY column {column.name} is not supported.",
            )


def _unqualify(tree: exp.Expr, own: set[str]) -> None:
    """Write ``SET t.name = ...`` as ``SET name = ...``, all that DuckDB takes."""
    for update in tree.find_all(exp.Update):
        for assignment in update.expressions:
            column = assignment.this if isinstance(assignment, exp.EQ) else None
            if isinstance(column, exp.Column) and column.table.lower() in own:
                column.replace(exp.column(column.this.copy()))
