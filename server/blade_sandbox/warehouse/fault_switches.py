"""Fault switches: the warehouse misbehaves on purpose, over its own HTTP port.

``POST /sandbox/faults`` sets switches, ``GET`` shows them, ``DELETE`` takes all of them back; each call
needs the token. See the package docstring for the list.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(kw_only=True)
class Failure:
    """Answer the next ``count`` calls with an HTTP status.

    Attributes:
        call: only this Thrift call (``ExecuteStatement``), or ``download`` for result files; None: any Thrift call.
        retry_after: seconds for the Retry-After header; None: no header.
    """

    count: int = 1
    code: int = 503
    retry_after: int | None = None
    call: str | None = None


@dataclass(kw_only=True)
class Drop:
    """Do the next ``count`` calls, then close the connection instead of answering."""

    count: int = 1
    call: str | None = None


_NUMBERS = ("slow_fetch_ms", "slow_execute_ms")
_SWITCHES = {*_NUMBERS, "fail_next", "drop_reply", "short_result", "starting", "expire_sessions", "kill"}


class FaultSwitches:
    """The switches as they stand. Safe for concurrent use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """All switches off."""
        with self._lock:
            self._fail: Failure | None = None
            self._drop: Drop | None = None
            self._short_rows = 0
            self._starting_until = 0.0
            self._slow = {"slow_fetch_ms": 0.0, "slow_execute_ms": 0.0}

    def set(self, switches: dict[str, Any]) -> None:
        """Turn switches on; ``expire_sessions`` and ``kill`` are for the server to act on and are not kept.

        Raises:
            ValueError: an unknown switch, or a value that does not fit; nothing is changed then.
        """
        unknown = set(switches) - _SWITCHES
        if unknown:
            raise ValueError(f"unknown fault {sorted(unknown)[0]!r}; known are {', '.join(sorted(_SWITCHES))}")
        try:
            fail = Failure(**switches["fail_next"]) if switches.get("fail_next") else None
            drop = Drop(**switches["drop_reply"]) if switches.get("drop_reply") else None
            short = int((switches.get("short_result") or {}).get("rows", 0))
            starting = float((switches.get("starting") or {}).get("seconds", 0))
            slow = {name: float(switches[name]) for name in _NUMBERS if name in switches}
        except (TypeError, AttributeError) as exc:
            raise ValueError(f"a fault has a value it does not know: {exc}") from exc
        with self._lock:
            self._slow.update(slow)
            if "fail_next" in switches:
                self._fail = fail
            if "drop_reply" in switches:
                self._drop = drop
            if "short_result" in switches:
                self._short_rows = short
            if "starting" in switches:
                self._starting_until = time.monotonic() + starting

    def shown(self) -> dict[str, Any]:
        """The switches that are on."""
        with self._lock:
            return {
                "fail_next": asdict(self._fail) if self._fail and self._fail.count else None,
                "drop_reply": asdict(self._drop) if self._drop and self._drop.count else None,
                "short_result": {"rows": self._short_rows} if self._short_rows else None,
                "starting": {"seconds": round(self._starting_left(), 3)} if self._starting_left() else None,
                **self._slow,
            }

    def failure(self, call: str) -> Failure | None:
        """What to answer to this call instead of doing it; counts down."""
        with self._lock:
            left = self._starting_left()
            if left and call != "download":
                return Failure(code=503, retry_after=max(1, round(left)))
            if self._fail is None or self._fail.count <= 0 or not _meant(self._fail.call, call):
                return None
            self._fail.count -= 1
            return self._fail

    def drops_reply(self, call: str) -> bool:
        """Whether this call's answer gets lost; counts down."""
        with self._lock:
            if self._drop is None or self._drop.count <= 0 or not _meant(self._drop.call, call):
                return False
            self._drop.count -= 1
            return True

    def slow_s(self, switch: str) -> float:
        """Seconds to wait, for ``slow_fetch_ms`` or ``slow_execute_ms``."""
        with self._lock:
            return self._slow[switch] / 1000

    def short_rows(self) -> int:
        """Rows to lose silently from a result that has more."""
        with self._lock:
            return self._short_rows

    def _starting_left(self) -> float:
        return max(0.0, self._starting_until - time.monotonic())


def _meant(wanted: str | None, call: str) -> bool:
    return call != "download" if wanted is None else wanted == call
