"""Codes by which a browser gets a session of somebody who is signed in elsewhere: good once, for a minute."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from blade_server.core.access.attempts import Attempts
from blade_server.core.access.page_address import PageAddress
from blade_server.core.access.sessions import session_of
from blade_server.core.access.tokens import hash_of
from blade_server.errors import Precondition
from blade_server.model.access import Caller, Kind
from blade_server.model.error_reason import Reason
from blade_server.storage.sessions import SessionStore


@dataclass(frozen=True, kw_only=True)
class Code:
    """32 random bytes, and until when they are good. Empty: nobody signs in here, so none is needed."""

    text: str = field(default="", repr=False)
    expire_time: datetime | None = None


class Codes:
    """Thread-safe."""

    def __init__(self, store: SessionStore, page: PageAddress) -> None:
        self._store = store
        self.page = page
        """Where a browser shows a code."""
        self._attempts = Attempts("opens the page")

    def create(self, *, by: Caller) -> Code:
        """A code for the caller. The session that it gives ends with what he has signed in with now.

        Raises Precondition for a session, QuotaExceeded, StorageUnavailable.
        """
        principal = by.principal
        if principal.kind is Kind.OFF:
            return Code()
        if principal.kind is Kind.SESSION:
            raise Precondition(
                "a session of the page opens no other one; sign in with a token", reason=Reason.ACCESS_STATE
            )
        self._attempts.count(principal.name)
        text = secrets.token_urlsafe(32)
        return Code(text=text, expire_time=self._store.add_code(hash_of(text), session_of(principal), by=by))
