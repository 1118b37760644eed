"""The warehouse and the catalog of the settings, step by step; and the server itself, if it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version

from blade_server.app.doctor.check import Check, failed, not_run, of_steps, passed, warned
from blade_server.app.policies import destination_policy, source_policy
from blade_server.catalog import Catalog
from blade_server.core.sources.credentials import target
from blade_server.errors import Invalid
from blade_server.model import SourceConfig
from blade_server.settings import Settings
from blade_server.warehouse import connect_steps

_ANSWER_S = 20.0
_MOST_BYTES = 16 << 20
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what such a server is asked by
_WAREHOUSE_WAYS_OUT = {
    "RESOLVE": "check DATABRICKS_SERVER_HOSTNAME and this machine's DNS",
    "CONNECT": "let this machine reach it, or name its proxy in HTTPS_PROXY",
    "AUTHENTICATE": "renew DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET",
    "WAREHOUSE": "check DATABRICKS_HTTP_PATH; a stopped warehouse takes minutes to start, then ask again",
}
_CATALOG_WAYS_OUT = {
    "RESOLVE": "check BLADE_CATALOG_URL and this machine's DNS",
    "CONNECT": "let this machine reach it, or name its proxy in HTTPS_PROXY",
    "AUTHENTICATE": "renew BLADE_CATALOG_TOKEN",
    "CAPABILITIES": "ask whoever runs the catalog; docs/sandbox.md has the contract that it must keep",
}


def of_warehouse(settings: Settings) -> Iterator[Check]:
    """The server's own; sources may name others."""
    policy = source_policy(settings).warehouse
    if not policy.host:
        yield not_run("warehouse", "DATABRICKS_SERVER_HOSTNAME is not set; each source names its own")
        return
    try:
        where = target(policy, SourceConfig(catalog="", schema="", table=""))
    except Invalid as exc:
        yield failed("warehouse", exc.message, "set DATABRICKS_HTTP_PATH")
        return
    steps = connect_steps(replace(where, timeout_s=min(where.timeout_s, _ANSWER_S)))
    yield from of_steps("warehouse", steps, _WAREHOUSE_WAYS_OUT)


def of_catalog(settings: Settings) -> Iterator[Check]:
    """The server's own; destinations are others."""
    if not settings.catalog_url:
        yield not_run("catalog", "BLADE_CATALOG_URL is not set; there are destinations alone")
        return
    policy = destination_policy(settings)
    try:
        catalog = Catalog(
            settings.catalog_url,
            settings.catalog_token,
            settings.catalog_ca_file,
            min(settings.catalog_timeout_s, _ANSWER_S),
            policy.connections,
        )
    except ValueError as exc:
        yield failed("catalog", str(exc), "change that setting, and ask again")
        return
    try:
        yield from of_steps("catalog", catalog.steps(), _CATALOG_WAYS_OUT)
    finally:
        catalog.close()


def of_server(settings: Settings) -> Iterator[Check]:
    """The server of these settings on this machine, by its admin port."""
    try:
        status, readiness = asked(settings, "/readyz?verbose")
        _, metrics = asked(settings, "/metrics")
    except OSError as exc:
        yield not_run("server", f"none answers on its admin port here: {exc}")
        return
    if status == 200:
        yield passed("server", "it is ready")
    else:
        in_the_way = [line for line in readiness.splitlines() if line.startswith("[-]") and "not count" not in line]
        yield failed("server", f"it is not ready: {'; '.join(in_the_way)}", "mend what it says; docs/runbook.md helps")
    runs = re.search(r'^blade_build_info\{version="([^"]*)"\}', metrics, re.MULTILINE)
    if runs is not None and runs[1] != version("blade"):
        found = f"the server is {runs[1]}, and this command {version('blade')}"
        yield warned("server.version", found, "restart the server, or use its own `blade doctor`")


def asked(settings: Settings, path: str) -> tuple[int, str]:
    """Status and text of a path of the admin port. Raises OSError if nobody answers there."""
    host, port = _EVERYWHERE.get(settings.admin_host, settings.admin_host), _admin_port(settings)
    if not port:
        raise OSError("its port is not known; set BLADE_ADMIN_PORT, or BLADE_READY_FILE as the server has it")
    connection = HTTPConnection(host, port, timeout=5.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES).decode("utf-8", "replace")
    except HTTPException as exc:
        raise OSError(f"{host}:{port} speaks no HTTP") from exc
    finally:
        connection.close()


def _admin_port(settings: Settings) -> int:
    """0: nobody knows."""
    if settings.ready_file is not None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(json.loads(settings.ready_file.read_text())["admin_port"])
    return settings.listens_for_admin_on or 0
