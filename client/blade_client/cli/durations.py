"""Spans of time as people write them: `90s`, `15m`, `1h30m`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhd])", re.ASCII)


class Span(click.ParamType[timedelta]):
    """One or more numbers, each with its unit."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Refuses anything else."""
        if isinstance(value, timedelta):
            return value
        parts = _PART.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is no time: write for example 90s, 15m, 1h30m or 7d.", param, ctx)
        try:
            return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
        except OverflowError:
            self.fail(f"{value!r} is too long a time.", param, ctx)


SPAN = Span()


def span_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`: as long a unit as fits, and the next one."""
    whole = round(seconds)
    minutes, rest_s = divmod(whole, 60)
    hours, rest_min = divmod(minutes, 60)
    days, rest_h = divmod(hours, 24)
    if days:
        return f"{days} d {rest_h} h" if rest_h else f"{days} d"
    if hours:
        return f"{hours} h {rest_min:02} min" if rest_min else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest_s:02} s" if rest_s else f"{minutes} min"
    return f"{seconds:g} s"
