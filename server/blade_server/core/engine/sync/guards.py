"""What holds deletes back: a reading that says nothing of what is gone, and deletes that are too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from blade_server.model.sync import Guards
from blade_server.model.sync_report import Withheld

SHARE_FROM = 20
"""So many items must be known for a share of them to mean something."""


class Objection(NamedTuple):
    """Why deletes are withheld, and the same in words."""

    reason: Withheld
    words: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One reading of all rows."""

    rows: int
    announced: int | None
    rows_without_id: int
    spec_changed: bool
    above_ceiling: int = 0


def mistrusted(reading: Reading) -> Objection | None:
    """Why a reading says nothing of what is gone; None: it does."""
    if reading.rows != reading.announced:
        return Objection(Withheld.ROWS_MISSING, f"{reading.rows} rows were read and {reading.announced} were announced")
    if not reading.rows:
        return Objection(Withheld.NO_ROWS, "the source has no rows")
    if reading.rows_without_id:
        return Objection(
            Withheld.ROWS_WITHOUT_ID,
            f"{reading.rows_without_id} rows have no item id, so nobody can say which items are theirs",
        )
    if reading.above_ceiling:
        return Objection(
            Withheld.NOT_ALL_ROWS,
            f"{reading.above_ceiling} rows are above the ceiling of the destination, and so not all rows were compared",
        )
    if reading.spec_changed:
        return Objection(
            Withheld.SPEC_CHANGED,
            "the query, the filter, the mapping or the key is not that of the last run over all rows",
        )
    return None


def too_many(guards: Guards, items: int, known: int) -> Objection | None:
    """Why not so many of the known items may be deleted at once; None: they may."""
    if known >= SHARE_FROM and items / known > guards.max_delete_share:
        share = f"more than max_delete_share ({guards.max_delete_share:.2%})"
        return Objection(Withheld.MAX_DELETE_SHARE, f"{items} of {known} known items would be deleted, {share}")
    if guards.max_deletes is not None and items > guards.max_deletes:
        return Objection(
            Withheld.MAX_DELETES, f"{items} items would be deleted, more than max_deletes ({guards.max_deletes})"
        )
    return None
