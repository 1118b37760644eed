"""Whether a server is ready for calls, and if not, why: one answer for probes, gRPC health and metrics.

Warehouse and catalog are shown and count for nothing: without them calls are answered and jobs wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from blade_server.metrics.families import CATALOG_UP, WAREHOUSE_UP
from blade_server.model.destination import DEFAULT_DESTINATION
from blade_server.storage.clock import MOST_S, Clock
from blade_server.storage.pulse import Pulse
from blade_server.web.probes import Check

log = logging.getLogger(__name__)


class Readiness:
    """Any thread."""

    def __init__(self) -> None:
        """Of a server that is starting."""
        self.on_change: Callable[[], None] = lambda: None
        """Called, in whatever thread finds it out, when `ready` may have changed."""
        self._pulse: Pulse | None = None
        self._clock: Clock | None = None
        self._phase = "starting"
        self._was_ready: bool | None = None

    @property
    def ready(self) -> bool:
        """Whether nothing is in the way."""
        return not any(check.counts and check.trouble for check in self.checks())

    @property
    def postgres_up(self) -> bool:
        """Whether PostgreSQL answered when it was asked last."""
        return self._pulse is not None and not self._pulse.trouble

    def checks(self) -> list[Check]:
        """What was looked at, with what is wrong."""
        pulse, clock = self._pulse, self._clock
        return [
            Check(name="postgres", trouble="is not known yet" if pulse is None else pulse.trouble),
            Check(name="migrations", trouble="are not done yet" if clock is None else ""),
            Check(
                name="clock",
                trouble=f"is more than {MOST_S:.0f} s off PostgreSQL's" if clock is not None and clock.wrong else "",
            ),
            Check(name="server", trouble=self._phase and f"is {self._phase}"),
            Check(name="warehouse", trouble=_words(WAREHOUSE_UP.well()), counts=False),
            Check(name="catalog", trouble=_words(CATALOG_UP.well(DEFAULT_DESTINATION)), counts=False),
        ]

    def follow(self, pulse: Pulse, clock: Clock) -> None:
        """The tables are up to date; whoever calls this has PostgreSQL looked at from here on."""
        self._pulse, self._clock = pulse, clock
        clock.on_change = self.look

    def serves(self) -> None:
        """All of it listens."""
        self._phase = ""
        self.look()

    def stops(self) -> None:
        """Nobody else is to come."""
        self._phase = "stopping"
        self.look()

    def look(self) -> None:
        """Something has changed."""
        ready = self.ready
        if self._phase != "stopping" and self._was_ready not in (None, ready):
            troubles = "; ".join(
                f"{check.name} {check.trouble}" for check in self.checks() if check.counts and check.trouble
            )
            if ready:
                log.info("this server is ready again")
            else:
                log.warning("this server is not ready: %s", troubles)
        self._was_ready = ready
        self.on_change()


def _words(well: bool | None) -> str:
    if well is None:
        return "was not asked yet"
    return "" if well else "did not answer well when it was asked last"
