"""From what a caller shows to a principal.

What was found is remembered for a few seconds: a token that is revoked on another
server, and a grant that is taken away there, is good for that long at most.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from blade_server.core.access.server_identity import ServerIdentity
from blade_server.core.access.tokens import hash_of, token_id_of
from blade_server.errors import Unauthenticated
from blade_server.model.access import EVERYTHING_GRANTS, Grant, Kind, Principal, Role
from blade_server.model.policy import AccessPolicy, OidcPolicy
from blade_server.model.sync import SyncOwner
from blade_server.oidc import Provider
from blade_server.storage.access import AccessStore
from blade_server.storage.sessions import SessionStore

REMEMBERED_S = 4.0
_MAX_REMEMBERED = 10_000
ANYBODY = Principal(name="anybody", kind=Kind.OFF, grants=EVERYTHING_GRANTS)
"""Whoever calls where authentication is off."""
_MISSING = "sign in first: send 'authorization: Bearer TOKEN' (blade login, BLADE_TOKEN, --token-file)"
_WRONG = "this token is not good (any more): it is unknown, over or revoked; get a new one"
_CERTIFICATE_OVER = "this connection's certificate is over; connect anew with a newer one"
_OVER = "this session is over, or what it was signed in with is; sign in again"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a call carries of who makes it: the `authorization` header, the id of the page's session, and the name in
    the certificate that its connection was made with, which may end before the connection does. A token goes before a
    certificate.
    """

    authorization: str = field(default="", repr=False)
    session: str = field(default="", repr=False)
    certificate: str = ""
    certificate_ends: datetime | None = None

    @property
    def key(self) -> bytes:
        """The same for all ways to write the same, and short, however long that is."""
        scheme, token = self.credentials
        ends = "" if self.certificate_ends is None else self.certificate_ends.isoformat()
        shown = (scheme.lower(), token, self.session, self.certificate, ends)
        return hashlib.sha256("\0".join(shown).encode()).digest()

    @property
    def credentials(self) -> tuple[str, str]:
        """The scheme, and what stands behind it, without the blanks around it."""
        scheme, _, token = self.authorization.partition(" ")
        return scheme, token.strip()


