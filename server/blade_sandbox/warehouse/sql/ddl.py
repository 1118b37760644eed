"""CREATE, DROP, ALTER, COMMENT: statements that change what tables, views and schemas there are."""

from __future__ import annotations

import secrets

import pyarrow as pa
from sqlglot import exp

from blade_sandbox.warehouse.answers import NO_ROWS, doing, nothing
from blade_sandbox.warehouse.errors import SqlError, schema_not_found, table_exists, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Cursor
from blade_sandbox.warehouse.lake.table_metadata import property_name
from blade_sandbox.warehouse.lake.table_names import TableName, identifier
from blade_sandbox.warehouse.sql.dml import ALWAYS, INSERTED
from blade_sandbox.warehouse.sql.functions import adapt
from blade_sandbox.warehouse.sql.parameters import Bindings
from blade_sandbox.warehouse.sql.render import render
from blade_sandbox.warehouse.sql.resolve import Resolver
from blade_sandbox.warehouse.sql.table_copy import copy_table
from blade_sandbox.warehouse.statements import Command, Statement, Write


def plan(tree: exp.Expr, resolver: Resolver, bindings: Bindings) -> Statement:
    """The change this statement asks for.

    Raises:
        SqlError: an unknown or already existing name, or a form the sandbox lacks.
    """
    kind = str(tree.args.get("kind") or "").upper()
    if isinstance(tree, exp.Create) and kind in ("TABLE", "VIEW"):
        return _create(tree, kind, resolver, bindings)
    if isinstance(tree, (exp.Create, exp.Drop)) and kind in ("SCHEMA", "DATABASE"):
        return _schema(tree, resolver)
    if isinstance(tree, exp.Drop) and kind in ("TABLE", "VIEW"):
        return _drop(tree, kind, resolver)
    if isinstance(tree, exp.Alter) and kind == "TABLE":
        return _alter(tree, resolver)
    if isinstance(tree, exp.Comment) and kind in ("TABLE", "COLUMN", "VIEW"):
        return _comment(tree, kind, resolver)
    raise unsupported(f"the statement {type(tree).__name__.upper()} {kind}".rstrip())


def _create(tree: exp.Create, kind: str, resolver: Resolver, bindings: Bindings) -> Statement:
    schema = tree.this if isinstance(tree.this, exp.Schema) else None
    target: exp.Table = schema.this if schema else tree.this
    if not isinstance(target, exp.Table) or tree.args.get("clone"):
        raise unsupported("CREATE TABLE ... CLONE")
    properties = tree.args.get("properties")
    comment = properties.find(exp.SchemaCommentProperty) if properties else None
    temporary = bool(properties and properties.find(exp.TemporaryProperty))
    like = properties.find(exp.LikeProperty) if properties else None
    if like is not None:
        source, target_name = resolver.name(like.this), resolver.name(target)
        return copy_table(resolver.lakehouse, source, target_name, quiet=bool(tree.args.get("exists")))
    tree.set("properties", None)
    query = tree.args.get("expression")
    if query is not None:
        resolver.resolve(query)
    if resolver.changes and kind == "VIEW":
        raise unsupported("a view over table_changes()")
    if temporary:
        return _temporary_view(target, query, resolver, bindings)
    name = resolver.name(target)
    resolver.lakehouse.require_schema(name.catalog, name.schema)
    exists = bool(resolver.lakehouse.tables(name))
    if exists and tree.args.get("exists"):
        return nothing()
    if exists and not tree.args.get("replace"):
        raise table_exists(*name.parts)
    sequences = _identities(name, schema)
    comments = _comments(name, schema, comment)
    target.replace(exp.table_(_quoted(name.table), db=_quoted(name.physical_schema)))
    operation = ("CREATE OR REPLACE " if tree.args.get("replace") else "CREATE ") + kind
    return Write(
        table=name,
        operation=operation + (" AS SELECT" if kind == "TABLE" and query is not None else ""),
        steps=(*sequences, render(adapt(tree, ansi=resolver.session.ansi)), *comments),
        values=bindings.values,
        relations=resolver.relations,
        counts=INSERTED if kind == "TABLE" and query is not None else (),
        empty=True,
        whole=kind == "TABLE",
        creates=_properties(properties) if kind == "TABLE" else None,
    )


