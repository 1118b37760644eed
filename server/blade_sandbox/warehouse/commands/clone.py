"""CREATE TABLE ... CLONE. sqlglot knows neither SHALLOW nor DEEP; they are the same here: a copy."""

from __future__ import annotations

from dataclasses import replace as replace_fields

from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.table_copy import copy_table
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Statement, Write

_CLONED = (
    "source_table_size", "source_num_of_files", "num_removed_files", "num_copied_files", "removed_files_size",
    "copied_files_size",
)  # fmt: skip


def create_table(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Statement | None:
    """CREATE [OR REPLACE] TABLE [IF NOT EXISTS] table [SHALLOW | DEEP] CLONE source [VERSION AS OF n]; else None."""
    replace = reader.accept("OR", "REPLACE")
    if not reader.accept("TABLE"):
        return None
    quiet = reader.accept("IF", "NOT", "EXISTS")
    name = reader.try_name()
    if name is None:
        return None
    reader.accept_any("SHALLOW", "DEEP")
    if not reader.accept("CLONE"):
        return None
    source = session.full_name(reader.name())
    version = reader.number() if reader.accept("VERSION", "AS", "OF") else None
    reader.end()
    target = session.full_name(name)
    found = copy_table(lakehouse, source, target, quiet=quiet, replace=replace, rows=True, version=version)
    if isinstance(found, Write):
        return replace_fields(found, operation="CLONE", zeros=_CLONED)
    return found
