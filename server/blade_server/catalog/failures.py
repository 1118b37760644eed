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
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import orjson
import urllib3.exceptions as urllib3

from blade_server.catalog.origin import OWN, Origin
from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable

MAX_WORDS = 500
"""Characters of the catalog's own message that are kept."""
_MAX_RETRY_AFTER_S = 300.0
"""A catalog that is wrong about its own needs must not stop everybody for days."""
GATEWAYS_WAIT_S = 1.0
"""No gateway gives a catalog up sooner: a failure that is told sooner is the catalog's own, and the end of its work."""


class Answer(NamedTuple):
    """A whole answer. `headers` finds names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AnswerTooLong(CatalogUnavailable):
    """An answer is longer than any that is read: perhaps less was to be asked for."""


class _Left(IntEnum):
    """What a request may have left behind that got no good answer."""

    NOTHING = 0
    STORED = 1
    AT_WORK = 2
    """A gateway gave up, or nobody answered: the catalog may store the items yet."""


class _Status(NamedTuple):
    """First row that fits.

    `left`: after an answer that came at once, and after one that took as long as gateways wait at least. `throttles`:
    it says that all are to send less.
    """

    statuses: Container[int]
    error: type[CatalogUnavailable | CatalogDenied | CatalogRejected]
    text: str
    left: tuple[_Left, _Left] = (_Left.NOTHING, _Left.NOTHING)
    throttles: Literal["never", "with Retry-After", "always"] = "never"


_IF_SLOW = (_Left.NOTHING, _Left.AT_WORK)
_ANYTHING = (_Left.AT_WORK, _Left.AT_WORK)


_STATUSES = (
    _Status({401, 403}, CatalogDenied, "refuses the credentials ({status}); check {origin.token}"),
    _Status({429}, CatalogUnavailable, "asks to slow down ({status})", throttles="always"),
    _Status({503}, CatalogUnavailable, "is not available ({status})", _IF_SLOW, "with Retry-After"),
    _Status({408}, CatalogUnavailable, "could not take the request now ({status})", _IF_SLOW),
    _Status({425}, CatalogUnavailable, "could not take the request now ({status})"),
    _Status(range(400, 500), CatalogRejected, "rejected it ({status})"),
    _Status(
        range(300, 400),
        CatalogUnavailable,
        "redirects ({status}) to {location}; set {origin.url} to its final URL",
    ),
    _Status({502, 504, *range(520, 600)}, CatalogUnavailable, "failed ({status})", _ANYTHING),
    _Status(range(500, 600), CatalogUnavailable, "failed ({status})", (_Left.STORED, _Left.AT_WORK)),
    _Status({202}, CatalogUnavailable, "takes the request for later ({status})", _ANYTHING),
    _Status(range(1000), CatalogUnavailable, "gave an answer that makes no sense here ({status})", _ANYTHING),
)


def refusal(
    answer: Answer, *, catalog: str, stores: bool, took_s: float = 0.0, origin: Origin = OWN
) -> CatalogUnavailable | CatalogDenied | CatalogRejected:
    """The error for an answer that is not the hoped-for one, and came so late. `stores`: the request was an upload."""
    row = _row(answer.status)
    location = own_words(answer.headers.get("location", "?").encode("utf-8", "replace"))
    text = f"the catalog at {catalog} {row.text.format(status=answer.status, location=location, origin=origin)}"
    words = "" if answer.status // 100 == 3 else own_words(answer.body)
    message = f"{text}: {words}" if words else text
    if issubclass(row.error, CatalogUnavailable):
        wait_s = _retry_after_s(answer.headers.get("retry-after"))
        throttled = row.throttles == "always" or (row.throttles == "with Retry-After" and wait_s is not None)
        left = row.left[took_s >= GATEWAYS_WAIT_S] if stores else _Left.NOTHING
        return CatalogUnavailable(
            message,
            retry_after_s=wait_s,
            throttled=throttled,
            maybe_stored=left >= _Left.STORED,
            at_work=left is _Left.AT_WORK,
        )
    return row.error(message)


def may_be_at_work(status: int, took_s: float) -> bool:
    """Whether this status of one item, in an answer that came so late, leaves it open whether it is stored yet."""
    return _row(status).left[took_s >= GATEWAYS_WAIT_S] is _Left.AT_WORK


def may_pass(status: int) -> bool:
    """Whether what was refused with this status may be taken later: a request, or one item of a batch."""
    return _row(status).error is CatalogUnavailable


def _row(status: int) -> _Status:
    return next(row for row in _STATUSES if status in row.statuses)


def nonsense(what: str, *, catalog: str, stores: bool, at_work: bool = False) -> CatalogUnavailable:
    """The error for an answer with a good status and a body that cannot be right. `at_work`: it may be a gateway's."""
    message = f"the catalog at {catalog} {what}"
    return CatalogUnavailable(message, maybe_stored=stores, at_work=stores and at_work)


class _Breakage(NamedTuple):
    """`stored`: the request may be carried out all the same, now or later. First row that fits."""

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
        "shows a certificate that is not trusted; set {origin.ca_file} to its authority",
        stored=False,
    ),
    _Breakage(urllib3.SSLError, "broke off the encrypted connection", stored=True),
    _Breakage(urllib3.ReadTimeoutError, "did not answer in time", stored=True),
    _Breakage(TimeoutError, "did not answer in time", stored=True),
    _Breakage(BaseException, "broke the connection off", stored=True),
)


def breakage(exc: BaseException, *, catalog: str, stores: bool, origin: Origin = OWN) -> CatalogUnavailable:
    """The error for a request that got no whole answer."""
    causes = _causes(exc)
    row = next(row for row in _BREAKAGES if any(isinstance(cause, row.cause) for cause in causes))
    left = row.stored and stores
    text = row.text.format(origin=origin)
    return CatalogUnavailable(f"the catalog at {catalog} {text}", maybe_stored=left, at_work=left)


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
    """What the catalog says itself: `error` or the like of an object, else the text; one line, at most MAX_WORDS."""
    try:
        said = orjson.loads(body)
    except ValueError:
        said = None
    words = words_of(said) if isinstance(said, dict) else ""
    return printable(words or body[: 4 * MAX_WORDS].decode("utf-8", "replace"))


_WORDS = ("error", "errors", "message", "detail", "reason", "title", "description")


def words_of(said: Mapping[str, Any], depth: int = 3) -> str:
    """In which an object says what went wrong, also in an object or a list within it; empty if it does not."""
    for name in _WORDS:
        value = said.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, dict) and depth:
            value = words_of(value, depth - 1)
        if isinstance(value, str) and value:
            return value
    return ""


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