def _properties(properties: exp.Properties | None) -> dict[str, str]:
    """TBLPROPERTIES (name = value, ...), the names in quotes or without."""
    found = {}
    for prop in properties.expressions if properties else ():
        if type(prop) is exp.Property:
            name = prop.this.sql("databricks") if isinstance(prop.this, exp.Dot) else prop.this.name
            value = prop.args["value"]
            written = value.sql("databricks").lower() if isinstance(value, exp.Boolean) else value.name
            found[property_name(name.replace("`", ""))] = written
    return found


def _quoted(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)


def _comments(name: TableName, schema: exp.Schema | None, comment: exp.Expr | None) -> list[str]:
    """COMMENT ON statements for what the column list says; constraints DuckDB would enforce but Databricks not go."""
    found = []
    if comment is not None:
        found.append(f"COMMENT ON TABLE {name.sql} IS {comment.this.sql('duckdb')}")
    for column in schema.expressions if schema else ():
        if not isinstance(column, exp.ColumnDef):
            if isinstance(column, (exp.PrimaryKey, exp.ForeignKey, exp.Constraint)):
                column.pop()
            continue
        for constraint in list(column.args.get("constraints") or ()):
            what = constraint.kind
            if isinstance(what, exp.CommentColumnConstraint):
                text = what.this.sql("duckdb")
                found.append(f"COMMENT ON COLUMN {name.sql}.{identifier(column.name)} IS {text}")
                constraint.pop()
            elif isinstance(what, exp.ComputedColumnConstraint):
                raise unsupported("GENERATED ALWAYS AS (expression) columns")
            elif isinstance(what, (exp.PrimaryKeyColumnConstraint, exp.Reference)):
                constraint.pop()
    return found


def _identities(name: TableName, schema: exp.Schema | None) -> list[str]:
    """CREATE SEQUENCE statements for the identity columns, which become columns with a default, in place.

    The sequence's name tells ``dml`` whether a value may be given; its end keeps it apart from those of a table of
    this name before.
    """
    found = []
    for column in schema.expressions if schema else ():
        for constraint in list(column.args.get("constraints") or ()) if isinstance(column, exp.ColumnDef) else ():
            what = constraint.kind
            if not isinstance(what, exp.GeneratedAsIdentityColumnConstraint):
                continue
            if what.args.get("expression") is not None or column.args["kind"].this != exp.DType.BIGINT:
                raise unsupported("GENERATED columns but BIGINT ... AS IDENTITY")
            kind = ALWAYS if what.this else "default"
            sequence = identifier(f"{name.table}.{column.name}.{kind}.{secrets.token_hex(4)}")
            place = f"{identifier(name.physical_schema)}.{sequence}"
            start, step = what.args.get("start") or "1", what.args.get("increment") or "1"
            found.append(f"CREATE SEQUENCE {place} START WITH {start} INCREMENT BY {step} MINVALUE {-(1 << 63)}")
            default = exp.DefaultColumnConstraint(this=exp.func("nextval", exp.Literal.string(place)))
            constraint.set("kind", default)
    return found


def _temporary_view(target: exp.Table, query: exp.Expr | None, resolver: Resolver, bindings: Bindings) -> Statement:
    if query is None or bindings.values or resolver.relations:
        raise unsupported("a temporary view over parameters or information_schema")
    session = resolver.session
    sql = render(adapt(query, ansi=session.ansi))
    place = f"{identifier(session.temp_schema)}.{identifier(target.name.lower())}"

    def run(cursor: Cursor) -> pa.Table:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(session.temp_schema)}")
        cursor.execute(f"CREATE OR REPLACE VIEW {place} AS {sql}")
        session.temp_views.add(target.name.lower())
        return NO_ROWS

    return Command(run=run)


