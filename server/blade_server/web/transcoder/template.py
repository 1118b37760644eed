"""Path templates of google.api.http (`/jobs/{job_id}:pause`): parsed once, matched against the raw, still encoded path.

The raw path matters: an item id may hold a slash as `%2F`, and a verb is only what stands behind a bare colon.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

_TOKEN = re.compile(
    r"\{(?P<field>[\w.]+)(?:=(?P<pattern>[^}]+))?\}|(?P<many>\*\*)|(?P<one>\*)|(?P<slash>/)|(?P<literal>[^{}*/]+)"
)
_ONE, _MANY = "[^/]+", ".+"


@dataclass(frozen=True, kw_only=True)
class Template:
    """One path template. `fields` are the field paths it binds, in order."""

    text: str
    fields: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "fields", tuple(found["field"] for found in _TOKEN.finditer(self.text) if found["field"])
        )

    @cached_property
    def shape(self) -> str:
        """The template without the names of its variables. Templates of one shape match the same paths."""
        return re.sub(r"\{[\w.]+(?:=([^}]+))?\}", lambda found: found[1] or "*", self.text)

    @cached_property
    def rank(self) -> tuple[tuple[bool, ...], bool]:
        """The greater, the more specific: literal segments count from the left, then a verb."""
        path, _, verb = self.shape.partition(":")
        return tuple("*" not in segment for segment in path.split("/")), bool(verb)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = []
        for found in _TOKEN.finditer(self.text):
            if found["field"]:
                parts.append(f"({_segments(found['pattern'] or '*')})")
            else:
                parts.append(_segments(found[0]))
        return re.compile("".join(parts))

    def match(self, raw_path: str) -> dict[str, str] | None:
        """The decoded values of the fields, None if the path is another one.

        Raises UnicodeDecodeError if a value is not UTF-8.
        """
        found = self._pattern.fullmatch(raw_path)
        if found is None:
            return None
        return {name: unquote(value, errors="strict") for name, value in zip(self.fields, found.groups(), strict=True)}


def _segments(pattern: str) -> str:
    return "".join(
        _MANY if found["many"] else _ONE if found["one"] else re.escape(found[0]) for found in _TOKEN.finditer(pattern)
    )
