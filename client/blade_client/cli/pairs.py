"""Option values with a structure of their own: `key=value` pairs and comma-separated names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

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


class OneOf(click.Choice[str]):
    """One of some words, in any case; a misspelt one is told which it was probably meant to be."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(words, case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click does, with a suggestion."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as wrong:
            like = get_close_matches(str(value).upper(), [str(word).upper() for word in self.choices], n=1)
            if not like:
                raise
            self.fail(f"{wrong.message} Did you mean {like[0]}?", param, ctx)


def names(values: Iterable[str]) -> list[str]:
    """The names of a repeatable option whose values may be comma-separated lists."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