def _schema(tree: exp.Create | exp.Drop, resolver: Resolver) -> Statement:
    target = tree.this if isinstance(tree, exp.Create) else tree.args["tables"][0]
    catalog, schema = resolver.session.full_schema(tuple(part.name for part in target.parts if part))
    lakehouse = resolver.lakehouse
    known = schema in lakehouse.schemas(catalog)
    if isinstance(tree, exp.Create):
        if known and not tree.args.get("exists"):
            raise SqlError(
                "SCHEMA_ALREADY_EXISTS",
                "42P06",
                f"Cannot create schema `{catalog}`.`{schema}` because it already exists. Choose a different name, drop "
                "the existing schema, or add the IF NOT EXISTS clause to tolerate pre-existing schema.",
            )
        return doing(lambda: lakehouse.create_schema(catalog, schema))
    if not known:
        if tree.args.get("exists"):
            return nothing()
        raise schema_not_found(catalog, schema)
    cascade = bool(tree.args.get("cascade"))
    return doing(lambda: lakehouse.drop_schema(catalog, schema, cascade))


def _drop(tree: exp.Drop, kind: str, resolver: Resolver) -> Statement:
    target = tree.args["tables"][0]
    if len(target.parts) == 1 and target.name.lower() in resolver.session.temp_views and kind == "VIEW":
        place = f"{identifier(resolver.session.temp_schema)}.{identifier(target.name.lower())}"
        resolver.session.temp_views.discard(target.name.lower())
        return Command(run=lambda cursor: (cursor.execute(f"DROP VIEW {place}"), NO_ROWS)[1])
    name = resolver.name(target)
    if tree.args.get("exists") and not resolver.lakehouse.tables(name):
        return nothing()
    actual = "VIEW" if resolver.lakehouse.require_table(name).kind == "VIEW" else "TABLE"
    if actual != kind:
        raise SqlError(
            f"EXPECT_{kind}_NOT_{actual}.NO_ALTERNATIVE",
            "42809",
            f"`{name.table}` is a {actual.lower()}, not a {kind.lower()}.",
        )
    return Write(table=name, operation=f"DROP {kind}", steps=(f"DROP {kind} {name.sql}",), drops=True)


def _alter(tree: exp.Alter, resolver: Resolver) -> Statement:
    name = resolver.name(tree.this)
    resolver.require_writable(name)
    steps: list[str] = []
    operation = "CHANGE COLUMN"
    for action in tree.args.get("actions") or ():
        if isinstance(action, exp.AlterRename):
            new = TableName.of(name.catalog, name.schema, action.this.name)
            return Write(
                table=name,
                operation="RENAME",
                steps=(f"ALTER TABLE {name.sql} RENAME TO {identifier(new.table)}",),
                renamed=new,
            )
        if isinstance(action, (exp.Schema, exp.ColumnDef)):
            operation = "ADD COLUMNS"
            columns = action.expressions if isinstance(action, exp.Schema) else [action]
            for column in columns:
                holder = exp.Schema(this=exp.to_table("x"), expressions=[column.copy()])
                notes = _comments(name, holder, None)
                steps += [f"ALTER TABLE {name.sql} ADD COLUMN {render(holder.expressions[0])}", *notes]
        elif isinstance(action, exp.AlterSet):
            return nothing()
        elif isinstance(action, (exp.Drop, exp.RenameColumn, exp.AlterColumn)):
            operation = "DROP COLUMNS" if isinstance(action, exp.Drop) else "CHANGE COLUMN"
            steps.append(f"ALTER TABLE {name.sql} {render(action)}")
        else:
            raise unsupported(f"ALTER TABLE ... {action.sql('databricks')}")
    if not steps:
        raise unsupported(f"the statement {tree.sql('databricks')}")
    return Write(table=name, operation=operation, steps=tuple(steps))


def _comment(tree: exp.Comment, kind: str, resolver: Resolver) -> Statement:
    text = tree.expression.sql("duckdb")
    if kind == "COLUMN":
        *table, column = [part.name for part in tree.this.parts]
        name = resolver.session.full_name(tuple(table))
        step = f"COMMENT ON COLUMN {name.sql}.{identifier(column)} IS {text}"
    else:
        name = resolver.name(tree.this)
        step = f"COMMENT ON {kind} {name.sql} IS {text}"
    resolver.lakehouse.require_table(name)
    return Write(table=name, operation="SET TBLPROPERTIES", steps=(step,))
