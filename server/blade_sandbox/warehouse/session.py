"""Sessions: who is connected, in which catalog and schema, with which settings; idle ones end by themselves."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field

from blade_sandbox.warehouse.lakehouse import DEFAULT_CATALOG, DEFAULT_SCHEMA

_SETTINGS = {
    "ANSI_MODE": "true",
    "TIMEZONE": "UTC",
    "STATEMENT_TIMEOUT": "172800",
    "LEGACY_TIME_PARSER_POLICY": "EXCEPTION",
}


@dataclass(kw_only=True)
class Session:
    """One open session.

    Attributes:
        guid, secret: 16 random bytes each; together the handle the client holds.
        used: monotonic time of the last call.
        temp_views: names of its temporary views, lower case.
    """

    guid: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    catalog: str = DEFAULT_CATALOG
    schema: str = DEFAULT_SCHEMA
    settings: dict[str, str] = field(default_factory=lambda: dict(_SETTINGS))
    used: float = field(default_factory=time.monotonic)
    temp_views: set[str] = field(default_factory=set)

    @property
    def temp_schema(self) -> str:
        """The DuckDB schema of its temporary views; no user can write a name with this dot in front."""
        return f".session.{self.guid.hex()}"


class Sessions:
    """All open sessions by handle. Safe for concurrent use."""

    def __init__(self) -> None:
        self._open: dict[bytes, Session] = {}
        self._lock = threading.Lock()

    def open(self, *, catalog: str | None = None, schema: str | None = None, settings: dict[str, str]) -> Session:
        """A new session."""
        session = Session(catalog=(catalog or DEFAULT_CATALOG).lower(), schema=(schema or DEFAULT_SCHEMA).lower())
        session.settings.update({name.upper(): value for name, value in settings.items()})
        with self._lock:
            self._open[session.guid] = session
        return session

    def get(self, guid: bytes, secret: bytes) -> Session | None:
        """The session of a handle, marked as used; None if it has ended."""
        with self._lock:
            session = self._open.get(guid)
            if session is None or session.secret != secret:
                return None
            session.used = time.monotonic()
            return session

    def close(self, guid: bytes) -> Session | None:
        """Remove a session and return it; None if it had ended."""
        with self._lock:
            return self._open.pop(guid, None)

    def expired(self, idle_s: float) -> list[Session]:
        """Remove and return the sessions nobody used for so long; 0: all of them."""
        limit = time.monotonic() - idle_s
        with self._lock:
            gone = [session for session in self._open.values() if session.used <= limit]
            for session in gone:
                del self._open[session.guid]
        return gone

    def __len__(self) -> int:
        return len(self._open)
