"""A Databricks SQL warehouse on one machine, for the unmodified databricks-sql-connector.

Thrift over HTTP, on DuckDB; development and production differ only by a URL.

    driver
      |  HTTP
    cli
    http          token, faults, downloads; Warehouse, which starts and stops everything
    thrift        the driver's calls: sessions, operations, rows as batches or CloudFetch links
    run           a statement from its text to its result, in memory or files; cancel; transaction control
    entrance      translate(): to the commands, or through sql to DuckDB
    commands      SHOW, DESCRIBE, EXPLAIN, USE, SET, CLONE, VOLUMES, ...: read word by word
    sql           the rest, by sqlglot: names, parameters, functions, DML, DDL -> DuckDB's dialect
    answers       what a command answers
    statements  session       what a text turns into; who is connected, with which settings and transaction
    lake          catalogs, schemas, tables, versions and volumes, in one DuckDB database
    links  fault_switches  errors

Imports point down only. DuckDB is in lake and run, sqlglot in sql.

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
