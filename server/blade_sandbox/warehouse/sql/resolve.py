"""Names in a statement -> where DuckDB keeps them.

Every table gets its full name from the session's catalog and schema and is checked to exist, so a missing table is
reported in Databricks' words and by its full name. Column names that spell out catalog and schema follow their table.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
from sqlglot import exp

from blade_sandbox.warehouse.errors import SqlError, table_not_found, unsupported
from blade_sandbox.warehouse.lake import information_schema
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_names import TableName, identifier
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.session.transactions import not_supported
from blade_sandbox.warehouse.sql import table_changes
from blade_sandbox.warehouse.sql.timestamps import timestamp


@dataclass(kw_only=True)
class Resolver:
    """Resolves the names of one statement for one session.

    Attributes:
        relations: tables made for this statement (information_schema), by the name that stands for them.
        pinned: tables to be read as a version that is the current one.
        changes: tables whose change rows are read, with the first and last of their versions.
    """

    session: Session
    lakehouse: Lakehouse
    relations: dict[str, pa.Table] = field(default_factory=dict)
    pinned: dict[TableName, int] = field(default_factory=dict)
    changes: list[tuple[TableName, int, int]] = field(default_factory=list)
    _sources: dict[tuple[str, ...], tuple[str, str]] = field(default_factory=dict)

    def name(self, table: exp.Table) -> TableName:
        """The full name of a table as written."""
        return self.session.full_name(_parts(table))

    def resolve(self, tree: exp.Expr) -> exp.Expr:
        """Rewrite all tables and columns of the tree in place.

        Raises:
            SqlError: a table or version does not exist, or a path like parquet.`/file` is read.
        """
        for table in list(tree.find_all(exp.Table)):
            if table_changes.is_call(table):
                self._read_changes(table)
            elif isinstance(table.this, exp.Func):
                _check_table_function(table)
            elif not _is_cte(table):
                self._resolve_table(table)
        for column in list(tree.find_all(exp.Column)):
            self._resolve_column(column)
        self._session_values(tree)
        return tree

    def place(self, name: TableName) -> str:
        """Where a table to be written to is, in DuckDB's SQL: a copy while a transaction is open."""
        transaction = self.session.transaction
        return name.sql if transaction is None else f"{identifier(transaction.snapshot(name))}.{identifier(name.table)}"

    def require_writable(self, name: TableName) -> None:
        """Raises SqlError unless it is a table: it does not exist, or is a view."""
        if self.lakehouse.require_table(name).kind == "VIEW":
            raise SqlError(
                "EXPECT_TABLE_NOT_VIEW.NO_ALTERNATIVE", "42809", f"`{'`.`'.join(name.parts)}` is a view, not a table."
            )

    def records_changes(self, name: TableName) -> bool:
        """Whether the change data feed of a table to be written to is on.

        Raises:
            SqlError: it is, and a transaction is open.
        """
        cursor = self.lakehouse.cursor()
        try:
            recorded = self.lakehouse.history.metadata.of(cursor, name).records_changes
        finally:
            cursor.close()
        if recorded and self.session.transaction is not None:
            raise not_supported(
                "WRITE_TABLE_WITH_CDF",
                f"Writing to {'.'.join(name.parts)}, a table with change data feed enabled, is not supported in a "
                "transaction.",
            )
        return recorded

    def _resolve_table(self, table: exp.Table) -> None:
        parts = _parts(table)
        if len(parts) == 2 and parts[0].lower() in ("delta", "parquet", "csv", "json", "text", "avro", "orc"):
            raise unsupported(f"reading a path as a table ({parts[0]}.`{parts[1]}`)")
        if len(parts) == 1 and parts[0].lower() in self.session.temp_views:
            if self.session.transaction is not None:
                raise unsupported("a view in a transaction")
            _place(table, self.session.temp_schema, parts[0].lower())
            return
        name = self.session.full_name(parts)
        if name.schema == "information_schema":
            self._information_schema(table, name)
            return
        physical_schema, physical_table = self._rows_of(name, table.args.get("version"))
        table.set("version", None)
        if physical_table != name.table and not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name.table, quoted=True)))
        _place(table, physical_schema, physical_table)
        self._remember(name, physical_schema if physical_table == name.table else "")

    def _rows_of(self, name: TableName, version: exp.Expr | None) -> tuple[str, str]:
        """Schema and name in DuckDB of the rows to read: the table, an old version of it, or a transaction's copy."""
        kind = self.lakehouse.require_table(name).kind
        transaction = self.session.transaction
        if transaction is None:
            copy = None if version is None else self._version(name, kind, version)
            return copy or (name.physical_schema, name.table)
        if version is not None:
            raise not_supported("TIME_TRAVEL_QUERY", "Time travel queries are not supported in a transaction.")
        if kind == "VIEW":
            raise unsupported("a view in a transaction")
        return transaction.snapshot(name), name.table

    def _read_changes(self, table: exp.Table) -> None:
        if self.session.transaction is not None:
            raise not_supported("CDF_READ", "table_changes() is not supported in a transaction.")
        name, first, last = table_changes.rewrite(table, self.session, self.lakehouse)
        self.changes.append((name, first, last))

    def _remember(self, name: TableName, physical_schema: str) -> None:
        self._sources[name.parts] = (physical_schema, name.table)
        if name.catalog == self.session.catalog:
            self._sources[name.parts[1:]] = (physical_schema, name.table)

    def _version(self, name: TableName, kind: str, version: exp.Expr) -> tuple[str, str] | None:
        if kind == "VIEW":
            raise unsupported(f"time travel on the view {name.table}")
        cursor = self.lakehouse.cursor()
        try:
            wanted = version.expression
            if str(version.this).upper() == "TIMESTAMP":
                text = wanted.this.name if isinstance(wanted, exp.Cast) else wanted.name
                at = timestamp(text, self.session.zone, "TIMESTAMP AS OF")
                number = self.lakehouse.history.version_at(cursor, name, at)
            elif isinstance(wanted, exp.Literal) and wanted.name.isdigit():
                number = int(wanted.name)
            else:
                raise unsupported("VERSION AS OF anything but a number")
            copy = self.lakehouse.history.relation(cursor, name, number)
            if copy is None:
                self.pinned[name] = number
            return copy
        finally:
            cursor.close()

    def _information_schema(self, table: exp.Table, name: TableName) -> None:
        if self.session.transaction is not None:
            raise not_supported(
                "INFORMATION_SCHEMA_TABLE",
                f"Accessing tables from INFORMATION_SCHEMA ({name.table}) is not supported in a transaction.",
            )
        relation = f"__{name.catalog}_information_schema_{name.table}"
        found = information_schema.relation(self.lakehouse, name.catalog, name.table)
        if found is None:
            raise table_not_found(*name.parts)
        self.relations[relation] = found
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name.table, quoted=True)))
        table.set("this", exp.to_identifier(relation, quoted=True))
        table.set("db", None)
        table.set("catalog", None)
        self._remember(name, "")

    def _resolve_column(self, column: exp.Column) -> None:
        qualifier = tuple(part.name.lower() for part in column.parts[:-1])
        if len(qualifier) < 2 or qualifier not in self._sources:
            return
        physical_schema, table = self._sources[qualifier]
        if isinstance(column.this, exp.Star):
            physical_schema = ""
        column.set("catalog", None)
        column.set("db", exp.to_identifier(physical_schema, quoted=True) if physical_schema else None)
        column.set("table", exp.to_identifier(table, quoted=True))

    def _session_values(self, tree: exp.Expr) -> None:
        values = {
            exp.CurrentCatalog: self.session.catalog,
            exp.CurrentSchema: self.session.schema,
            exp.CurrentDatabase: self.session.schema,
            exp.CurrentUser: "sandbox",
            exp.SessionUser: "sandbox",
            exp.CurrentTimezone: self.session.zone,
        }
        for node in list(tree.find_all(*values)):
            node.replace(exp.Literal.string(values[type(node)]))


