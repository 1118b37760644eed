"""The first four steps of a connection test: host, port, credentials, warehouse."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from blade_server.errors import BladeError, WarehouseDenied, WarehouseUnavailable
from blade_server.model import StepKind, StepOutcome, TestStep
from blade_server.warehouse.failures import DRIVER_ERRORS, translate
from blade_server.warehouse.reach import checked
from blade_server.warehouse.session import connect
from blade_server.warehouse.target import Target


def connect_steps(target: Target) -> Iterator[TestStep]:
    """Take RESOLVE, CONNECT, AUTHENTICATE and WAREHOUSE in order; a failed step is the last one.

    Blocks, at most `target.timeout_s` for each answer it waits for. Leaves nothing open.
    """
    for kind, take in ((StepKind.RESOLVE, _resolve), (StepKind.CONNECT, _connect)):
        step = _step(kind, take, target)
        yield step
        if step.outcome is StepOutcome.FAILED:
            return
    yield from _open_session(target)


def _step(kind: StepKind, take: Callable[[Target], str], target: Target) -> TestStep:
    began = time.monotonic()
    try:
        message = take(target)
        outcome = StepOutcome.PASSED
    except BladeError as exc:
        message, outcome = exc.message, StepOutcome.FAILED
    return TestStep(kind=kind, outcome=outcome, message=message, duration_ms=_since(began))


def _resolve(target: Target) -> str:
    host, port = _peer(target)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise WarehouseUnavailable(
            f"the host name {host!r} cannot be resolved: check its spelling and this server's DNS"
        ) from exc
    return f"{host} is {', '.join(dict.fromkeys(str(address[4][0]) for address in found))}"


def _connect(target: Target) -> str:
    host, port = _peer(target)
    try:
        with checked(socket.create_connection((host, port), timeout=target.timeout_s)) as plain:
            if not target.secure:
                return f"{host}:{port} accepts connections (plain HTTP)"
            if (host, port) != (target.hostname, target.port):
                return f"the proxy {host}:{port} accepts connections"
            context = ssl.create_default_context(cafile=target.ca_file)
            with context.wrap_socket(plain, server_hostname=target.hostname) as safe:
                return f"{host}:{port} accepts connections ({safe.version()})"
    except ssl.SSLError as exc:
        raise WarehouseUnavailable(
            f"{host}:{port} listens, but its TLS certificate is not trusted or it speaks no TLS "
            f"({getattr(exc, 'verify_message', '') or exc.reason}); set BLADE_WAREHOUSE_CA_FILE for a private CA"
        ) from exc
    except OSError as exc:
        why = "timed out" if isinstance(exc, TimeoutError) else (exc.strerror or type(exc).__name__)
        raise WarehouseUnavailable(f"{host}:{port} does not accept connections ({why}): check host and port") from exc


def _peer(target: Target) -> tuple[str, int]:
    """Host and port to connect to: the proxy's if the environment names one for this host, as the driver does."""
    try:
        proxy = target.proxy
    except ValueError as exc:
        raise WarehouseUnavailable(str(exc)) from exc
    if proxy is not None:
        return proxy.hostname or "", proxy.port or 80
    return target.hostname, target.port


def _open_session(target: Target) -> Iterator[TestStep]:
    """One request presents the credentials and starts the warehouse; the answer shows which of them failed."""
    began = time.monotonic()
    try:
        connection = connect(target)
    except (BladeError, *DRIVER_ERRORS) as exc:
        error = exc if isinstance(exc, BladeError) else translate(exc, target)
        # Any answer but 401 and 403 comes from behind the check of the credentials.
        known = not isinstance(error, WarehouseDenied) and "http_status" in error.metadata
        if known:
            yield _passed(StepKind.AUTHENTICATE, "the credentials were not refused", began)
        kind = StepKind.WAREHOUSE if known else StepKind.AUTHENTICATE
        yield TestStep(kind=kind, outcome=StepOutcome.FAILED, message=error.message, duration_ms=_since(began))
        return
    answered = _since(began)
    with suppress(*DRIVER_ERRORS):
        connection.close()
    connection.session.is_open = False
    how = "access token" if target.token is not None else f"client id {target.client_id}"
    yield _passed(StepKind.AUTHENTICATE, f"{how} accepted", began, answered)
    yield _passed(StepKind.WAREHOUSE, f"warehouse {target.warehouse_id!r} opened a session", began, 0.0)


def _passed(kind: StepKind, message: str, began: float, duration_ms: float | None = None) -> TestStep:
    duration_ms = _since(began) if duration_ms is None else duration_ms
    return TestStep(kind=kind, outcome=StepOutcome.PASSED, message=message, duration_ms=duration_ms)


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000.0
