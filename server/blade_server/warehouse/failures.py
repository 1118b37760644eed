"""What the driver raises -> BLADE's errors, by one table.

The driver raises its own DB-API errors, urllib3's and a few plain Python ones; none of their text reaches a caller
except the first line of what the warehouse itself said about the SQL.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable

import pyarrow as pa
import urllib3.exceptions
from databricks.sql import exc as dbapi

from blade_server.errors import (
    BladeError,
    ResultTruncated,
    WarehouseDenied,
    WarehouseRefused,
    WarehouseUnavailable,
)
from blade_server.warehouse.target import Target

log = logging.getLogger(__name__)

DRIVER_ERRORS = (dbapi.Error, urllib3.exceptions.HTTPError, OSError, pa.ArrowException, AssertionError, RuntimeError)
"""All that the driver is known to raise when the other side misbehaves.

AssertionError: a file holds fewer rows than its link promised (its utils.py, CloudFetchQueue). RuntimeError: an
unreadable Arrow file.
"""

MAX_MESSAGE_CHARS = 2000

_LOST_SESSION = re.compile(
    r"invalid (session|operation) ?handle|session .*(closed|expired|not found|does not exist)", re.IGNORECASE
)
_JAVA_CLASS = re.compile(r"^(?:Error running query: )?(?:[a-z][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error)?: ")
_POSITION = re.compile(r"[;,.]? *\(?line \d+,? pos \d+\)?")
"""In the statement as BLADE has written it, which says how long that is, and which the caller does not see."""
_ERROR_CLASS = re.compile(r"\[([A-Z][A-Z0-9_.]+)\]")


def session_lost(exc: BaseException) -> bool:
    """Whether the warehouse no longer knows the session (idle too long, or it was restarted)."""
    if isinstance(exc, dbapi.RequestError):
        return _status(exc) == 404 and exc.context.get("method") not in (None, "OpenSession")
    return (
        isinstance(exc, dbapi.DatabaseError)
        and not isinstance(exc, dbapi.ServerOperationError)
        and bool(_LOST_SESSION.search(str(exc)))
    )


def translate(exc: BaseException, target: Target) -> BladeError:
    """The BLADE error for one of `DRIVER_ERRORS`."""
    inner = _of_ours(exc)
    if inner is not None:
        return inner
    for kind, build in _TABLE:
        if isinstance(exc, kind):
            error = build(exc, target)
            log.info("%s: %s: %s", target, type(error).__name__, type(exc).__name__)
            return error
    return _unavailable(target, "broke off the answer")


def _of_ours(exc: BaseException) -> BladeError | None:
    """An error of our own (from fetching an OAuth token) that the driver has wrapped."""
    candidates = (exc, exc.__cause__, exc.__context__, *exc.args)
    return next((found for found in candidates if isinstance(found, BladeError)), None)


def _refused(exc: BaseException, target: Target) -> BladeError:
    message = first_line(str(exc)) or "the statement failed without a message"
    found = _ERROR_CLASS.search(message)
    return WarehouseRefused(message, metadata={"error_class": found[1]} if found else None)


def first_line(message: str) -> str:
    """What the warehouse said, without Java class names, stack trace and positions.

    Databricks spreads one message over several lines only for plans and traces; the error class stands in the first.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    text = lines[0] if lines else ""
    while match := _JAVA_CLASS.match(text):
        text = text[match.end() :]
    text = _POSITION.sub("", text)
    return text if len(text) <= MAX_MESSAGE_CHARS else text[:MAX_MESSAGE_CHARS] + " ..."


def _request(exc: BaseException, target: Target) -> BladeError:
    return _by_status(_status(exc), target)


def _status(exc: BaseException) -> int | None:
    status = getattr(exc, "context", {}).get("http-code")
    return status if isinstance(status, int) else None


def _by_status(status: int | None, target: Target) -> BladeError:
    metadata = {"http_status": str(status)} if status else None
    if status in (401, 403):
        return WarehouseDenied(
            f"{target} refused the credentials (HTTP {status}): check the token or client secret, and that its owner "
            "may use the warehouse",
            metadata=metadata,
        )
    if status == 404:
        return WarehouseUnavailable(
            f"{target.host} has no warehouse {target.warehouse_id!r} (HTTP 404): check the warehouse id or HTTP path",
            metadata=metadata,
        )
    if status == 400:
        return WarehouseUnavailable(
            f"{target.host} does not accept the request for warehouse {target.warehouse_id!r} (HTTP 400): check the "
            "warehouse id or HTTP path",
            metadata=metadata,
        )
    if status is None or status == 200:
        return _unavailable(target, "broke off the answer")
    return WarehouseUnavailable(f"{target} answered HTTP {status}", metadata=metadata)


def _out_of_retries(exc: BaseException, target: Target) -> BladeError:
    reason = getattr(exc, "reason", None)
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return _unavailable(target, "has a host name that cannot be resolved")
    if isinstance(reason, urllib3.exceptions.SSLError):
        return _unsafe(reason, target)
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return _unavailable(target, "refuses connections")
    if isinstance(reason, urllib3.exceptions.ConnectTimeoutError):
        return _unavailable(target, "does not accept connections (timed out)")
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return _timed_out(exc, target)
    if isinstance(reason, urllib3.exceptions.ResponseError):
        found = re.search(r"\b(\d{3})\b", str(reason))
        return _by_status(int(found[1]) if found else None, target)
    return _unavailable(target, "broke off the connection")


def _unsafe(exc: BaseException, target: Target) -> BladeError:
    return _unavailable(
        target,
        "has a TLS certificate that is not trusted, or speaks no TLS; set BLADE_WAREHOUSE_CA_FILE for a private CA",
    )


def _timed_out(exc: BaseException, target: Target) -> BladeError:
    return _unavailable(target, f"did not answer within {target.timeout_s:g} s")


def _truncated(exc: BaseException, target: Target) -> BladeError:
    return ResultTruncated(f"{target} sent fewer rows than it announced; run the query again")


def _unreadable(exc: BaseException, target: Target) -> BladeError:
    return _unavailable(target, "sent a result that cannot be read")


def _any_dbapi(exc: BaseException, target: Target) -> BladeError:
    if session_lost(exc):
        return _unavailable(target, "closed the session (idle too long, or it was restarted)")
    return _unavailable(target, "broke off the statement")


def _unavailable(target: Target, what: str) -> WarehouseUnavailable:
    return WarehouseUnavailable(f"{target} {what}")


_TABLE: tuple[tuple[type[BaseException], Callable[[BaseException, Target], BladeError]], ...] = (
    (dbapi.ServerOperationError, _refused),
    (dbapi.MaxRetryDurationError, _timed_out),
    (dbapi.RequestError, _request),
    (dbapi.DataError, _truncated),
    (dbapi.Error, _any_dbapi),
    (urllib3.exceptions.MaxRetryError, _out_of_retries),
    (urllib3.exceptions.SSLError, _unsafe),
    (urllib3.exceptions.TimeoutError, _timed_out),
    (ssl.SSLError, _unsafe),
    (TimeoutError, _timed_out),
    (AssertionError, _truncated),
    (pa.ArrowException, _unreadable),
    (RuntimeError, _unreadable),
)
"""First match wins; what is not here is a broken connection."""
