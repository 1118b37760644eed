"""Every error BLADE raises on purpose, one tree; foreign errors are mapped onto it where they enter.

    BladeError
    ├── Unauthenticated          nobody knows who calls
    ├── AccessDenied             the caller may not do this
    ├── Invalid                  a field of the request is wrong (names the fields)
    ├── NotFound                 source, job or item absent
    ├── AlreadyExists            the name is taken
    ├── Conflict                 somebody else changed it (etag)
    ├── Precondition             the state does not allow it (status, disabled, in use, refused, denied)
    │   ├── ConnectionTestFailed     carries the steps
    │   ├── WarehouseDenied          credentials refused
    │   ├── WarehouseRefused         SQL refused
    │   ├── CatalogDenied            credentials refused
    │   └── CatalogRejected          the catalog refuses this item or request for good
    ├── QuotaExceeded            too many of something at once
    ├── Unavailable          *   something BLADE needs does not answer
    │   ├── WarehouseUnavailable *
    │   ├── CatalogUnavailable   *
    │   ├── StorageUnavailable   *
    │   └── ShuttingDown
    ├── Deadline                 a time limit passed
    ├── StatementCancelled       the statement was cancelled from our side
    ├── ResultTruncated      *   the warehouse sent fewer rows than it announced
    └── LeaseLost                another server owns the job now; never leaves the job engine

`*` transient: the same attempt may succeed a little later; only these are retried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

from blade_server.model import TestStep
from blade_server.model.access import Caller, Role
from blade_server.model.error_reason import Reason as Reason  # noqa: PLC0414 - an error's reason is part of it


class BladeError(Exception):
    """An error with a reason for machines and a message for people.

    The message names the value and the way out and holds no secret and no driver text: callers see it.
    `metadata` becomes the ErrorInfo's metadata (strings only).
    """

    reason: Reason = Reason.INTERNAL
    transient: ClassVar[bool] = False

    def __init__(
        self, message: str, *, reason: Reason | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.metadata = dict(metadata or {})


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One wrong field: its path in the request (`source.config.table`) and what is wrong with its value."""

    field: str
    description: str


class Unauthenticated(BladeError):
    """The caller did not say who he is, or in a way that is not good (any more).

    `shown` is what he said it by: nothing, other_scheme, certificate, token, session, code, provider.
    """

    reason = Reason.UNAUTHENTICATED

    def __init__(self, message: str, *, shown: str = "token") -> None:
        super().__init__(message)
        self.shown = shown


class AccessDenied(BladeError):
    """The caller may not do this. What he may not even know of is NotFound instead."""

    reason = Reason.ACCESS_DENIED

    @classmethod
    def of(cls, by: Caller, role: Role, what: str) -> AccessDenied:
        """The role that is needed on `what` ("source 'parts'", "the server as a whole"), and the way to it."""
        return cls(
            f"{by.principal.name!r} needs the role {role.name} on {what}; an ADMIN can grant it",
            metadata={"role": role.name, "object": what, "principal": by.principal.name},
        )


class Invalid(BladeError):
    """A field of the request is wrong; nothing was changed."""

    reason = Reason.INVALID_FIELD

    def __init__(self, violations: Sequence[Violation] | Violation, *, reason: Reason | None = None) -> None:
        self.violations = [violations] if isinstance(violations, Violation) else list(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations), reason=reason)

    @classmethod
    def field(cls, field: str, description: str, *, reason: Reason | None = None) -> Invalid:
        """The common case of one wrong field."""
        return cls(Violation(field=field, description=description), reason=reason)


class NotFound(BladeError):
    """A source, job or item is absent. Always raised with its reason."""


class AlreadyExists(BladeError):
    """The name is taken."""

    reason = Reason.SOURCE_EXISTS


class Conflict(BladeError):
    """The etag is not the stored one."""

    reason = Reason.ETAG_MISMATCH


