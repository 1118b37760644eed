"""Names of tables: three parts as Unity Catalog knows them, two as DuckDB stores them."""

from __future__ import annotations

from dataclasses import dataclass


def identifier(name: str) -> str:
    """A name as a quoted DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, kw_only=True)
class TableName:
    """A full three-part name, lower case as Unity Catalog stores it."""

    catalog: str
    schema: str
    table: str

    @classmethod
    def parse(cls, name: str) -> TableName:
        """Read ``catalog.schema.table``.

        Raises:
            ValueError: the name has not three parts.
        """
        parts = [part.strip("`") for part in name.split(".")]
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"table name {name!r} has not the form catalog.schema.table, as in main.blade.sortie")
        return cls.of(*parts)

    @classmethod
    def of(cls, catalog: str, schema: str, table: str) -> TableName:
        """The name of these parts, in any case."""
        return cls(catalog=catalog.lower(), schema=schema.lower(), table=table.lower())

    @property
    def physical_schema(self) -> str:
        """The DuckDB schema that holds the table."""
        return f"{self.catalog}.{self.schema}"

    @classmethod
    def stored(cls, physical_schema: str, table: str) -> TableName:
        """The name of a table as DuckDB lists it."""
        catalog, _, schema = physical_schema.partition(".")
        return cls.of(catalog, schema, table)

    @property
    def sql(self) -> str:
        """The table in DuckDB's SQL."""
        return f"{identifier(self.physical_schema)}.{identifier(self.table)}"

    @property
    def parts(self) -> tuple[str, str, str]:
        """Catalog, schema and table."""
        return (self.catalog, self.schema, self.table)
