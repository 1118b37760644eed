"""An operation in Thrift's words: its status, its columns, its rows."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import time
from typing import Any

import lz4.frame
import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

from blade_sandbox.warehouse.errors import SqlError
from blade_sandbox.warehouse.links import BASE_URL, LINK_LIFETIME_S
from blade_sandbox.warehouse.run.operation import Operation, State
from blade_sandbox.warehouse.run.result import Result
from blade_sandbox.warehouse.thrift.columns import thrift_columns, thrift_schema

DEFAULT_MAX_ROWS = 100_000
DEFAULT_MAX_BYTES = 100 * 1024 * 1024

OK = ttypes.TStatus(statusCode=ttypes.TStatusCode.SUCCESS_STATUS)

_STATES = {
    State.PENDING: ttypes.TOperationState.PENDING_STATE,
    State.RUNNING: ttypes.TOperationState.RUNNING_STATE,
    State.FINISHED: ttypes.TOperationState.FINISHED_STATE,
    State.FAILED: ttypes.TOperationState.ERROR_STATE,
    State.CANCELED: ttypes.TOperationState.CANCELED_STATE,
}


def refused(error: SqlError) -> ttypes.TStatus:
    """A call that failed with a SQL error."""
    return ttypes.TStatus(
        statusCode=ttypes.TStatusCode.ERROR_STATUS,
        sqlState=error.sqlstate,
        errorCode=0,
        errorMessage=str(error),
        displayMessage=str(error),
    )


def invalid_session(handle: ttypes.TSessionHandle) -> ttypes.TStatus:
    """The session has ended, or never was."""
    return _invalid(f"Invalid SessionHandle: SessionHandle [{handle.sessionId.guid.hex()}]")


def invalid_operation(handle: ttypes.TOperationHandle) -> ttypes.TStatus:
    """The operation was closed, or never was."""
    return _invalid(f"Invalid OperationHandle: OperationHandle [{handle.operationId.guid.hex()}]")


def _invalid(message: str) -> ttypes.TStatus:
    return ttypes.TStatus(
        statusCode=ttypes.TStatusCode.INVALID_HANDLE_STATUS, sqlState="HY000", errorCode=0, errorMessage=message
    )


def status_of(operation: Operation) -> ttypes.TGetOperationStatusResp:
    """The reply to GetOperationStatus."""
    reply = ttypes.TGetOperationStatusResp(
        status=OK,
        operationState=_STATES[operation.state],
        # Every statement has one, if only of counts; clients that hear otherwise do not wait for it.
        hasResultSet=operation.state not in (State.FAILED, State.CANCELED),
        numModifiedRows=operation.changed_rows,
    )
    if operation.error is not None:
        reply.sqlState = operation.error.sqlstate
        reply.errorCode = 0
        reply.errorMessage = reply.displayMessage = str(operation.error)
        reply.diagnosticInfo = f"org.apache.hive.service.cli.HiveSQLException: Error running query: {operation.error}"
    return reply


def _without_result(operation: Operation) -> ttypes.TStatus | None:
    """Why an operation has no rows to give; None if it has."""
    if operation.error is not None:
        return refused(operation.error)
    if operation.state is State.CANCELED:
        return refused(SqlError("OPERATION_CANCELED", "HY008", "Operation is canceled."))
    if operation.state is not State.FINISHED:
        return ttypes.TStatus(
            statusCode=ttypes.TStatusCode.ERROR_STATUS,
            sqlState="HY010",
            errorCode=0,
            errorMessage=f"The statement is still {operation.state.value}; wait for it to finish.",
        )
    return None


def metadata_of(operation: Operation) -> ttypes.TGetResultSetMetadataResp:
    """The reply to GetResultSetMetadata."""
    missing = _without_result(operation)
    if missing is not None or operation.result is None:
        return ttypes.TGetResultSetMetadataResp(status=missing)
    result = operation.result
    return ttypes.TGetResultSetMetadataResp(
        status=OK,
        schema=thrift_schema(result.columns),
        resultFormat=_format(result),
        lz4Compressed=result.wire.lz4,
        arrowSchema=result.schema.serialize().to_pybytes() if result.wire.arrow else None,
        isStagingOperation=result.staging,
    )


def _format(result: Result) -> int:
    if not result.wire.arrow:
        return int(ttypes.TSparkRowSetType.COLUMN_BASED_SET)
    return int(ttypes.TSparkRowSetType.ARROW_BASED_SET if result.is_inline else ttypes.TSparkRowSetType.URL_BASED_SET)


def fetch(operation: Operation, max_rows: int | None, max_bytes: int | None) -> ttypes.TFetchResultsResp:
    """The next rows of an operation, at most so many rows and about so many bytes, but at least one row."""
    missing = _without_result(operation)
    if missing is not None or operation.result is None:
        return ttypes.TFetchResultsResp(status=missing)
    result = operation.result
    start = min(operation.position, result.rows)
    wanted = min(max_rows or DEFAULT_MAX_ROWS, result.rows - start)
    limit = max_bytes or DEFAULT_MAX_BYTES
    rows = ttypes.TRowSet(startRowOffset=start, rows=[])
    if not result.wire.arrow:
        taken = _columns(result, start, wanted, limit, rows)
    elif result.is_inline:
        taken = _batches(result, start, wanted, limit, rows)
    else:
        taken = _links(operation, start, wanted, limit, rows)
    operation.position = start + taken
    return ttypes.TFetchResultsResp(status=OK, hasMoreRows=operation.position < result.rows, results=rows)


def _columns(result: Result, start: int, wanted: int, limit: int, rows: ttypes.TRowSet) -> int:
    taken: list[pa.RecordBatch] = []
    size = 0
    for batch in result.read(start, wanted):
        if taken and size + batch.nbytes > limit:
            break
        taken.append(batch)
        size += batch.nbytes
    table = pa.Table.from_batches(taken, schema=result.schema)
    rows.columns = thrift_columns(table, result.columns)
    rows.columnCount = len(result.columns)
    return int(table.num_rows)


def _batches(result: Result, start: int, wanted: int, limit: int, rows: ttypes.TRowSet) -> int:
    rows.arrowBatches = []
    taken = size = 0
    for batch in result.read(start, wanted):
        # A batch read from a slice still refers to the whole buffer; its serialized form holds only its rows.
        body = batch.serialize().to_pybytes()
        if taken and size + len(body) > limit:
            break
        size += len(body)
        taken += batch.num_rows
        if result.wire.lz4:
            body = lz4.frame.compress(body)
        rows.arrowBatches.append(ttypes.TSparkArrowBatch(batch=body, rowCount=batch.num_rows))
    return taken


def _links(operation: Operation, start: int, wanted: int, limit: int, rows: ttypes.TRowSet) -> int:
    result: Any = operation.result
    rows.resultLinks = []
    expires = int(time.time()) + LINK_LIFETIME_S
    taken = size = 0
    while taken < wanted:
        number = result.chunk_at(start + taken)
        chunk = result.chunks[number]
        skip = start + taken - chunk.start
        count = min(chunk.rows - skip, wanted - taken)
        if taken and size + chunk.size > limit:
            break
        key = operation.secret.hex()
        rows.resultLinks.append(
            ttypes.TSparkArrowResultLink(
                fileLink=f"{BASE_URL.get()}/results/{operation.guid.hex()}/{number}?skip={skip}&rows={count}"
                f"&expires={expires}&key={key}",
                expiryTime=expires * 1000,  # milliseconds, as the real one has it
                startRowOffset=start + taken,
                rowCount=count,
                bytesNum=chunk.size,
            )
        )
        taken += count
        size += chunk.size
    return taken