class Precondition(BladeError):
    """The state of something does not allow the call. Always raised with its reason."""


class ConnectionTestFailed(Precondition):
    """A step of the connection test failed; `steps` are all of them."""

    reason = Reason.CONNECTION_TEST_FAILED

    def __init__(self, message: str, *, steps: Sequence[TestStep], metadata: Mapping[str, str]) -> None:
        super().__init__(message, metadata=metadata)
        self.steps = list(steps)


class WarehouseDenied(Precondition):
    """The warehouse refused the credentials."""

    reason = Reason.WAREHOUSE_DENIED


class WarehouseRefused(Precondition):
    """The warehouse refused the SQL. The message is the warehouse's own first line (error class and text)."""

    reason = Reason.WAREHOUSE_REFUSED


class CatalogDenied(Precondition):
    """The catalog refused the credentials (401, 403)."""

    reason = Reason.CATALOG_DENIED


class CatalogRejected(Precondition):
    """The catalog refuses this request for good (400, 409, 413, 415, 422)."""

    reason = Reason.CATALOG_REJECTED


class QuotaExceeded(BladeError):
    """Too many of something at once; `retry_after_s` says when to try again."""

    reason = Reason.QUOTA_EXCEEDED

    def __init__(self, message: str, *, subject: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.subject = subject
        self.retry_after_s = retry_after_s


class Unavailable(BladeError):
    """Something BLADE needs does not answer. `retry_after_s` is the other side's own wish, if it gave one."""

    transient = True

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_s = retry_after_s


class WarehouseUnavailable(Unavailable):
    """The warehouse cannot be reached, is starting, or broke off."""

    reason = Reason.WAREHOUSE_UNAVAILABLE


class CatalogUnavailable(Unavailable):
    """The catalog cannot be reached, failed (5xx), or timed out.

    `throttled`: it answers but asks to slow down (429, or 503 with Retry-After). `maybe_stored`: the request may
    have been carried out although no good answer came (reply lost, timeout, 5xx); look the items up before sending
    them again. `at_work`: it may also be carried out yet, as no answer came, or that of a gateway that gave up: what a
    look-up does not find may be there later.
    """

    reason = Reason.CATALOG_UNAVAILABLE

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        throttled: bool = False,
        maybe_stored: bool = False,
        at_work: bool = False,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.throttled = throttled
        self.maybe_stored = maybe_stored
        self.at_work = at_work


class StorageUnavailable(Unavailable):
    """PostgreSQL cannot be reached."""

    reason = Reason.STORAGE_UNAVAILABLE


class ShuttingDown(Unavailable):
    """This server is stopping; another replica will do."""

    reason = Reason.SHUTTING_DOWN
    transient = False


class Deadline(BladeError):
    """A time limit of the server passed."""

    reason = Reason.DEADLINE


class StatementCancelled(BladeError):
    """The statement was cancelled from our side; whoever cancelled it knows why."""

    is_failure: ClassVar[bool] = False
    """For traces."""


class ResultTruncated(BladeError):
    """The warehouse sent fewer rows than it announced.

    Transient, because a lost answer does it, too: the driver asks again by itself and gets the rows behind it.
    """

    reason = Reason.RESULT_TRUNCATED
    transient = True


class LeaseLost(BladeError):
    """Another server owns the job now; whoever sees this rolls back and stops before the next upload."""


def meant(name: str, names: Iterable[str]) -> str:
    """What to add to the message that a name is unknown: the one it was probably meant to be, or nothing."""
    like = get_close_matches(name, list(names), n=1)
    return f"; did you mean {like[0]!r}?" if like else ""


def check_may(by: Caller, source: str, data_type: str, what: str, role: Role | None = None) -> None:
    """Raises AccessDenied unless the caller holds what his method needs, or the `role`, on a source he may know of."""
    if not by.may(source, data_type, role):
        raise AccessDenied.of(by, role or by.needs or Role.ADMIN, what)
