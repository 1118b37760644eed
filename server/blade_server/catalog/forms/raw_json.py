"""JSON in which some values are wanted as they are written: `1.10` is another number in a file than `1.1`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_DECODER = json.JSONDecoder()
_SPACES = " \t\n\r"


class RawJson:
    """Reads one text once, from front to end. Everything raises ValueError (or RecursionError) for what is no JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self) -> Any:
        """The value that begins here, parsed."""
        self._skip()
        found, self._at = _DECODER.raw_decode(self._text, self._at)
        return found

    def raw(self) -> str:
        """The value that begins here, as it is written."""
        self._skip()
        begin = self._at
        self.value()
        return self._text[begin : self._at]

    def members(self) -> Iterator[str]:
        """The names in the object that begins here; the value of each is to be read before the next name."""
        for _ in self._between("{", "}"):
            name = self.value()
            self._take(":")
            if not isinstance(name, str):
                raise ValueError(f"a name is a text, not {name!r}")
            yield name

    def elements(self) -> Iterator[None]:
        """Stands at each value of the array that begins here; it is to be read before the next one."""
        yield from self._between("[", "]")

    def end(self) -> None:
        """Raises ValueError if there is more."""
        self._skip()
        if self._at != len(self._text):
            raise ValueError("there is more after the end")

    def _between(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self._is(closing):
            return
        while True:
            yield
            if self._is(closing):
                return
            self._take(",")

    def _is(self, mark: str) -> bool:
        self._skip()
        found = self._text.startswith(mark, self._at)
        self._at += found
        return found

    def _take(self, mark: str) -> None:
        if not self._is(mark):
            raise ValueError(f"{mark} is missing at {self._at}")

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _SPACES:
            self._at += 1
