"""Every error the client raises on purpose, one tree.

    BladeClientError
    ├── Invalid                  a field of the request is wrong; `violations` name the fields
    ├── NotFound                 source, job or item absent
    ├── AlreadyExists            the name is taken
    ├── Conflict                 somebody else changed it meanwhile (etag)
    ├── Precondition             the state does not allow the call
    │   └── ConnectionTestFailed     carries the steps of the test
    ├── Denied                   the server does not let this caller do it
    │   ├── NotSignedIn              it does not know who calls: no token, or one that is not good (any more)
    │   └── NotAllowed               it knows, and he may not
    ├── QuotaExceeded            too many of something at once; see `retry_after_s`
    ├── Unavailable              the server, or something it needs, does not answer
    │   └── Unreachable              there was no answer at all: the connection failed
    │       └── WrongAddress             something else than this kind of BLADE server is there; `problem` says what
    ├── DeadlineExceeded         the time limit passed; the call may have been carried out all the same
    ├── Cancelled                the call was cancelled, or the client closed while it ran
    ├── ServerError              a bug or a version mismatch on the other side
    ├── IncompleteStream         the result is shorter than announced; nothing of it may be taken as complete
    └── MissingExtra             an optional package is not installed

Errors of the caller's own code (a closed client, a target that is no address) are ValueError and RuntimeError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

    from blade.v1.source_pb2 import TestStep


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One thing that was wrong: the field (or the subject of a quota or precondition), and what about it."""

    field: str
    description: str


class BladeClientError(Exception):
    """A failed call.

    Attributes:
        message: One or two sentences for people, with the way out where there is one.
        reason: A name of `blade.v1.ErrorReason` without its prefix, such as `SOURCE_NOT_FOUND`; empty if the error
            did not come from BLADE itself.
        violations: What was wrong with which field, quota or precondition; often empty.
        metadata: More for machines, as the server gave it.
        retry_after_s: When trying again makes sense, if the server said so.
        code: The gRPC status code; None if the error arose in the client.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        code: grpc.StatusCode | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = list(violations)
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.code = code


class Invalid(BladeClientError):
    """A field of the request is wrong; nothing was changed."""


class NotFound(BladeClientError):
    """A source, job or item is absent."""


class AlreadyExists(BladeClientError):
    """The name is taken."""


class Conflict(BladeClientError):
    """Somebody else changed the source; read it again and repeat the change."""


class Precondition(BladeClientError):
    """The state of something does not allow the call."""


class ConnectionTestFailed(Precondition):
    """A step of the connection test failed, so nothing was stored. `steps` are all seven, in order."""

    steps: Sequence[TestStep] = ()


class Denied(BladeClientError):
    """The server does not let this caller do it."""


class NotSignedIn(Denied):
    """The server does not know who calls: the call carried no token, or one that is not good (any more)."""


class NotAllowed(Denied):
    """The caller is known, and lacks the role that the call needs; the message names role and object."""


class QuotaExceeded(BladeClientError):
    """Too many of something at once; `retry_after_s` says when to try again."""


class Unavailable(BladeClientError):
    """The server, or something it needs (warehouse, catalog, PostgreSQL), does not answer."""


class Unreachable(Unavailable):
    """The connection to the server could not be made or broke."""


class WrongAddress(Unreachable):
    """Something answers there, but not as this client speaks.

    `problem`: `no TLS`, `TLS` (and the client spoke none), `HTTP`, `untrusted` or `wrong name` (its certificate).
    """

    problem: str = ""


class DeadlineExceeded(BladeClientError):
    """The time limit passed. The call may have been carried out all the same."""


class Cancelled(BladeClientError):
    """The call was cancelled."""


class ServerError(BladeClientError):
    """A bug on the server, or a server that does not know the call."""


class IncompleteStream(BladeClientError):
    """The stream ended before everything announced had come."""


class RowsLeftOut(UserWarning):
    """A warning, no error: a query without a limit was read as items and has more rows than the default shows."""


class MissingExtra(BladeClientError, ImportError):
    """A package that only some calls need is not installed."""
