"""Classifications are ordered: which of several is the highest, and columns of them raised to one."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import values


def highest(order: Sequence[str], *given: str) -> str:
    """The highest of those given, "" being none; "" if none is given.

    Args:
        order: the known ones, lowest first.
        given: known ones or ""; one that is not known counts as the highest, so that it is not lost.
    """
    return max((one for one in given if one), key=lambda one: _rank(order, one), default="")


def raised(found: pa.StringArray, order: pa.StringArray, least: str) -> pa.StringArray:
    """The column with `least` in the place of what is lower; null and unknown values stay."""
    lower: pa.BooleanArray = pc.less(pc.index_in(found, order), pa.scalar(values(order).index(least), pa.int32()))
    higher: pa.StringArray = pc.if_else(pc.fill_null(lower, pa.scalar(False)), pa.scalar(least), found)
    return higher


def _rank(order: Sequence[str], one: str) -> int:
    return order.index(one) if one in order else len(order)