def _parts(table: exp.Table) -> tuple[str, ...]:
    return tuple(part.name for part in table.parts)


def _place(table: exp.Table, physical_schema: str, physical_table: str) -> None:
    table.set("catalog", None)
    table.set("db", exp.to_identifier(physical_schema, quoted=True))
    table.set("this", exp.to_identifier(physical_table, quoted=True))


def _check_table_function(table: exp.Table) -> None:
    """Let through what reads no files; the column of ``range`` is named ``id``."""
    function = table.this
    name = (function.name if isinstance(function, exp.Anonymous) else function.sql_name()).lower()
    if name == "range":
        for argument in list(function.iter_expressions()):
            # RANGE(1e6) is taken; DuckDB wants an integer.
            argument.replace(exp.cast(argument.copy(), "BIGINT"))
    if name != "range":
        if not isinstance(function, (exp.Explode, exp.Posexplode, exp.Unnest)):
            raise unsupported(f"the table function {name}()")
    elif not table.alias_column_names:
        alias = exp.to_identifier(table.alias or "range", quoted=True)
        table.set("alias", exp.TableAlias(this=alias, columns=[exp.to_identifier("id", quoted=True)]))


def _is_cte(table: exp.Table) -> bool:
    """A CTE of this name is in sight."""
    if table.args.get("db"):
        return False
    node = table.parent
    while node is not None:
        clause = node.args.get("with_")
        if clause is not None and any(cte.alias.lower() == table.name.lower() for cte in clause.expressions):
            return True
        node = node.parent
    return False
