"""The Thrift calls of the driver: each reads a request, calls what does the work, and shapes the reply."""

# mypy: disable-error-code="no-untyped-call"
# ruff: noqa: D102 - the methods are Thrift's, documented there
from __future__ import annotations

import contextvars
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from databricks.sql.thrift_api.TCLIService import ttypes
from thrift.transport.TTransport import TTransportException

from blade_sandbox.warehouse.errors import SqlError
from blade_sandbox.warehouse.fault_switches import FaultSwitches
from blade_sandbox.warehouse.lake.duckdb_errors import from_duckdb
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_names import identifier
from blade_sandbox.warehouse.run.executor import table_result
from blade_sandbox.warehouse.run.operation import Operation, State
from blade_sandbox.warehouse.run.result import Result
from blade_sandbox.warehouse.run.statement_runner import StatementRunner
from blade_sandbox.warehouse.run.wire_format import WireFormat
from blade_sandbox.warehouse.session.session import Session, Sessions
from blade_sandbox.warehouse.session.transactions import metadata_blocked
from blade_sandbox.warehouse.thrift import listings
from blade_sandbox.warehouse.thrift.replies import (
    OK,
    fetch,
    invalid_operation,
    invalid_session,
    metadata_of,
    refused,
    status_of,
)

EXECUTE_WAIT_S = 0.05
"""ExecuteStatement answers at the latest after this; a later result is polled for."""

POLL_WAIT_S = 0.1
"""GetOperationStatus waits so long for the end. Longer polls would hold up cancel: the driver has one lock for both."""

LISTING_WAIT_S = 5.0
"""The metadata calls are quick; their answer comes with the reply."""

RUNNING_STATEMENTS = 64
"""So many statements run at once; further ones are pending."""

FETCH_WAIT_S = 30.0
"""A fetch, or a question for the columns, that comes before the end of the statement waits for it."""

PROTOCOL = ttypes.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V9
"""The newest that is spoken; a client gets it, or the one it asks for if that is older."""


CANCEL_WAIT_S = 5.0
"""A cancelled statement has this long to end before its transaction is rolled back."""

REMEMBERED_CLOSED = 10_000
"""So many handles of sessions that were closed are known; a call on one is answered 404, as the real one does."""


# thrift has no types.
class GoneError(TTransportException):  # type: ignore[misc]
    """The session of this call was closed. Thrift's processor lets its transport errors through, no others."""


