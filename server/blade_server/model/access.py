"""Who calls, and what he may do: a table of grants, no policies.

A `Caller` is made once a call, before anything of its request is read, and handed down to whatever the call does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TypeGuard
from urllib.parse import quote

EVERYTHING = "*"
MAX_NAME_CHARS = 200


def is_name(value: object) -> TypeGuard[str]:
    """Whether it can be the name of a principal or a group that somebody else vouches for."""
    return (
        isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS and value.isprintable() and value == value.strip()
    )


class Role(IntEnum):
    """What a grant allows. VIEWER to ADMIN: each holds those before it. AUDITOR stands alone."""

    VIEWER = 1
    READER = 2
    OPERATOR = 3
    EDITOR = 4
    ADMIN = 5
    AUDITOR = 6

    def holds(self, needed: Role) -> bool:
        """Whether this role may what `needed` may."""
        return self is needed or needed < self < Role.AUDITOR


class Kind(StrEnum):
    """How a caller signed in."""

    TOKEN = "token"  # noqa: S105 - no password
    JWT = "jwt"
    MTLS = "mtls"
    SESSION = "session"
    ADMIN = "admin"
    """By the token that the server made, or was given, for its own operator."""
    OFF = "off"
    """Not at all: authentication is off, and everybody may do everything."""
    SERVER = "server"
    """The server itself, without a caller."""
    NOBODY = "nobody"
    """Not at all, though he should have."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What of the sources somebody may see: all, or those of these names and data types."""

    all: bool = False
    sources: frozenset[str] = frozenset()
    data_types: frozenset[str] = frozenset()

    def covers(self, source: str, data_type: str) -> bool:
        """Whether a source, or a job over it, is among them."""
        return self.all or source in self.sources or data_type in self.data_types


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A role on `*`, `data_type:NAME` or `source:NAME`, for a principal or for a group.

    `ceiling`: the highest classification of rows that it lets through; empty: no ceiling.
    """

    role: Role
    scope: str = EVERYTHING
    principal: str = ""
    group: str = ""
    ceiling: str = ""
    grant_id: str = ""
    created_by: str = ""
    create_time: datetime | None = None

    def covers(self, source: str, data_type: str) -> bool:
        """Whether it is on that source, by its name or its data type."""
        return self.scope in (EVERYTHING, f"source:{source}", f"data_type:{data_type}")


@dataclass(frozen=True, kw_only=True)
class View:
    """What of a source is there for somebody, as it is by default: all of it.

    `ceiling`: rows above this classification are not there; `classifications` are the known ones up to it, lowest first
    (none, if it is not known itself). `masked`: columns that are not there.
    """

    ceiling: str = ""
    classifications: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.ceiling and not self.masked


WHOLE = View()


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Somebody who is known, with every grant that holds for him, those of his groups among them."""

    name: str
    kind: Kind
    groups: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()
    expire_time: datetime | None = None
    token_id: str = ""
    """Of the token that he has shown, if the server keeps it."""

    def anywhere(self, role: Role) -> bool:
        """Whether he holds the role on anything at all."""
        return any(grant.role.holds(role) for grant in self.grants)

    def everywhere(self, role: Role) -> bool:
        """Whether he holds the role on the server as a whole."""
        return any(grant.role.holds(role) and grant.scope == EVERYTHING for grant in self.grants)

    def on(self, role: Role, source: str, data_type: str) -> bool:
        """Whether he holds the role on a source."""
        return any(grant.role.holds(role) and grant.covers(source, data_type) for grant in self.grants)

    def ceiling(self, role: Role, source: str, data_type: str, order: Sequence[str]) -> str:
        """The highest classification of rows up to which he holds the role on a source; "": he has no ceiling there.

        `order`: the known classifications, lowest first; a ceiling that is not among them is below all.
        """
        holding = [grant.ceiling for grant in self.grants if grant.role.holds(role) and grant.covers(source, data_type)]
        if not all(holding):
            return ""
        return max(holding, key=lambda one: order.index(one) if one in order else -1, default="")

    def scope(self, role: Role) -> Scope:
        """On what he holds the role."""
        scopes = [grant.scope for grant in self.grants if grant.role.holds(role)]
        return Scope(
            all=EVERYTHING in scopes,
            sources=frozenset(scope.removeprefix("source:") for scope in scopes if scope.startswith("source:")),
            data_types=frozenset(
                scope.removeprefix("data_type:") for scope in scopes if scope.startswith("data_type:")
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Caller:
    """One call, as far as it matters who makes it: plain data, handed down to the row that the audit log gets.

    `needs` is what the method asks for (None: to be signed in), `claims` whom he says he is (a note, no proof),
    `request_digest` is hex, `traceparent` that of the call in its trace (W3C Trace Context); empty, there is none.
    """

    principal: Principal
    needs: Role | None = None
    method: str = ""
    claims: str = ""
    address: str = ""
    request_digest: str = ""
    traceparent: str = ""

    @property
    def trace_id(self) -> str:
        """Hex, or empty."""
        return self.traceparent[3:35]

    @property
    def name(self) -> str:
        """For people, in a job's history: the principal, and whom he says he is; where nobody signs in, that alone."""
        if self.principal.kind is Kind.OFF:
            return self.claims or self.address
        if self.claims and self.claims != self.principal.name:
            return f"{self.principal.name} ({self.claims})"
        return self.principal.name

    def own(self, request_id: str) -> str:
        """A request id as it is stored: those of other principals are other ids."""
        if not request_id or self.principal.kind is Kind.OFF:
            return request_id
        return f"{quote(self.principal.name, safe='')}/{request_id}"  # names may have a slash, too

    @property
    def bound(self) -> str:
        """What binds a page token to him; nothing where nobody signs in, so that older servers' tokens hold."""
        return "" if self.principal.kind is Kind.OFF else f"\0{self.principal.name}"

    @property
    def sees(self) -> Scope:
        """The sources that he may know of, with the jobs over them."""
        return self.principal.scope(Role.VIEWER)

    def may(self, source: str, data_type: str, role: Role | None = None) -> bool:
        """Whether he holds what the method needs, or the `role`, on a source."""
        wanted = role or self.needs
        return wanted is not None and self.principal.on(wanted, source, data_type)


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is kept of a token."""

    token_id: str
    principal: str
    kind: Kind = Kind.TOKEN
    description: str = ""
    created_by: str = ""
    create_time: datetime | None = None
    expire_time: datetime | None = None
    last_use_time: datetime | None = None
    revoke_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """A browser that signed in: as whom, and how. `token_id` empty: not by a token that the server keeps.

    `expire_time` None where it is still to be decided.
    """

    principal: str
    kind: Kind
    groups: frozenset[str] = frozenset()
    token_id: str = ""
    expire_time: datetime | None = None


SESSION_LIFE_S = 12 * 3600.0
"""A session ends so long after the sign-in, whatever happens."""
SESSION_IDLE_S = 3600.0
"""It ends earlier if it is not used for so long."""
CODE_LIFE_S = 60.0
"""A code that opens a session is good for so long, and once."""


class AuditOutcome(StrEnum):
    """How what an audit entry tells of ended."""

    DONE = "DONE"
    BEGUN = "BEGUN"
    FAILED = "FAILED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What the audit log is told beside the caller: no SQL, no token, nothing of a row.

    `about`: `job:ID`, `source:NAME`, `token:ID`, `grant:ID`, `session:ID`, `code:ID` or "", the server; `reason` in the
    caller's words, `detail` in ours.
    """

    about: str = ""
    reason: str = ""
    outcome: AuditOutcome = AuditOutcome.DONE
    detail: str = ""


EVERYTHING_GRANTS = (Grant(role=Role.ADMIN), Grant(role=Role.AUDITOR))
"""Of whoever may do everything."""
