"""A due time of a sync on its way to what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from blade_server.model.access import Caller
from blade_server.model.new_job import NewJob
from blade_server.model.sync import FireOutcome, Sync


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


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What is to become of a sync whose due time has come (`due`), or whose run waited for another to end (None).

    `new` is the job to start, in the name of `by`; `otherwise` what becomes of the due time where there is none.
    """

    sync: Sync
    due: Due | None
    by: Caller
    new: NewJob | None = None
    otherwise: tuple[FireOutcome, str] | None = None