class Service:
    """The handler behind ``TCLIService.Processor``; its methods have Thrift's names.

    Attributes:
        statements, cancelled: how many statements were started and cancelled so far.
    """

    def __init__(self, lakehouse: Lakehouse, faults: FaultSwitches) -> None:
        self.sessions = Sessions()
        self.operations: dict[bytes, Operation] = {}
        self.statements = 0
        self.cancelled = 0
        self._lakehouse = lakehouse
        self._faults = faults
        self._runner = StatementRunner(lakehouse)
        self._pool = ThreadPoolExecutor(RUNNING_STATEMENTS, thread_name_prefix="warehouse-statement")
        self._lock = threading.Lock()
        self._closed: dict[bytes, None] = {}

    # Sessions

    def OpenSession(self, req: ttypes.TOpenSessionReq) -> ttypes.TOpenSessionResp:
        namespace = req.initialNamespace or ttypes.TNamespace()
        protocol = min(req.client_protocol_i64 or req.client_protocol or PROTOCOL, PROTOCOL)
        try:
            if namespace.catalogName or namespace.schemaName:
                self._check_namespace(namespace)
            session = self.sessions.open(
                catalog=namespace.catalogName, schema=namespace.schemaName, settings=req.configuration or {}
            )
        except SqlError as exc:
            return ttypes.TOpenSessionResp(status=refused(exc), serverProtocolVersion=protocol)
        return ttypes.TOpenSessionResp(
            status=OK,
            serverProtocolVersion=protocol,
            sessionHandle=ttypes.TSessionHandle(
                sessionId=ttypes.THandleIdentifier(guid=session.guid, secret=session.secret),
                serverProtocolVersion=protocol,
            ),
            configuration={},
            initialNamespace=ttypes.TNamespace(catalogName=session.catalog, schemaName=session.schema),
            canUseMultipleCatalogs=True,
        )

    def _check_namespace(self, namespace: ttypes.TNamespace) -> None:
        self._lakehouse.require_catalog(namespace.catalogName or "main")
        self._lakehouse.require_schema(namespace.catalogName or "main", namespace.schemaName or "default")

    def CloseSession(self, req: ttypes.TCloseSessionReq) -> ttypes.TCloseSessionResp:
        session = self._session(req)
        if session is None:
            return ttypes.TCloseSessionResp(status=invalid_session(req.sessionHandle))
        self.sessions.close(session.guid)
        for guid in (session.guid, *session.operations):
            self._remember(guid)
        self._forget(session)
        return ttypes.TCloseSessionResp(status=OK)

    def expire(self, idle_s: float) -> int:
        """End the sessions idle for so long (0: all), drop results nobody fetched for so long; how many sessions."""
        gone = self.sessions.expired(idle_s)
        for session in gone:
            self._forget(session)
        limit = time.monotonic() - idle_s
        with self._lock:
            left = [found for found in self.operations.values() if found.state.is_final and found.used <= limit]
        for operation in left:
            self._drop(operation)
        return len(gone)

    def _forget(self, session: Session) -> None:
        operations = self._of(session)
        for operation in operations:
            self._drop(operation)
        if session.transaction is not None:
            # What still runs uses the copies that go with the transaction.
            for operation in operations:
                operation.wait(CANCEL_WAIT_S)
        session.roll_back()
        if session.temp_views:
            self._lakehouse.rows(f"DROP SCHEMA IF EXISTS {identifier(session.temp_schema)} CASCADE")

    def _of(self, session: Session) -> list[Operation]:
        with self._lock:
            return [operation for operation in self.operations.values() if operation.session is session]

    def _remember(self, guid: bytes) -> None:
        with self._lock:
            self._closed[guid] = None
            if len(self._closed) > REMEMBERED_CLOSED:
                del self._closed[next(iter(self._closed))]

    def _session(self, req: Any) -> Session | None:
        handle = req.sessionHandle.sessionId
        if handle.guid in self._closed:
            raise GoneError(message=f"Session {uuid.UUID(bytes=handle.guid)} was closed.")
        return self.sessions.get(handle.guid, handle.secret)

    # Statements

    def ExecuteStatement(self, req: ttypes.TExecuteStatementReq) -> ttypes.TExecuteStatementResp:
        session = self._session(req)
        if session is None:
            return ttypes.TExecuteStatementResp(status=invalid_session(req.sessionHandle))
        wire = WireFormat.of(req)

        def work(operation: Operation) -> Result:
            operation.cancelled.wait(self._faults.slow_s("slow_execute_ms"))
            return self._runner.run(
                operation,
                req.statement,
                req.parameters or [],
                wire,
                row_limit=req.resultRowLimit,
                drop_rows=self._faults.short_rows,
            )

        timeout_s = req.queryTimeout or session.timeout_s
        operation = self._start(session, ttypes.TOperationType.EXECUTE_STATEMENT, work, timeout_s)
        return ttypes.TExecuteStatementResp(
            status=OK, operationHandle=_handle(operation), directResults=self._direct(operation, req.getDirectResults)
        )

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement in a session of its own and return its rows.

        Raises:
            SqlError: the statement failed.
        """
        operation = Operation(session=Session(), kind=ttypes.TOperationType.EXECUTE_STATEMENT)
        wire = WireFormat(arrow=True, timestamps=True, decimals=True, nested=True, nulls=True)
        try:
            result = self._runner.run(operation, statement, (), wire)
        except Exception as exc:
            raise from_duckdb(exc) from exc
        try:
            return [tuple(row.values()) for batch in result.read(0, result.rows) for row in batch.to_pylist()]
        finally:
            result.close()

    def _start(
        self, session: Session, kind: int, work: Callable[[Operation], Result], timeout_s: float | None = None
    ) -> Operation:
        operation = Operation(session=session, kind=kind, timeout_s=timeout_s)
        with self._lock:
            self.operations[operation.guid] = operation
            session.operations.append(operation.guid)
            if kind == ttypes.TOperationType.EXECUTE_STATEMENT:
                self.statements += 1
        # In a copy of this request's context: PUT and GET answer with links to the host this client used.
        operation.future = self._pool.submit(contextvars.copy_context().run, operation.run, work)
        return operation

    def _direct(
        self, operation: Operation, wanted: ttypes.TSparkGetDirectResults | None
    ) -> ttypes.TSparkDirectResults | None:
        """Status, columns and first rows in one reply, if the statement is that quick."""
        if wanted is None:
            return None
        operation.wait(EXECUTE_WAIT_S)
        direct = ttypes.TSparkDirectResults(operationStatus=status_of(operation))
        if operation.state is not State.FINISHED:
            return direct
        direct.resultSetMetadata = metadata_of(operation)
        direct.resultSet = self._fetch(operation, wanted.maxRows, wanted.maxBytes)
        inline = operation.result is not None and operation.result.is_inline
        if inline and not direct.resultSet.hasMoreRows:
            self._drop(operation)
            direct.closeOperation = ttypes.TCloseOperationResp(status=OK)
        return direct

    def GetOperationStatus(self, req: ttypes.TGetOperationStatusReq) -> ttypes.TGetOperationStatusResp:
        operation = self._operation(req)
        if operation is None:
            return ttypes.TGetOperationStatusResp(status=invalid_operation(req.operationHandle))
        operation.wait(POLL_WAIT_S)
        return status_of(operation)

    def GetResultSetMetadata(self, req: ttypes.TGetResultSetMetadataReq) -> ttypes.TGetResultSetMetadataResp:
        operation = self._operation(req)
        if operation is None:
            return ttypes.TGetResultSetMetadataResp(status=invalid_operation(req.operationHandle))
        operation.wait(FETCH_WAIT_S)
        return metadata_of(operation)

    def FetchResults(self, req: ttypes.TFetchResultsReq) -> ttypes.TFetchResultsResp:
        operation = self._operation(req)
        if operation is None:
            return ttypes.TFetchResultsResp(status=invalid_operation(req.operationHandle))
        operation.wait(FETCH_WAIT_S)
        if req.startRowOffset is not None:
            operation.position = req.startRowOffset
        elif req.orientation == ttypes.TFetchOrientation.FETCH_FIRST:
            operation.position = 0
        reply = self._fetch(operation, req.maxRows, req.maxBytes)
        if req.includeResultSetMetadata and operation.state is State.FINISHED:
            reply.resultSetMetadata = metadata_of(operation)
        return reply

    def _fetch(self, operation: Operation, max_rows: int | None, max_bytes: int | None) -> ttypes.TFetchResultsResp:
        operation.cancelled.wait(self._faults.slow_s("slow_fetch_ms"))
        return fetch(operation, max_rows, max_bytes)

    def CancelOperation(self, req: ttypes.TCancelOperationReq) -> ttypes.TCancelOperationResp:
        operation = self._operation(req)
        if operation is None:
            return ttypes.TCancelOperationResp(status=invalid_operation(req.operationHandle))
        if operation.cancel():
            with self._lock:
                self.cancelled += 1
        return ttypes.TCancelOperationResp(status=OK)

    def CloseOperation(self, req: ttypes.TCloseOperationReq) -> ttypes.TCloseOperationResp:
        operation = self._operation(req)
        if operation is None:
            return ttypes.TCloseOperationResp(status=invalid_operation(req.operationHandle))
        self._drop(operation)
        return ttypes.TCloseOperationResp(status=OK)

    def _operation(self, req: Any) -> Operation | None:
        handle = req.operationHandle.operationId
        if handle.guid in self._closed:
            raise GoneError(message=f"The session of operation {uuid.UUID(bytes=handle.guid)} was closed.")
        operation = self.operations.get(handle.guid)
        if operation is None or operation.secret != handle.secret:
            return None
        operation.used = time.monotonic()
        self.sessions.get(operation.session.guid, operation.session.secret)
        return operation

    def _drop(self, operation: Operation) -> None:
        with self._lock:
            self.operations.pop(operation.guid, None)
        operation.close()

    def running(self) -> int:
        """Statements that have not ended."""
        with self._lock:
            return sum(not operation.state.is_final for operation in self.operations.values())

    def close(self) -> None:
        """End all sessions and the worker threads."""
        self.expire(0)
        with self._lock:
            left = list(self.operations.values())
        for operation in left:
            self._drop(operation)
        self._pool.shutdown(wait=True, cancel_futures=True)

    # Metadata

    def GetInfo(self, req: ttypes.TGetInfoReq) -> ttypes.TGetInfoResp:
        known = self._session(req) is not None
        return listings.info(req.infoType, None if known else invalid_session(req.sessionHandle))

    def GetCatalogs(self, req: ttypes.TGetCatalogsReq) -> Any:
        return self._listing("GetCatalogs", req)

    def GetSchemas(self, req: ttypes.TGetSchemasReq) -> Any:
        return self._listing("GetSchemas", req)

    def GetTables(self, req: ttypes.TGetTablesReq) -> Any:
        return self._listing("GetTables", req)

    def GetColumns(self, req: ttypes.TGetColumnsReq) -> Any:
        return self._listing("GetColumns", req)

    def GetTableTypes(self, req: ttypes.TGetTableTypesReq) -> Any:
        return self._listing("GetTableTypes", req)

    def GetTypeInfo(self, req: ttypes.TGetTypeInfoReq) -> Any:
        return self._listing("GetTypeInfo", req)

    def GetFunctions(self, req: ttypes.TGetFunctionsReq) -> Any:
        return self._listing("GetFunctions", req)

    def GetPrimaryKeys(self, req: ttypes.TGetPrimaryKeysReq) -> Any:
        return self._listing("GetPrimaryKeys", req)

    def GetCrossReference(self, req: ttypes.TGetCrossReferenceReq) -> Any:
        return self._listing("GetCrossReference", req)

    def _listing(self, call: str, req: Any) -> Any:
        listing = listings.LISTINGS[call]
        session = self._session(req)
        if session is None:
            return listing.reply(status=invalid_session(req.sessionHandle))
        if session.transaction is not None:
            return listing.reply(status=refused(metadata_blocked(call)))

        def work(operation: Operation) -> Result:
            return table_result(listing.build(self._lakehouse, req), WireFormat())

        operation = self._start(session, listing.kind, work)
        operation.wait(LISTING_WAIT_S)
        direct = self._direct(operation, req.getDirectResults)
        return listing.reply(status=OK, operationHandle=_handle(operation), directResults=direct)


def _handle(operation: Operation) -> ttypes.TOperationHandle:
    return ttypes.TOperationHandle(
        operationId=ttypes.THandleIdentifier(guid=operation.guid, secret=operation.secret),
        operationType=operation.kind,
        hasResultSet=True,
    )
