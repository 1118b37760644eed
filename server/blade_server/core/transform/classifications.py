"""Classifications are ordered: which of several is the highest, and columns of them raised to one."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import values
from blade_server.errors import Reason

ABOVE_CEILING = Reason.CLASSIFICATION_ABOVE_CEILING
"""Why a row does not become an item for a destination: not because of the row."""


def highest(order: Sequence[str], *given: str) -> str:
    """The highest of those given, "" being none; "" if none is given.

    Args:
        order: the known ones, lowest first.
        given: known ones or ""; one that is not known counts as the highest, so that it is not lost.
    """
    return max((one for one in given if one), key=lambda one: _rank(order, one), default="")


def is_above(order: Sequence[str], one: str, ceiling: str) -> bool:
    """Whether a classification is higher than a ceiling, "" being none; true of all if one of the two is not known."""
    return bool(ceiling) and not (ceiling in order and one in order and order.index(one) <= order.index(ceiling))


def raised(found: pa.StringArray, order: pa.StringArray, least: str) -> pa.StringArray:
    """The column with `least` in the place of what is lower; null and unknown values stay."""
    lower: pa.BooleanArray = pc.less(pc.index_in(found, order), pa.scalar(values(order).index(least), pa.int32()))
    higher: pa.StringArray = pc.if_else(pc.fill_null(lower, pa.scalar(False)), pa.scalar(least), found)
    return higher


def above(found: pa.StringArray, order: pa.StringArray, ceiling: str) -> pa.BooleanArray:
    """Which of a column are higher than a ceiling, which is a known one; null where nobody knows."""
    highest_one = pa.scalar(values(order).index(ceiling), pa.int32())
    higher: pa.BooleanArray = pc.greater(pc.index_in(found, order), highest_one)
    return higher


def _rank(order: Sequence[str], one: str) -> int:
    return order.index(one) if one in order else len(order)
