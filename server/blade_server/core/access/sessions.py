"""Signing in and out of the page: a token for a session, whose id stands in a cookie.

Of the id, 32 random bytes, a hash is kept. The token that changes have to carry besides (CSRF) is made of the id, which
no script and no other site can read: whoever knows the one was told it by this server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime

from blade_server.core.access.door import Door, Shown
from blade_server.core.access.tokens import hash_of, token_id_of
from blade_server.errors import Precondition, QuotaExceeded
from blade_server.model.access import Principal, Session
from blade_server.model.error_reason import Reason
from blade_server.storage.sessions import SessionStore

AT_ONCE = 10
EVERY_S = 6.0
"""An address may sign in, or try to, so often at once, and then once in so many seconds."""
_MAX_ADDRESSES = 10_000


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """What a browser gets: an id for its cookie, and until when it is good."""

    session_id: str = field(repr=False)
    principal: Principal
    expire_time: datetime


class Sessions:
    """Thread-safe. All methods block; they raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, door: Door, store: SessionStore) -> None:
        self._door = door
        self._store = store
        self._attempts = _Attempts()

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

    def sign_in(self, token: str, address: str, before: str) -> SignedIn:
        """A new session for who shows the token, in place of the one he had, `before` (may be empty).

        Raises Unauthenticated; QuotaExceeded for an address that tries too often; Precondition where nobody signs in.
        """
        if not self.needed:
            raise Precondition("authentication is off here: nobody signs in", reason=Reason.ACCESS_STATE)
        self._attempts.count(address)
        principal = self._door.identify(Shown(authorization=f"Bearer {token}"))
        if before:
            self.sign_out(before)
        session_id, token_id = secrets.token_urlsafe(32), token_id_of(token) or ""
        session = Session(
            principal=principal.name,
            kind=principal.kind,
            groups=principal.groups,
            token_id=token_id,
            # A session is asked at each look-up whether its token is still good, and so ends with it by itself.
            expire_time=None if token_id else principal.expire_time,
        )
        expire_time = self._store.open(hash_of(session_id), session)
        return SignedIn(session_id=session_id, principal=principal, expire_time=expire_time)

    def sign_out(self, session_id: str) -> None:
        """Ends a session, on this server at once. Harmless if there is none: anybody can send a cookie."""
        if self._store.close(hash_of(session_id)):
            self._door.forget()


def csrf_token(session_id: str) -> str:
    """What a change that is sent with this session has to carry."""
    made = hmac.digest(session_id.encode(), b"blade-csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


class _Attempts:
    """Counts what addresses do, of a bounded number of them: the one that was quiet longest is forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paid_at: OrderedDict[str, float] = OrderedDict()

    def count(self, address: str) -> None:
        """Raises QuotaExceeded if there were too many."""
        with self._lock:
            now = time.monotonic()
            paid_at = max(now, self._paid_at.pop(address, now)) + EVERY_S
            wait_s = paid_at - now - AT_ONCE * EVERY_S
            self._paid_at[address] = paid_at if wait_s <= 0 else paid_at - EVERY_S
            while len(self._paid_at) > _MAX_ADDRESSES:
                self._paid_at.popitem(last=False)
        if wait_s > 0:
            raise QuotaExceeded(
                f"{address} signs in too often; try again in {wait_s:.0f} s", subject=address, retry_after_s=wait_s
            )
