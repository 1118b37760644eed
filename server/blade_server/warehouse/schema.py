"""The Arrow types that leave the warehouse layer, the same whatever the warehouse's settings are."""

from __future__ import annotations

import pyarrow as pa


def clean(schema: pa.Schema) -> pa.Schema:
    """The schema without metadata and dictionaries, all fields nullable, times with a zone in UTC."""
    return pa.schema([_field(field) for field in schema])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly these fields; a no-op on the data unless a type differs in more than its zone."""
    if table.schema.equals(schema, check_metadata=True):
        return table
    columns = [
        column if column.type.equals(field.type) else column.cast(field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _field(field: pa.Field[pa.DataType]) -> pa.Field[pa.DataType]:
    return pa.field(field.name, _type(field.type))


def _type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pa.timestamp(kind.unit, "UTC")
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type)
    if pa.types.is_list(kind):
        return pa.list_(_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_field(kind.field(index)) for index in range(kind.num_fields)])
    return kind
