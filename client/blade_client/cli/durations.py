"""Spans of time: options that take one, and how one is shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from blade_client.spans import parse_span


class Span(click.ParamType[timedelta]):
    """One or more numbers, each with its unit: `1h30m`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Refuses anything else."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_span(value)
        except ValueError as wrong:
            self.fail(str(wrong), param, ctx)


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
