"""The families that are recorded in every process of a server. Those that are read at a scrape are in app/gauges.py."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from blade_server.metrics.last_seen import LastSeen

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp beside each counter would double them

REGISTRY = CollectorRegistry()

# Calls.
CALLS = Histogram(
    "rpc_server_call_duration_seconds",
    "How long calls took, streams from their begin to their end.",
    ["rpc_method", "rpc_response_status_code"],
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600),
)
ACTIVE_CALLS = Gauge(
    "blade_rpc_server_active_calls", "Calls and streams that are open.", ["rpc_method"], registry=REGISTRY
)
WATCHERS = Gauge("blade_watchers", "WatchJob streams that are open.", registry=REGISTRY)
DIRECT_STREAMS = Gauge("blade_direct_streams", "Direct queries that are open.", registry=REGISTRY)
SIGN_IN_FAILURES = Counter(
    "blade_sign_in_failures_total",
    "Calls and sign-ins of somebody who is not known.",
    ["reason"],
    registry=REGISTRY,
)

# Jobs.
CLAIM_DELAY = Histogram(
    "blade_job_claim_delay_seconds",
    "From the moment a job was stored to its first claim.",
    registry=REGISTRY,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
JOBS_ENDED = Counter(
    "blade_jobs_ended_total", "Jobs that were ended by this server.", ["source", "status"], registry=REGISTRY
)
JOB_ITEMS = Counter(
    "blade_job_items_total", "What became of the rows of jobs.", ["source", "outcome"], registry=REGISTRY
)
JOB_ROWS_READ = Counter(
    "blade_job_rows_read_total",
    "Rows that jobs have read, with those that they had read before.",
    ["source"],
    registry=REGISTRY,
)
JOB_WAITS = Counter(
    "blade_job_wait_seconds_total",
    "How long running jobs stood still, by the reason that they show.",
    ["wait_reason"],
    registry=REGISTRY,
)
LEDGER_WRITES = Histogram(
    "blade_ledger_write_duration_seconds",
    "How long jobs took to write down what they send, and what became of it.",
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)

# The catalogs.
UPLOADED_BYTES = Counter(
    "blade_uploaded_bytes_total", "Bytes of items that a catalog has taken.", ["destination"], registry=REGISTRY
)
HTTP_REQUESTS = Histogram(
    "http_client_request_duration_seconds",
    "How long requests to catalogs took; status code 0: there was no answer.",
    ["destination", "http_request_method", "http_response_status_code"],
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
BATCH_ITEMS = Histogram(
    "blade_upload_batch_items",
    "Items that were sent together.",
    registry=REGISTRY,
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
UPLOAD_RETRIES = Counter(
    "blade_upload_retries_total",
    "Uploads and deletes that failed and are tried again.",
    ["destination", "reason"],
    registry=REGISTRY,
)
UPLOAD_THROTTLES = Counter(
    "blade_upload_throttles_total", "Answers that asked to slow down.", ["destination"], registry=REGISTRY
)
CATALOG_UP = LastSeen(
    "blade_catalog_up",
    "Whether the last request to a catalog got an answer that is no failure of it.",
    ["destination"],
    registry=REGISTRY,
)

# The warehouses.
STATEMENTS = Counter(
    "blade_warehouse_statements_total", "Statements that have ended.", ["source", "outcome"], registry=REGISTRY
)
STATEMENT_SECONDS = Histogram(
    "blade_warehouse_statement_duration_seconds",
    "How long statements ran until their first rows were here.",
    ["source"],
    registry=REGISTRY,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1200),
)
WAREHOUSE_ROWS = Counter("blade_warehouse_rows_total", "Rows that came from warehouses.", ["source"], registry=REGISTRY)
WAREHOUSE_BYTES = Counter(
    "blade_warehouse_bytes_total", "Bytes of rows that came from warehouses, as Arrow.", ["source"], registry=REGISTRY
)
WAREHOUSE_UP = LastSeen(
    "blade_warehouse_up",
    "Whether the last statement on the server's own warehouse found it there, with good credentials.",
    registry=REGISTRY,
)