class Door:
    """Knows callers. Thread-safe."""

    def __init__(
        self,
        policy: AccessPolicy,
        store: AccessStore,
        provider: Provider | None = None,
        sessions: SessionStore | None = None,
    ) -> None:
        """`provider`: who signs JSON Web Tokens, `sessions`: those of the page. None: they are good for nothing."""
        self._policy = policy
        self._store = store
        self._sessions = sessions
        self._provider = provider
        self.server = ServerIdentity()
        """What this server proves to its own user's clients."""
        self._remembered: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._changes = 0
        self._changing = threading.Lock()  # of both

    @property
    def is_open(self) -> bool:
        """Whether authentication is off."""
        return not self._policy.required

    @property
    def oidc(self) -> OidcPolicy | None:
        """The identity provider by which people sign in; None: there is none, or nobody signs in."""
        return self._policy.oidc if self._policy.required else None

    @property
    def admins_are_in_the_table(self) -> bool:
        """Whether somebody must hold ADMIN by a grant or a token, because nobody does by the server's settings."""
        return self._policy.required and not self._policy.admins

    def remembered(self, shown: Shown) -> Principal | None:
        """The principal, if he was known a moment ago. Neither blocks nor asks anybody."""
        if not self._policy.required:
            return ANYBODY
        found = self._remembered.get(shown.key)
        return found[1] if found is not None and time.monotonic() < found[0] else None

    def may_wait_long(self, shown: Shown) -> bool:
        """Whether `identify` may have to wait for somebody besides PostgreSQL."""
        return self._provider is not None and _is_jwt(shown.authorization)

    def identify(self, shown: Shown) -> Principal:
        """The principal. Asks PostgreSQL; raises Unauthenticated, Unavailable, StorageUnavailable."""
        known = self.remembered(shown)
        if known is not None:
            return known
        return self.identify_anew(shown)

    def identify_anew(self, shown: Shown) -> Principal:
        """As `identify`, whatever is remembered."""
        if not self._policy.required:
            return ANYBODY
        changes = self._changes
        principal = self._known(shown)
        with self._changing:
            if changes == self._changes:  # else maybe what was found is not so any more
                self._remembered[shown.key] = (time.monotonic() + _remembered_s(principal), principal)
                while len(self._remembered) > _MAX_REMEMBERED:
                    self._remembered.popitem(last=False)
        return principal

    def forget(self) -> None:
        """Asks for everybody anew: who may do what has changed on this server."""
        with self._changing:
            self._changes += 1
            self._remembered.clear()

    def principal(self, name: str, groups: Collection[str]) -> Principal:
        """Somebody who does not call, with the grants that would hold for him. Raises StorageUnavailable."""
        grants = tuple(self._store.grants_of(name, groups))
        return self._with_fixed_grants(Principal(name=name, kind=Kind.TOKEN, groups=frozenset(groups), grants=grants))

    def owner(self, owner: SyncOwner) -> Principal:
        """Somebody who once stored a sync, with the grants that hold for him now. Raises StorageUnavailable."""
        grants: tuple[Grant, ...] = ANYBODY.grants
        if self._policy.required:
            grants = tuple(self._store.grants_of(owner.name, owner.groups)) if owner.kind != Kind.OFF else ()
            if owner.kind == Kind.ADMIN and self._store.has_operator():
                grants = (*EVERYTHING_GRANTS, *grants)
        principal = Principal(name=owner.name, kind=Kind.SERVER, groups=frozenset(owner.groups), grants=grants)
        return self._with_fixed_grants(principal) if owner.kind != Kind.OFF else principal

    def _known(self, shown: Shown) -> Principal:
        if shown.session:
            return self._by_session(shown.session)
        scheme, token = shown.credentials
        if not shown.authorization:
            if shown.certificate:
                return self._by_certificate(shown.certificate, shown.certificate_ends)
            raise Unauthenticated(_MISSING, shown="nothing")
        if scheme.lower() != "bearer":
            # Without a blank in it, it may be a token that somebody has sent as it is.
            said = f", not {scheme[:20]!r}" if token and scheme.isalpha() else ""
            raise Unauthenticated(f"authorization: only 'Bearer TOKEN' is read here{said}", shown="other_scheme")
        if self._provider is not None and _is_jwt(token):
            return self._by_jwt(self._provider, token)
        return self._by_token(token)

    def _by_certificate(self, name: str, ends: datetime | None) -> Principal:
        if ends is not None and ends <= datetime.now(UTC):
            raise Unauthenticated(_CERTIFICATE_OVER, shown="certificate")
        grants = tuple(self._store.grants_of(name, ()))
        return self._with_fixed_grants(Principal(name=name, kind=Kind.MTLS, grants=grants, expire_time=ends))

    def _by_jwt(self, provider: Provider, token: str) -> Principal:
        who = provider.identify(token)
        grants = tuple(self._store.grants_of(who.subject, who.groups))
        return self._with_fixed_grants(
            Principal(name=who.subject, kind=Kind.JWT, groups=who.groups, grants=grants, expire_time=who.expire_time)
        )

    def _by_token(self, text: str) -> Principal:
        token_id = token_id_of(text)
        found = None if token_id is None else self._store.token(token_id)
        if found is None or not hmac.compare_digest(hash_of(text), found[1]):
            raise Unauthenticated(_WRONG)
        token, _, grants = found
        self._store.used(token.token_id)
        principal = Principal(
            name=token.principal,
            kind=token.kind,
            grants=tuple(grants),
            expire_time=token.expire_time,
            token_id=token.token_id,
        )
        return self._with_fixed_grants(principal)

    def _by_session(self, session_id: str) -> Principal:
        session = None if self._sessions is None else self._sessions.find(hash_of(session_id))
        if session is None:
            raise Unauthenticated(_OVER, shown="session")
        principal = Principal(
            name=session.principal,
            kind=session.kind,
            groups=session.groups,
            grants=tuple(self._store.grants_of(session.principal, session.groups)),
            expire_time=session.expire_time,
        )
        return replace(self._with_fixed_grants(principal), kind=Kind.SESSION)

    def _with_fixed_grants(self, principal: Principal) -> Principal:
        """What an operator has decided outside of the table: his own token, and BLADE_ADMINS."""
        if principal.kind is Kind.ADMIN:
            return replace(principal, grants=(*EVERYTHING_GRANTS, *principal.grants))
        his = {f"subject:{principal.name}", *(f"group:{group}" for group in principal.groups)}
        if his.isdisjoint(self._policy.admins):
            return principal
        return replace(principal, grants=(Grant(role=Role.ADMIN), *principal.grants))


def owner_of(principal: Principal) -> SyncOwner:
    """What is kept of whoever stores a sync, to know later what he may do.

    A session of the page is one of somebody: of the server's own operator, too.
    """
    is_operator = principal.kind is Kind.SESSION and set(EVERYTHING_GRANTS) <= set(principal.grants)
    kind = Kind.ADMIN if is_operator else principal.kind
    return SyncOwner(name=principal.name, kind=kind, groups=tuple(sorted(principal.groups)))


def _is_jwt(text: str) -> bool:
    """Three parts with dots between them; a token of ours has none."""
    return text.count(".") == 2


def _remembered_s(principal: Principal) -> float:
    """What signs him in may end before; with our own tokens that is PostgreSQL's to say."""
    if principal.kind not in (Kind.JWT, Kind.MTLS) or principal.expire_time is None:
        return REMEMBERED_S
    return min(REMEMBERED_S, principal.expire_time.timestamp() - time.time())
