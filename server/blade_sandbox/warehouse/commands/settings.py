"""USE, SET and RESET: what a session keeps, its catalog and schema and its settings."""

from __future__ import annotations

import pyarrow as pa

from blade_sandbox.warehouse.answers import answering, doing, settings_table
from blade_sandbox.warehouse.errors import catalog_not_found
from blade_sandbox.warehouse.lake.lakehouse import DEFAULT_SCHEMA, Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Command


def use(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """USE [SCHEMA | DATABASE] [catalog.]schema, USE CATALOG catalog: no rows."""
    if reader.accept("CATALOG"):
        return _use_catalog(reader, session, lakehouse)
    reader.accept_any("SCHEMA", "DATABASE")
    catalog, schema = session.full_schema(reader.name(parts=2))
    reader.end()

    def work() -> None:
        lakehouse.require_schema(catalog, schema)
        session.catalog, session.schema = catalog, schema

    return doing(work)


def _use_catalog(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    (name,) = reader.name(parts=1)
    reader.end()

    def work() -> None:
        if name.lower() not in lakehouse.catalogs():
            raise catalog_not_found(name)
        session.catalog, session.schema = name.lower(), DEFAULT_SCHEMA

    return doing(work)


def set_(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """SET CATALOG, SET TIME ZONE, SET key = value, SET key, SET: the settings set or asked for."""
    if reader.accept("CATALOG"):
        return _use_catalog(reader, session, lakehouse)
    if reader.accept("TIME", "ZONE"):
        return _assign(session, "spark.sql.session.timeZone", reader.rest().strip("'\""))
    key, equals, value = (part.strip() for part in reader.rest().partition("="))
    key, value = key.strip("`"), value.strip("'\"")
    if key.upper() in ("", "-V"):
        return answering(lambda: settings_table(sorted(session.settings.items())))
    if not equals:
        return answering(lambda: settings_table([(key, session.setting(key) or "<undefined>")]))
    return _assign(session, key, value)


def _assign(session: Session, key: str, value: str) -> Command:
    def build() -> pa.Table:
        session.assign(key, value)
        return settings_table([(key, value)])

    return answering(build)


def reset(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """RESET [key]: no rows."""
    key = reader.rest().strip("`").upper()
    return doing(lambda: session.reset(key or None))
