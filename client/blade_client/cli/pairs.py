"""Option values with a structure of their own: `key=value` pairs and comma-separated names."""

from __future__ import annotations

from collections.abc import Iterable

import click


class Pair(click.ParamType[tuple[str, str]]):
    """`key=value`; the value may hold further equals signs and may be empty."""

    name = "key=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Splits at the first equals sign."""
        if isinstance(value, tuple):
            return value
        key, equals, rest = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not of the form key=value.", param, ctx)
        return key, rest


PAIR = Pair()


def names(values: Iterable[str]) -> list[str]:
    """The names of a repeatable option whose values may be comma-separated lists."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
