"""CREATE and DROP VOLUME, and the files in volumes: PUT, GET, REMOVE and LIST.

As with Databricks the warehouse moves no bytes in SQL: PUT, GET and REMOVE answer one row with a link, and the driver
then sends the file to the link, fetches it or deletes it. The older ``stage://tmp/USER/`` is there too.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import pyarrow as pa

from blade_sandbox.warehouse.answers import answering, doing
from blade_sandbox.warehouse.errors import SqlError, quote, syntax_error, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.links import BASE_URL, LINK_LIFETIME_S
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Command

USER = "sandbox"
_METHODS = {"PUT": "PUT", "GET": "GET", "REMOVE": "DELETE"}


def create(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command | None:
    """CREATE [EXTERNAL] VOLUME [IF NOT EXISTS] volume ...: no rows. None if something else is created."""
    reader.accept("EXTERNAL")
    if not reader.accept("VOLUME"):
        return None
    quiet = reader.accept("IF", "NOT", "EXISTS")
    name = session.full_name(reader.name())

    def work() -> None:
        lakehouse.require_schema(name.catalog, name.schema)
        lakehouse.volumes.create(name.parts, quiet=quiet)

    return doing(work)


def drop(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command | None:
    """DROP VOLUME [IF EXISTS] volume: no rows. None if something else is dropped."""
    if not reader.accept("VOLUME"):
        return None
    quiet = reader.accept("IF", "EXISTS")
    name = session.full_name(reader.name())
    return doing(lambda: lakehouse.volumes.drop(name.parts, quiet=quiet))


def put(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """PUT 'local file' INTO 'path' [OVERWRITE]: where to send the file."""
    local = _local_file(reader)
    if not reader.accept("INTO"):
        raise syntax_error(local)
    path = _path(reader)
    overwrite = reader.accept("OVERWRITE")
    reader.end()
    return _staging("PUT", path, local, lakehouse, overwrite=overwrite)


def get(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """GET 'path' TO 'local file': where to fetch the file."""
    path = _path(reader)
    if not reader.accept("TO"):
        raise syntax_error("GET")
    local = _local_file(reader)
    reader.end()
    return _staging("GET", path, local, lakehouse)


def remove(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """REMOVE 'path': where to delete the file."""
    path = _path(reader)
    reader.end()
    return _staging("REMOVE", path, None, lakehouse)


def list_files(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """LIST 'path': the files and folders in it, with path, name, bytes and time (milliseconds since 1970)."""
    path = _path(reader)
    reader.end()

    def build() -> pa.Table:
        _require(path, lakehouse)
        found = lakehouse.volumes.entries(path)
        return pa.table(
            {
                "path": pa.array([entry.path for entry in found], pa.string()),
                "name": pa.array([entry.name for entry in found], pa.string()),
                "size": pa.array([entry.size for entry in found], pa.int64()),
                "modification_time": pa.array([entry.modified_ms for entry in found], pa.int64()),
            }
        )

    return answering(build)


def _staging(operation: str, path: str, local: str | None, lakehouse: Lakehouse, *, overwrite: bool = False) -> Command:
    def build() -> pa.Table:
        _require(path, lakehouse)
        base = BASE_URL.get(None)
        if base is None:
            raise unsupported(f"{operation} without a client")
        new = operation == "PUT" and not overwrite
        key = lakehouse.volumes.grant(_METHODS[operation], path, lifetime_s=LINK_LIFETIME_S, new=new)
        row = {
            "operation": operation,
            "presignedUrl": f"{base}/volumes/{key}",
            "headers": "{}",
            "localFile": local,
        }
        return pa.table({name: pa.array([value], pa.string()) for name, value in row.items()})

    return Command(run=lambda cursor: build(), staging=True)


def _require(path: str, lakehouse: Lakehouse) -> None:
    """Raises SqlError unless the volume of this path is there, or the old staging area is this user's."""
    if path.startswith("stage://"):
        owner = path.removeprefix("stage://tmp/").partition("/")[0]
        if owner != USER:
            raise SqlError("PERMISSION_DENIED", "42501", f"PERMISSION_DENIED: {USER} cannot use the files of {owner}.")
        return
    catalog, schema, volume = (part.lower() for part in PurePosixPath(path).parts[2:5])
    missing = (
        f"CATALOG {quote(catalog)}"
        if catalog not in lakehouse.catalogs()
        else f"SCHEMA {quote(catalog, schema)}"
        if schema not in lakehouse.schemas(catalog)
        else f"VOLUME {quote(catalog, schema, volume)}"
        if not lakehouse.volumes.has((catalog, schema, volume))
        else None
    )
    if missing:
        raise SqlError("NOT_FOUND", "42704", f"NOT_FOUND: {missing} does not exist. CREATE VOLUME makes one.")


def _local_file(reader: TokenReader) -> str:
    local = reader.string()
    if not local:
        raise SqlError("EMPTY_LOCAL_FILE_IN_STAGING_ACCESS_QUERY", "22023", "Empty local file in staging access query.")
    return local


def _path(reader: TokenReader) -> str:
    """The path that is next, checked to be one of a volume or of the old staging area."""
    path = reader.string()
    parts = PurePosixPath(path).parts
    in_volume = len(parts) >= 5 and parts[:2] == ("/", "Volumes")
    if (not in_volume and not path.startswith("stage://tmp/")) or ".." in parts:
        raise SqlError(
            "INVALID_STAGING_PATH_IN_STAGING_ACCESS_QUERY", "22023", f"Invalid staging path in staging query: {path}"
        )
    return path
