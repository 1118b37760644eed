"""A Databricks SQL warehouse on one machine, for the unmodified databricks-sql-connector.

Thrift over HTTP, on DuckDB; development and production differ only by a URL.

    driver --HTTP--> app (token, faults, downloads) --Thrift--> service (sessions, operations)
        service -> runner -> dialect (sqlglot: names, parameters, functions) -> statements
                          -> executor (DuckDB) -> result (memory or files) -> replies (batches or CloudFetch links)
        lakehouse: catalogs, schemas, tables, versions, in one DuckDB database
        transactions: private copies until COMMIT; volumes: files for PUT, GET, REMOVE, LIST

Control paths on the same port, with the same token as ``Authorization: Bearer``:

``GET /sandbox/status``: ``open_sessions``, ``open_operations``, ``running_operations``, ``statements`` and
``cancelled`` so far.

``POST /sandbox/faults`` with a JSON object of switches; ``GET`` shows them, ``DELETE`` takes all of them back:

- ``{"expire_sessions": true}``: all sessions end now; the next call on one is "Invalid SessionHandle".
- ``{"fail_next": {"count": 2, "code": 503, "retry_after": 1, "call": "ExecuteStatement"}}``: the next calls answer an
  HTTP status and are not done. Without ``call`` any Thrift call; ``"call": "download"`` for CloudFetch files.
- ``{"drop_reply": {"count": 1, "call": "FetchResults"}}``: the call is done, its connection closed unanswered.
- ``{"slow_execute_ms": 500}``, ``{"slow_fetch_ms": 500}``: every statement, every fetch waits so long first.
- ``{"short_result": {"rows": 3}}``: results of more than 3 rows silently lose their last 3.
- ``{"starting": {"seconds": 10}}``: 503 with Retry-After to every Thrift call for so long.
- ``{"kill": true}``: answers, then stops listening and cuts every connection; ``Warehouse.start`` serves again.
"""

from blade_sandbox.warehouse.http.server import Warehouse

__all__ = ["Warehouse"]
