"""information_schema: the catalog's own tables, per catalog and for all of them in ``system.information_schema``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from blade_sandbox.warehouse.lake.lakehouse import Lakehouse

_OWNER = "sandbox"


def relation(lakehouse: Lakehouse, catalog: str, table: str) -> pa.Table | None:
    """The content of ``catalog.information_schema.table``; None if there is no such table."""
    build = _TABLES.get(table.lower())
    if build is None or (catalog != "system" and catalog not in lakehouse.catalogs()):
        return None
    names, rows = build(lakehouse)
    if catalog != "system":
        rows = [row for row in rows if row[0] == catalog]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table(
        [
            pa.array(column, pa.int32() if name in _INTEGERS else pa.string())
            for name, column in zip(names, columns, strict=True)
        ],
        names=names,
    )


_INTEGERS = {
    "ordinal_position",
    "numeric_precision",
    "numeric_scale",
    "datetime_precision",
    "character_maximum_length",
}
_Rows = tuple[list[str], list[tuple[Any, ...]]]


def _catalogs(lakehouse: Lakehouse) -> _Rows:
    return (
        ["catalog_name", "catalog_owner", "comment"],
        [(catalog, _OWNER, None) for catalog in lakehouse.catalogs()],
    )


def _schemata(lakehouse: Lakehouse) -> _Rows:
    rows = [
        (catalog, schema, _OWNER, None)
        for catalog in lakehouse.catalogs()
        for schema in [*lakehouse.schemas(catalog), "information_schema"]
    ]
    return ["catalog_name", "schema_name", "schema_owner", "comment"], rows


def _tables(lakehouse: Lakehouse) -> _Rows:
    rows = [
        (*table.name.parts, table.kind, "YES", "NO", _OWNER, table.comment or None, "DELTA")
        for table in lakehouse.tables()
    ]
    names = ["table_catalog", "table_schema", "table_name", "table_type", "is_insertable_into", "commit_action"]
    return [*names, "table_owner", "comment", "data_source_format"], rows


def _views(lakehouse: Lakehouse) -> _Rows:
    rows = [(*table.name.parts, None, "NONE", "NO") for table in lakehouse.tables() if table.kind == "VIEW"]
    names = ["table_catalog", "table_schema", "table_name", "view_definition", "check_option", "is_updatable"]
    return names, rows


def _columns(lakehouse: Lakehouse) -> _Rows:
    rows = []
    for column in lakehouse.columns():
        arrow = column.type.arrow
        rows.append(
            (
                *column.table.parts,
                column.name,
                column.position - 1,
                column.default,
                "YES" if column.nullable else "NO",
                column.type.name,
                column.type.base.upper(),
                arrow.precision if pa.types.is_decimal(arrow) else None,
                arrow.scale if pa.types.is_decimal(arrow) else None,
                column.comment or None,
            )
        )
    names = ["table_catalog", "table_schema", "table_name", "column_name", "ordinal_position", "column_default"]
    names += ["is_nullable", "full_data_type", "data_type", "numeric_precision", "numeric_scale", "comment"]
    return names, rows


_TABLES: dict[str, Callable[[Lakehouse], _Rows]] = {
    "catalogs": _catalogs,
    "schemata": _schemata,
    "tables": _tables,
    "views": _views,
    "columns": _columns,
}
