"""How the catalog's failures become ours: one table for statuses, one for connections that gave no answer.

A status means the same for a request and for one item of a batch. Texts are for people; what the driver says goes to
the log.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Container, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

import orjson
import urllib3.exceptions as urllib3

from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable

MAX_WORDS = 500
"""Characters of the catalog's own message that are kept."""
_MAX_RETRY_AFTER_S = 300.0
"""A catalog that is wrong about its own needs must not stop everybody for days."""


class Answer(NamedTuple):
    """A whole answer. `headers` finds names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Status(NamedTuple):
    """First row that fits.

    `stored`: the request may have been carried out all the same. `throttles`: it says that all are to send less.
    """

    statuses: Container[int]
    error: type[CatalogUnavailable | CatalogDenied | CatalogRejected]
    text: str
    stored: bool = False
    throttles: Literal["never", "with Retry-After", "always"] = "never"


_STATUSES = (
    _Status({401, 403}, CatalogDenied, "refuses the credentials ({status}); check BLADE_CATALOG_TOKEN"),
    _Status({429}, CatalogUnavailable, "asks to slow down ({status})", throttles="always"),
    _Status({503}, CatalogUnavailable, "is not available ({status})", throttles="with Retry-After"),
    _Status({408, 425}, CatalogUnavailable, "could not take the request now ({status})"),
    _Status(range(400, 500), CatalogRejected, "rejected it ({status})"),
    _Status(
        range(300, 400),
        CatalogUnavailable,
        "redirects ({status}) to {location}; set BLADE_CATALOG_URL to its final URL",
    ),
    _Status(range(500, 600), CatalogUnavailable, "failed ({status})", stored=True),
    _Status(range(1000), CatalogUnavailable, "gave an answer that makes no sense here ({status})", stored=True),
)


def refusal(answer: Answer, *, catalog: str, stores: bool) -> CatalogUnavailable | CatalogDenied | CatalogRejected:
    """The error for an answer that is not the hoped-for one. `stores`: the request was an upload."""
    row = _row(answer.status)
    location = own_words(answer.headers.get("location", "?").encode("utf-8", "replace"))
    text = f"the catalog at {catalog} {row.text.format(status=answer.status, location=location)}"
    words = "" if answer.status // 100 == 3 else own_words(answer.body)
    message = f"{text}: {words}" if words else text
    if issubclass(row.error, CatalogUnavailable):
        wait_s = _retry_after_s(answer.headers.get("retry-after"))
        throttled = row.throttles == "always" or (row.throttles == "with Retry-After" and wait_s is not None)
        return CatalogUnavailable(
            message, retry_after_s=wait_s, throttled=throttled, maybe_stored=row.stored and stores
        )
    return row.error(message)


def may_pass(status: int) -> bool:
    """Whether what was refused with this status may be taken later: a request, or one item of a batch."""
    return _row(status).error is CatalogUnavailable


def _row(status: int) -> _Status:
    return next(row for row in _STATUSES if status in row.statuses)


def nonsense(what: str, *, catalog: str, stores: bool) -> CatalogUnavailable:
    """The error for an answer with a good status and a body that cannot be right."""
    return CatalogUnavailable(f"the catalog at {catalog} {what}", maybe_stored=stores)


class _Breakage(NamedTuple):
    """`stored`: the request may have been carried out all the same. First row that fits."""

    cause: type[BaseException]
    text: str
    stored: bool


_BREAKAGES = (
    _Breakage(urllib3.ProxyError, "cannot be reached through the proxy of this environment", stored=False),
    _Breakage(urllib3.NameResolutionError, "cannot be found: its host name does not resolve", stored=False),
    _Breakage(ConnectionRefusedError, "refuses connections", stored=False),
    _Breakage(urllib3.NewConnectionError, "cannot be reached", stored=False),
    _Breakage(urllib3.ConnectTimeoutError, "does not take connections in time", stored=False),
    _Breakage(
        ssl.SSLCertVerificationError,
        "shows a certificate that is not trusted; set BLADE_CATALOG_CA_FILE to its authority",
        stored=False,
    ),
    _Breakage(urllib3.SSLError, "broke off the encrypted connection", stored=True),
    _Breakage(urllib3.ReadTimeoutError, "did not answer in time", stored=True),
    _Breakage(TimeoutError, "did not answer in time", stored=True),
    _Breakage(BaseException, "broke the connection off", stored=True),
)


def breakage(exc: BaseException, *, catalog: str, stores: bool) -> CatalogUnavailable:
    """The error for a request that got no whole answer."""
    causes = _causes(exc)
    row = next(row for row in _BREAKAGES if any(isinstance(cause, row.cause) for cause in causes))
    return CatalogUnavailable(f"the catalog at {catalog} {row.text}", maybe_stored=row.stored and stores)


def _causes(exc: BaseException) -> list[BaseException]:
    """The error and those wrapped in it, which requests and urllib3 keep in `args`, `reason` or as the cause."""
    causes: list[BaseException] = []
    waiting: list[object] = [exc]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and cause not in causes:
            causes.append(cause)
            waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__]
    return causes


def own_words(body: bytes) -> str:
    """What the catalog says itself: `error` of a JSON object, else the text; on one line, at most MAX_WORDS."""
    try:
        said = orjson.loads(body)
        words = said.get("error") if isinstance(said, dict) else None
    except ValueError:
        words = None
    if not isinstance(words, str):
        words = body[: 4 * MAX_WORDS].decode("utf-8", "replace")
    return printable(words)


def printable(words: str) -> str:
    """On one line, without control characters, at most MAX_WORDS."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words[: 4 * MAX_WORDS]).split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"


def _retry_after_s(value: str | None) -> float | None:
    """Seconds to wait, from either form of Retry-After (RFC 9110, 10.2.3), at most 5 minutes; None for nonsense."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
            seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
            return None  # email.utils promises the first alone, and computes with numbers of any length
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None
