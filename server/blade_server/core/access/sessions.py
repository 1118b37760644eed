"""Signing in and out of the page: what a browser shows for a session, whose id stands in a cookie.

Of the id, 32 random bytes, a hash is kept. The token that changes have to carry besides (CSRF) is made of the id, which
no script and no other site can read: whoever knows the one was told it by this server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from blade_server.core.access.attempts import Attempts
from blade_server.core.access.door import Door, Shown
from blade_server.core.access.tokens import hash_of
from blade_server.errors import Precondition, Unauthenticated
from blade_server.model.access import Kind, Principal, Session
from blade_server.model.error_reason import Reason
from blade_server.oidc import Answer, Begun, CodeFlow
from blade_server.storage.sessions import Opened, SessionStore

_CODE_OVER = "this code is not good (any more): it is good once, and for a minute; run blade open again"


@dataclass(frozen=True, kw_only=True)
class Browser:
    """Who signs in or out: `peer` is its address for the audit log, `neighbourhood` whose attempts are counted.

    `session`: the id of the session that it has; "": none.
    """

    peer: str
    neighbourhood: str
    session: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """What a browser gets: an id for its cookie, whose it is, and until when it is good."""

    session_id: str = field(repr=False)
    principal: str
    expire_time: datetime


class Sessions:
    """Thread-safe. All methods block; they raise StorageUnavailable if PostgreSQL does not answer.

    Those that sign in give a new session in place of the one that the browser had. They raise Unauthenticated;
    QuotaExceeded where somebody tries too often; Precondition where nobody signs in.
    """

    def __init__(self, door: Door, store: SessionStore, code_flow: CodeFlow | None = None) -> None:
        """`code_flow`: how people sign in at an identity provider; None: they do not."""
        self._door = door
        self._store = store
        self._code_flow = code_flow
        self._attempts = Attempts("signs in")

    @property
    def needed(self) -> bool:
        """Whether callers have to be known: authentication is not off."""
        return not self._door.is_open

    def remembers(self, shown: Shown) -> bool:
        """Whether somebody who is known asks, and was known a moment ago. Does not block."""
        return self._door.remembered(shown) is not None

    def who(self, shown: Shown) -> Principal:
        """Who asks. Raises Unauthenticated."""
        return self._door.identify(shown)

    def sign_in(self, token: str, browser: Browser) -> SignedIn:
        """For a token."""
        self._begin(browser)
        principal = self._door.identify(Shown(authorization=f"Bearer {token}"))
        return self._open(session_of(principal), browser, "by a token")

    def sign_in_by_code(self, code: str, browser: Browser) -> SignedIn:
        """For what `blade open` was given."""
        self._begin(browser)
        session_id = secrets.token_urlsafe(32)
        opened = self._store.redeem(
            hash_of(code), hash_of(session_id), address=browser.peer, instead_of=_hash_before(browser)
        )
        if opened is None:
            raise Unauthenticated(_CODE_OVER, shown="code")
        return self._signed_in(session_id, opened)

    def begin_at_provider(self) -> tuple[str, Begun]:
        """Where to send a browser, and what it has to keep until it comes back. Raises Unavailable."""
        return self._flow().begin()

    def sign_in_at_provider(self, answer: Answer, begun: Begun, browser: Browser) -> SignedIn:
        """For what the identity provider says. Raises Unavailable while that does not answer."""
        flow = self._flow()
        self._begin(browser)
        who = flow.finish(answer, begun)
        # The token was for this sign-in alone, and most live for minutes: the session does not end with it.
        session = Session(principal=who.subject, kind=Kind.JWT, groups=who.groups)
        return self._open(session, browser, "at the identity provider")

    def sign_out(self, browser: Browser) -> None:
        """Ends a session, on this server at once. Harmless if there is none: anybody can send a cookie."""
        if browser.session and self._store.close(hash_of(browser.session), address=browser.peer):
            self._door.forget()

    def _flow(self) -> CodeFlow:
        if self._code_flow is None or not self.needed:
            raise Precondition("nobody signs in at an identity provider here", reason=Reason.ACCESS_STATE)
        return self._code_flow

    def _begin(self, browser: Browser) -> None:
        if not self.needed:
            raise Precondition("authentication is off here: nobody signs in", reason=Reason.ACCESS_STATE)
        self._attempts.count(browser.neighbourhood)

    def _open(self, session: Session, browser: Browser, how: str) -> SignedIn:
        session_id, before = secrets.token_urlsafe(32), _hash_before(browser)
        opened = self._store.open(hash_of(session_id), session, how=how, address=browser.peer, instead_of=before)
        return self._signed_in(session_id, opened)

    def _signed_in(self, session_id: str, opened: Opened) -> SignedIn:
        if opened.ended_another:
            self._door.forget()
        return SignedIn(session_id=session_id, principal=opened.principal, expire_time=opened.expire_time)


def session_of(principal: Principal) -> Session:
    """A session of somebody who is known, which ends with what he is known by."""
    return Session(
        principal=principal.name,
        kind=principal.kind,
        groups=principal.groups,
        token_id=principal.token_id,
        # A session is asked at each look-up whether its token is still good, and so ends with it by itself.
        expire_time=None if principal.token_id else principal.expire_time,
    )


def _hash_before(browser: Browser) -> bytes | None:
    return hash_of(browser.session) if browser.session else None


def csrf_token(session_id: str) -> str:
    """What a change that is sent with this session has to carry."""
    made = hmac.digest(session_id.encode(), b"blade-csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(made).decode().rstrip("=")
