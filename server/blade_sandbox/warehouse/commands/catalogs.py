"""CREATE CATALOG and DROP CATALOG."""

from __future__ import annotations

from blade_sandbox.warehouse.answers import doing
from blade_sandbox.warehouse.errors import SqlError, catalog_not_found
from blade_sandbox.warehouse.lake.lakehouse import DEFAULT_SCHEMA, Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Command


def create(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command | None:
    """CREATE CATALOG [IF NOT EXISTS] catalog: no rows. None if something else is created."""
    if not reader.accept("CATALOG"):
        return None
    quiet = reader.accept("IF", "NOT", "EXISTS")
    (name,) = reader.name(parts=1)

    def work() -> None:
        if name.lower() in lakehouse.catalogs() and not quiet:
            raise SqlError("CATALOG_ALREADY_EXISTS", "42P06", f"Catalog `{name}` already exists.")
        lakehouse.create_schema(name, DEFAULT_SCHEMA)

    return doing(work)


def drop(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command | None:
    """DROP CATALOG [IF EXISTS] catalog [CASCADE]: no rows. None if something else is dropped."""
    if not reader.accept("CATALOG"):
        return None
    quiet = reader.accept("IF", "EXISTS")
    (name,) = reader.name(parts=1)
    cascade = reader.accept("CASCADE")

    def work() -> None:
        schemas = lakehouse.schemas(name)
        if not schemas and not quiet:
            raise catalog_not_found(name)
        if not cascade and (schemas not in ([], [DEFAULT_SCHEMA]) or lakehouse.has_tables(name, DEFAULT_SCHEMA)):
            raise SqlError("CATALOG_NOT_EMPTY", "2BP01", f"Cannot drop catalog `{name}`: it is not empty. Use CASCADE.")
        for schema in schemas:
            lakehouse.drop_schema(name, schema, cascade)

    return doing(work)
