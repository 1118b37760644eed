"""The metadata calls: which operation, which reply and which rows belong to each."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.thrift import metadata
from blade_sandbox.warehouse.thrift.replies import OK


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One metadata call.

    Attributes:
        kind: its ``TOperationType``.
        reply: the class of its reply.
        build: makes the rows from the request.
    """

    kind: int
    reply: type[Any]
    build: Callable[[Lakehouse, Any], pa.Table]


_KINDS = ttypes.TOperationType
LISTINGS = {
    "GetCatalogs": Listing(
        kind=_KINDS.GET_CATALOGS,
        reply=ttypes.TGetCatalogsResp,
        build=lambda lakehouse, req: metadata.catalogs(lakehouse),
    ),
    "GetSchemas": Listing(
        kind=_KINDS.GET_SCHEMAS,
        reply=ttypes.TGetSchemasResp,
        build=lambda lakehouse, req: metadata.schemas(lakehouse, req.catalogName, req.schemaName),
    ),
    "GetTables": Listing(
        kind=_KINDS.GET_TABLES,
        reply=ttypes.TGetTablesResp,
        build=lambda lakehouse, req: metadata.tables(
            lakehouse, req.catalogName, req.schemaName, req.tableName, req.tableTypes
        ),
    ),
    "GetColumns": Listing(
        kind=_KINDS.GET_COLUMNS,
        reply=ttypes.TGetColumnsResp,
        build=lambda lakehouse, req: metadata.columns(
            lakehouse, req.catalogName, req.schemaName, req.tableName, req.columnName
        ),
    ),
    "GetTableTypes": Listing(
        kind=_KINDS.GET_TABLE_TYPES,
        reply=ttypes.TGetTableTypesResp,
        build=lambda lakehouse, req: metadata.table_types(),
    ),
    "GetTypeInfo": Listing(
        kind=_KINDS.GET_TYPE_INFO,
        reply=ttypes.TGetTypeInfoResp,
        build=lambda lakehouse, req: metadata.type_info(),
    ),
    "GetFunctions": Listing(
        kind=_KINDS.GET_FUNCTIONS,
        reply=ttypes.TGetFunctionsResp,
        build=lambda lakehouse, req: metadata.functions(),
    ),
    "GetPrimaryKeys": Listing(
        kind=_KINDS.UNKNOWN,
        reply=ttypes.TGetPrimaryKeysResp,
        build=lambda lakehouse, req: metadata.primary_keys(),
    ),
    "GetCrossReference": Listing(
        kind=_KINDS.UNKNOWN,
        reply=ttypes.TGetCrossReferenceResp,
        build=lambda lakehouse, req: metadata.cross_reference(),
    ),
}


def info(kind: int, refused: ttypes.TStatus | None) -> ttypes.TGetInfoResp:
    """The reply to GetInfo; ``refused`` if the session is unknown."""
    value = metadata.INFO.get(kind)
    if refused is None and value is None:
        refused = ttypes.TStatus(
            statusCode=ttypes.TStatusCode.ERROR_STATUS, errorCode=0, errorMessage=f"Unknown info type {kind}"
        )
    return ttypes.TGetInfoResp(status=refused or OK, infoValue=ttypes.TGetInfoValue(stringValue=value or ""))
