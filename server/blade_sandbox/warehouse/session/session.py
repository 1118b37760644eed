"""Sessions: who is connected, in which catalog and schema, with which settings; idle ones end by themselves."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
import zoneinfo
from collections import deque
from dataclasses import dataclass, field

from blade_sandbox.warehouse.errors import SqlError
from blade_sandbox.warehouse.lake.lakehouse import DEFAULT_CATALOG, DEFAULT_SCHEMA
from blade_sandbox.warehouse.lake.sql_types import TIME_ZONE
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.session.transactions import Transaction

_UTC = ("UTC", "ETC/UTC", "Z", "GMT", "LOCAL", "+00:00")
_ALIASES = {"SPARK.SQL.SESSION.TIMEZONE": "TIMEZONE", "SPARK.SQL.ANSI.ENABLED": "ANSI_MODE"}
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
        guid, secret: a UUID (some clients check its form) and 16 random bytes; together the handle the client holds.
        used: monotonic time of the last call.
        temp_views: names of its temporary views, lower case.
        operations: the last ones it started, by guid.
        autocommit: each statement is a transaction of its own; if not, the next one begins one.
        transaction: the open one.
    """

    guid: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    catalog: str = DEFAULT_CATALOG
    schema: str = DEFAULT_SCHEMA
    settings: dict[str, str] = field(default_factory=lambda: dict(_SETTINGS))
    used: float = field(default_factory=time.monotonic)
    temp_views: set[str] = field(default_factory=set)
    operations: deque[bytes] = field(default_factory=lambda: deque(maxlen=100))
    autocommit: bool = True
    transaction: Transaction | None = None

    @property
    def ansi(self) -> bool:
        """Whether what is no value of its type is an error (ANSI_MODE) and not NULL."""
        return self.settings["ANSI_MODE"].lower() != "false"

    @property
    def timeout_s(self) -> float | None:
        """How long a statement may run (STATEMENT_TIMEOUT); None: as long as it likes."""
        value = self.settings["STATEMENT_TIMEOUT"]
        return float(value) if value not in ("0", _SETTINGS["STATEMENT_TIMEOUT"]) else None

    @property
    def zone(self) -> str:
        """Its time zone, as DuckDB and Arrow name it."""
        zone = self.settings["TIMEZONE"]
        return TIME_ZONE if zone.upper() in _UTC else zone

    def full_name(self, parts: tuple[str, ...]) -> TableName:
        """The full name of what is named by one, two or three parts in this session.

        Raises:
            SqlError: there are more parts.
        """
        if len(parts) > 3:
            raise SqlError(
                "IDENTIFIER_TOO_MANY_NAME_PARTS",
                "42601",
                f"`{'`.`'.join(parts)}` is not a valid identifier as it has more than 3 name parts.",
            )
        head = (self.catalog, self.schema)[: 3 - len(parts)]
        return TableName.of(*head, *parts)

    def full_schema(self, parts: tuple[str, ...]) -> tuple[str, str]:
        """Catalog and schema, in lower case, of a schema named by one or two parts in this session."""
        catalog, schema = parts if len(parts) == 2 else (self.catalog, parts[0])
        return catalog.lower(), schema.lower()

    def roll_back(self) -> None:
        """End the open transaction, if there is one, and what it did."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            transaction.rollback()

    def assign(self, name: str, value: str) -> None:
        """Change a setting.

        Raises:
            SqlError: a value the sandbox cannot work with.
        """
        name = _ALIASES.get(name.upper(), name.upper())
        if name == "TIMEZONE" and value.upper() not in _UTC and value not in zoneinfo.available_timezones():
            raise SqlError(
                "INVALID_CONF_VALUE.TIME_ZONE",
                "22022",
                f"The value '{value}' in the config \"spark.sql.session.timeZone\" is invalid. Cannot resolve the "
                "given timezone. The sandbox warehouse knows names like 'Europe/Berlin', no offsets.",
            )
        if name == "STATEMENT_TIMEOUT" and not value.isdigit():
            raise SqlError(
                "INVALID_CONF_VALUE",
                "22022",
                f"The value '{value}' in the config \"statement_timeout\" is not a number of seconds.",
            )
        if name == "ANSI_MODE" and value.lower() not in ("true", "false"):
            raise SqlError(
                "INVALID_CONF_VALUE", "22022", f"The value '{value}' in the config \"ansi_mode\" is not a boolean."
            )
        self.settings[name] = value

    def setting(self, name: str) -> str | None:
        """The value of a setting as it was given; None if it has none."""
        return self.settings.get(_ALIASES.get(name.upper(), name.upper()))

    def reset(self, name: str | None) -> None:
        """Give one setting, or all, back the value they had at the start."""
        if name is None:
            self.settings = dict(_SETTINGS)
            return
        name = _ALIASES.get(name.upper(), name.upper())
        self.settings.pop(name, None)
        if name in _SETTINGS:
            self.settings[name] = _SETTINGS[name]

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
        for name, value in settings.items():
            session.assign(name, value)
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
