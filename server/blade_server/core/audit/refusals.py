"""Whom the server did not let through: a few entries, and how many more there were."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address

from blade_server.core.audit.recorder import Recorder
from blade_server.errors import AccessDenied, Unauthenticated
from blade_server.metrics.families import SIGN_IN_FAILURES
from blade_server.model.access import AuditOutcome, Caller, Deed, Kind, Principal

KNOWN_A_SECOND = 10
"""Entries for a principal."""
STRANGERS_A_MINUTE = 100
"""Entries for those nobody knows: one for each address and reason, and the last for all others together."""
_PRINCIPALS = 10_000
_NOBODY = Principal(name="", kind=Kind.NOBODY)
_ABOUT = re.compile(r"(source|job) '(.+)'")
"""What `AccessDenied` says that it is about."""


class Refusals:
    """Thread-safe; waits for nothing."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._known = Thinned(most=KNOWN_A_SECOND, period_s=1.0, most_keys=_PRINCIPALS)
        self._strangers = Thinned(most=1, period_s=60.0, most_keys=STRANGERS_A_MINUTE)

    def known(self, by: Caller, error: AccessDenied) -> None:
        """A principal may not do what he asked for."""
        found = _ABOUT.fullmatch(error.metadata.get("object", ""))
        about = f"{found[1]}:{found[2]}" if found else ""
        self._note(by, about, error.message, self._known.count(by.principal.name, by))

    def stranger(self, address: str, error: Unauthenticated) -> None:
        """Nobody knows who calls, or signs in."""
        SIGN_IN_FAILURES.labels(error.shown).inc()
        host, why = _host(address), error.message.partition(":")[0]  # behind it may be what he has sent
        by = Caller(principal=_NOBODY, address=host)
        self._note(by, "", why, self._strangers.count(f"{host} {why}", by))

    def tell_the_rest(self) -> None:
        """Has those noted that were left out, where no later one told of them."""
        for by, left_out in (*self._known.ended(), *self._strangers.ended()):
            deed = Deed(outcome=AuditOutcome.REFUSED, detail=f"{left_out} more, not told one by one")
            self._recorder.note(Caller(principal=by.principal, address=by.address), deed)

    def _note(self, by: Caller, about: str, why: str, left_out: int | None) -> None:
        if left_out is not None:
            more = f"; before it {left_out} more, not told one by one" if left_out else ""
            self._recorder.note(by, Deed(about=about, outcome=AuditOutcome.REFUSED, detail=why + more))


@dataclass
class _Period:
    begun_s: float
    last: Caller
    let_through: int = 0
    left_out: int = 0


class Thinned:
    """Lets `most` through in a period for each key, and counts the others. Thread-safe.

    There are never more than `most_keys`: those that come when all are in use share one.
    """

    def __init__(self, *, most: int, period_s: float, most_keys: int) -> None:
        self._most = most
        self._period_s = period_s
        self._most_keys = most_keys
        self._periods: dict[str, _Period] = {}
        self._lock = threading.Lock()

    def count(self, key: str, by: Caller) -> int | None:
        """None: this one is left out. Else how many were since the last one that was not."""
        with self._lock:
            period = self._period(key, by)
            period.last = by
            if period.let_through >= self._most:
                period.left_out += 1
                return None
            period.let_through += 1
            left_out, period.left_out = period.left_out, 0
            return left_out

    def ended(self) -> list[tuple[Caller, int]]:
        """Forgets the periods that are over; the last caller, and how many were left out, of those where some were."""
        with self._lock:
            over = [key for key, period in self._periods.items() if self._is_over(period)]
            periods = [self._periods.pop(key) for key in over]
        return [(period.last, period.left_out) for period in periods if period.left_out]

    def _period(self, key: str, by: Caller) -> _Period:
        if key not in self._periods and len(self._periods) >= self._most_keys - 1:
            key = ""
        period = self._periods.setdefault(key, _Period(time.monotonic(), by))
        if self._is_over(period):
            period.begun_s, period.let_through = time.monotonic(), 0
        return period

    def _is_over(self, period: _Period) -> bool:
        return time.monotonic() - period.begun_s >= self._period_s


def _host(address: str) -> str:
    """Without the port, if there is one: a proxy says none."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address.rpartition(":")[0]
