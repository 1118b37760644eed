"""What clients in other languages look at, and the Python driver does not; asked of the Thrift service itself."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import contextvars
import time
import uuid
from typing import Any

import pytest
from databricks.sql.thrift_api.TCLIService import ttypes

from blade_sandbox.warehouse import Warehouse
from blade_sandbox.warehouse.links import BASE_URL

VERSIONS = ttypes.TProtocolVersion
ENDLESS = "SELECT count(*) FROM range(100000) a, range(1000000) b WHERE a.id * b.id = 3"
SLOW = "SELECT max(a.id * b.id) AS most FROM range(3000) a, range(10000) b"


class Client:
    """A session, spoken to as Thrift does."""

    def __init__(self, service: Any) -> None:
        self.service = service
        opened = service.OpenSession(ttypes.TOpenSessionReq(client_protocol_i64=VERSIONS.SPARK_CLI_SERVICE_PROTOCOL_V8))
        self.session = opened.sessionHandle

    def execute(self, statement: str, **options: Any) -> Any:
        options = {"canReadArrowResult": True, "canDownloadResult": True} | options
        request = ttypes.TExecuteStatementReq(sessionHandle=self.session, statement=statement, runAsync=True, **options)
        return self.service.ExecuteStatement(request).operationHandle

    def status(self, operation: Any) -> Any:
        return self.service.GetOperationStatus(ttypes.TGetOperationStatusReq(operationHandle=operation))

    def fetch(self, operation: Any) -> Any:
        return self.service.FetchResults(ttypes.TFetchResultsReq(operationHandle=operation, maxRows=1_000_000))


@pytest.fixture
def client(warehouse: Warehouse) -> Client:
    return Client(warehouse._service)


def is_uuid(guid: bytes) -> bool:
    found = uuid.UUID(bytes=guid)
    return found.variant == uuid.RFC_4122 and found.version == 4


def test_handles_are_uuids(client: Client) -> None:
    assert all(is_uuid(Client(client.service).session.sessionId.guid) for _ in range(20))
    assert all(is_uuid(client.execute("SELECT 1").operationId.guid) for _ in range(20))


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"client_protocol_i64": VERSIONS.SPARK_CLI_SERVICE_PROTOCOL_V5}, VERSIONS.SPARK_CLI_SERVICE_PROTOCOL_V5),
        ({"client_protocol_i64": VERSIONS.SPARK_CLI_SERVICE_PROTOCOL_V8}, VERSIONS.SPARK_CLI_SERVICE_PROTOCOL_V8),
        ({"client_protocol_i64": 50_000}, VERSIONS.SPARK_CLI_SERVICE_PROTOCOL_V9),
        ({"client_protocol": VERSIONS.SPARK_CLI_SERVICE_PROTOCOL_V6}, VERSIONS.SPARK_CLI_SERVICE_PROTOCOL_V6),
    ],
)
def test_the_protocol_is_the_older_of_both_newest(client: Client, asked: dict[str, int], answered: int) -> None:
    opened = client.service.OpenSession(ttypes.TOpenSessionReq(**asked))
    assert (opened.serverProtocolVersion, opened.sessionHandle.serverProtocolVersion) == (answered, answered)


def test_a_statement_that_runs_has_a_result_to_wait_for(client: Client) -> None:
    operation = client.execute(ENDLESS)
    running = client.status(operation)
    assert running.operationState == ttypes.TOperationState.RUNNING_STATE
    assert running.hasResultSet
    client.service.CancelOperation(ttypes.TCancelOperationReq(operationHandle=operation))


def test_a_fetch_before_the_end_waits_for_it(client: Client) -> None:
    assert client.fetch(client.execute(SLOW)).status.statusCode == ttypes.TStatusCode.SUCCESS_STATUS
    asked = ttypes.TGetResultSetMetadataReq(operationHandle=client.execute(SLOW))
    columns = client.service.GetResultSetMetadata(asked).schema.columns
    assert [column.columnName for column in columns] == ["most"]


def test_links_expire_in_milliseconds_since_1970(client: Client) -> None:
    context = contextvars.copy_context()
    context.run(BASE_URL.set, "http://here")  # as the HTTP server has it of each request
    rows = context.run(client.fetch, client.execute("SELECT id FROM range(1000000)")).results
    assert rows.resultLinks
    assert all(60_000 < link.expiryTime - time.time() * 1000 < 86_400_000 for link in rows.resultLinks)
