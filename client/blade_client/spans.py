"""Spans of time as people write them: `90s`, `15m`, `1h30m`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhd])", re.ASCII)


def parse_span(text: str) -> timedelta:
    """One or more numbers, each with its unit.

    Raises:
        ValueError: It is none, or too long.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no time: write for example 90s, 15m, 1h30m or 7d.")
    try:
        return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
    except OverflowError as wrong:
        raise ValueError(f"{text!r} is too long a time.") from wrong
