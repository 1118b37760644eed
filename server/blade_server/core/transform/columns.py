"""Finds columns by name as Databricks does (an exact match first, then without regard to case), and rows by a mask."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import values
from blade_server.errors import Precondition, Reason

_SHOWN = 20


def find_column(names: Sequence[str], wanted: str) -> int | None:
    """Position of the column, or None if there is none, or if several differ from it only by case."""
    if wanted in names:
        return names.index(wanted)
    folded = wanted.casefold()
    found = [position for position, name in enumerate(names) if name.casefold() == folded]
    return found[0] if len(found) == 1 else None


def require_column(names: Sequence[str], wanted: str, field: str, way_out: str = "") -> int:
    """Position of the column that the mapping's `field` names.

    Raises:
        Precondition: MISSING_COLUMN, naming the column, the field, and what there is instead; `way_out` is said last.
    """
    position = find_column(names, wanted)
    if position is not None:
        return position
    folded = wanted.casefold()
    same = [name for name in names if name.casefold() == folded]
    close = same or get_close_matches(wanted, names, n=3) or list(names)
    shown = ", ".join(close[:_SHOWN]) + (", ..." if len(close) > _SHOWN else "") + way_out
    verb = "is ambiguous among" if same else "is not among"
    raise Precondition(
        f"column {wanted!r}, which {field} names, {verb} the {len(names)} columns of the result; there: {shown}",
        reason=Reason.MISSING_COLUMN,
        metadata={"column": wanted, "field": field},
    )


def rows_where(mask: pa.BooleanArray) -> list[int]:
    """Numbers of the rows where the mask is true; quick where there are none, as nearly always."""
    if not pc.any(mask).as_py():
        return []
    return values(pc.indices_nonzero(mask))
