"""This machine's wall clock beside PostgreSQL's, which all servers share.

Leases and rates go by PostgreSQL's clock alone. But what comes from elsewhere with a time of its own (links to results,
tokens, certificates) is judged by this machine's, and a wrong one makes good things look expired.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

NOW = "extract(epoch FROM clock_timestamp())::float8"
"""SQL for PostgreSQL's time, in seconds since 1970."""
MOST_S = 60.0
"""A clock that is further off than this is wrong."""


class Comparison:
    """One question to PostgreSQL: asked then, answered now."""

    def __init__(self) -> None:
        self.asked_s = time.time()
        self.database_s: float | None = None
        """PostgreSQL's time (`NOW`) at some moment in between."""


class Clock:
    """The comparison of one process. Any thread."""

    def __init__(self) -> None:
        self.off_s = 0.0
        """How far it is ahead of PostgreSQL's (behind: negative), once that is more than `MOST_S`; else 0."""
        self.offset_s = 0.0
        """How far it seems to be ahead, as PostgreSQL was asked last: half of the wait for the answer is uncertain."""
        self.on_change: Callable[[], None] = lambda: None
        """Called, in whatever thread finds it out, when the clock has become wrong or right."""

    @property
    def wrong(self) -> bool:
        """Whether it is."""
        return self.off_s != 0.0

    @contextmanager
    def comparing(self) -> Iterator[Comparison]:
        """Around a statement that brings PostgreSQL's time along."""
        comparison = Comparison()
        yield comparison
        if comparison.database_s is not None:
            self._heard(comparison.asked_s, comparison.database_s, time.time())

    def _heard(self, asked_s: float, database_s: float, answered_s: float) -> None:
        """The answer may be older than it looks: only what no wait explains counts."""
        self.offset_s = (asked_s + answered_s) / 2 - database_s
        ahead_s, behind_s = asked_s - database_s, database_s - answered_s
        was, self.off_s = self.wrong, ahead_s if ahead_s > MOST_S else -behind_s if behind_s > MOST_S else 0.0
        if self.wrong == was:
            return
        if self.wrong:
            way = "ahead of" if self.off_s > 0 else "behind"
            log.warning(
                "the clock of this machine is %.0f s %s PostgreSQL's: until they agree within %.0f s this server runs "
                "no jobs and is not ready; set the wrong one right",
                abs(self.off_s),
                way,
                MOST_S,
            )
        else:
            log.info("the clock of this machine agrees with PostgreSQL's again: this server runs jobs")
        self.on_change()
