"""A due time of a sync on its way to what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Due:
    """The due times of a sync that have come by now, and the one that is next.

    `time` is the one that a run starts for; None: they all went by. `missed` of them went by, the first at
    `first_missed`; `more_missed`: there are too many to be counted.
    """

    time: datetime | None
    next_time: datetime | None
    missed: int = 0
    first_missed: datetime | None = None
    more_missed: bool = False
