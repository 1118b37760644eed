"""What a table has besides columns and rows: the id that tells it from others of its name, and its properties."""

# ruff: noqa: S608 - names are quoted identifiers, values are bound
from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from blade_sandbox.warehouse.lake.table_names import TableName, identifier

CHANGE_FEED = "delta.enableChangeDataFeed"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Of one table; ``id`` is a UUID."""

    id: str
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def records_changes(self) -> bool:
        """Its change data feed is on."""
        return self.properties.get(CHANGE_FEED, "").lower() == "true"


class TableMetadata:
    """The metadata of all tables, stored beside their versions."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, schema: str) -> None:
        self._place = f"{identifier(schema)}.metadata"
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {self._place}"
            " (catalog VARCHAR, schema VARCHAR, name VARCHAR, id VARCHAR, properties VARCHAR)"
        )

    def of(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> Metadata:
        """The metadata of a table; of one that was made before there was any, an id that follows from its name."""
        found = cursor.execute(
            f"SELECT id, properties FROM {self._place} WHERE catalog = ? AND schema = ? AND name = ?", [*name.parts]
        ).fetchall()
        if not found:
            return Metadata(id=str(uuid.uuid5(uuid.NAMESPACE_OID, ".".join(name.parts))))
        return Metadata(id=found[0][0], properties=json.loads(found[0][1]))

    def created(self, cursor: duckdb.DuckDBPyConnection, name: TableName, properties: Mapping[str, str]) -> None:
        """Another table has the name from now on."""
        self._put(cursor, name, Metadata(id=str(uuid.uuid4()), properties=properties))

    def changed(self, cursor: duckdb.DuckDBPyConnection, name: TableName, properties: Mapping[str, str | None]) -> None:
        """Set properties; None: unset. Those not named stay."""
        before = self.of(cursor, name)
        after = {key: value for key, value in {**before.properties, **properties}.items() if value is not None}
        self._put(cursor, name, Metadata(id=before.id, properties=after))

    def dropped(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> None:
        """Forget it."""
        cursor.execute(f"DELETE FROM {self._place} WHERE catalog = ? AND schema = ? AND name = ?", [*name.parts])

    def renamed(self, cursor: duckdb.DuckDBPyConnection, name: TableName, new: TableName) -> None:
        """The same table has another name."""
        metadata = self.of(cursor, name)
        self.dropped(cursor, name)
        self._put(cursor, new, metadata)

    def _put(self, cursor: duckdb.DuckDBPyConnection, name: TableName, metadata: Metadata) -> None:
        self.dropped(cursor, name)
        cursor.execute(
            f"INSERT INTO {self._place} VALUES (?, ?, ?, ?, ?)",
            [*name.parts, metadata.id, json.dumps(dict(metadata.properties))],
        )


def property_name(written: str) -> str:
    """The name of a property as it is kept: that of the change data feed may be written in any case."""
    return CHANGE_FEED if written.lower() == CHANGE_FEED.lower() else written
