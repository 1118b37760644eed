"""What to try on a running sandbox: lines to copy, with its real ports in them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from blade_sandbox.data import MAINTENANCE
from blade_sandbox.sandbox import HTTP_PATH, TOKEN, Sandbox

START_HIGH = "job start \"SELECT * FROM maintenance WHERE priority = 'HIGH'\" --watch"
_CREATE_SYNC = "sync create maintenance --source blade-maintenance --deletes DELETE"
_RUN_SYNC = "sync run maintenance --watch"
_FEW_CHANGE = f"UPDATE {MAINTENANCE} SET description = maint_type WHERE month(due_date) = 3 AND day(due_date) = 13"  # noqa: S608 - ours
_MANY_GO = f"DELETE FROM {MAINTENANCE} WHERE month(due_date) = 2"  # noqa: S608 - ours


def tool(name: str) -> str:
    """A command as it can be typed here: from the environment that runs this, by the shortest path."""
    found = Path(sys.executable).parent / name
    if not found.exists():
        return name
    if found.is_relative_to(Path.cwd()):
        return str(found.relative_to(Path.cwd()))
    return shlex.quote(str(found))


def add_source(data_type: str, table: str) -> str:
    """The arguments of `blade` that add a sample table as a source."""
    return f"source add --name blade-{data_type} --data-type {data_type} --table {table}"


def describe(sandbox: Sandbox) -> str:
    """Where everything is, and lines that show it working, from an empty state on."""
    return "\n".join(
        [
            f"BLADE      gRPC {sandbox.target}{f'   HTTP {sandbox.http_url}' if sandbox.http_url else ''}",
            f"Warehouse  {sandbox.warehouse_url}   path {HTTP_PATH}   token {TOKEN}",
            *(f"             {name}" for name in sandbox.tables),
            f"Catalog    {sandbox.catalog_url}   token {TOKEN}",
            "Sign-in    none (BLADE_AUTH=off): whoever reaches BLADE's ports, on this machine only, may do everything",
            f"State      {sandbox.folder}   (logs: server.log, warehouse.log, catalog.log)",
            "",
            "Try, in another terminal:",
            f"  export BLADE_SERVER={sandbox.target}",
            f"  {tool('blade')} {add_source('maintenance', MAINTENANCE)}",
            f"""  {tool("blade")} query maintenance --filter "priority = 'HIGH'" --limit 10""",
            f"  {tool('blade')} item ingest maintenance MAINT-123",
            f"  {tool('blade')} {START_HIGH}",
            *(f"  {line}" for line in other_tools(sandbox, "maintenance", "MAINT-123")),
            "",
            "Keep the catalog equal to the table, whatever becomes of its rows (docs/syncs.md):",
            f"  {tool('blade')} {_CREATE_SYNC}",
            f"  {tool('blade')} {_RUN_SYNC}",
            f"  {_sql_line(sandbox, _FEW_CHANGE)}",
            f"  {tool('blade')} sync plan maintenance",
            f"  {tool('blade')} {_RUN_SYNC}",
            f"  {tool('blade')} sync verify maintenance",
            f"  {_sql_line(sandbox, _MANY_GO)}",
            f"  {tool('blade')} {_RUN_SYNC}",
        ]
    )


def other_tools(sandbox: Sandbox, data_type: str, item_id: str, job_id: str = "") -> list[str]:
    """The same without BLADE's own client: grpcurl, buf curl, curl, and the Databricks driver."""
    get_item = f'{{"data_type": "{data_type}", "item_id": "{item_id}"}}'
    get_job = f'{{"id": "{job_id}"}}'
    service = "blade.v1"
    lines = [f"grpcurl -plaintext -d '{get_item}' {sandbox.target} {service}.QueryService/GetItem"]
    buf_curl = f"{tool('buf')} curl --http2-prior-knowledge --protocol grpc"
    if job_id:
        lines.append(f"{buf_curl} -d '{get_job}' http://{sandbox.target}/{service}.JobService/GetJob")
    else:
        lines.append(f"{buf_curl} -d '{{}}' http://{sandbox.target}/{service}.ConfigService/ListSources")
    if sandbox.http_url:
        lines.append(f"curl -s '{sandbox.http_url}/blade/{data_type}?limit=2'")
    lines.append(
        f"curl -s -H 'Authorization: Bearer {TOKEN}' {sandbox.catalog_url}/v1/items/BLADE%3A{data_type}/{item_id}"
    )
    return lines


def driver_lines(sandbox: Sandbox, statement: str) -> list[str]:
    """Python that reads the sandbox warehouse with the unmodified Databricks driver."""
    url = sandbox.warehouse_url
    return [
        "from databricks import sql",
        f"connection = sql.connect({url!r}, {HTTP_PATH!r}, {TOKEN!r},",
        f"                         _connection_uri={url + HTTP_PATH!r}, enable_telemetry=False)",
        f"print(connection.cursor().execute({statement!r}).fetchall())",
    ]


def _sql_line(sandbox: Sandbox, statement: str) -> str:
    """A line for the shell that changes a table in the sandbox warehouse; the statement has no quotes in it."""
    url = sandbox.warehouse_url
    return (
        f'{tool("python")} -c "from databricks import sql; sql.connect({url!r}, {HTTP_PATH!r}, {TOKEN!r}, '
        f'_connection_uri={url + HTTP_PATH!r}, enable_telemetry=False).cursor().execute({statement!r})"'
    )
