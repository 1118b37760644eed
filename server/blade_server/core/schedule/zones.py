"""Time zones by their IANA names."""

from __future__ import annotations

from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from blade_server.errors import meant

_OF_THIS_MACHINE = frozenset({"localtime", "posixrules", "Factory"})
"""They mean something else on another server."""


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones()) - _OF_THIS_MACHINE


def check_zone(name: str) -> str:
    """What is wrong with the name of a zone; "" if nothing is."""
    if name in _names():
        return ""
    return f"{name[:80]!r} is no IANA time zone, as 'Europe/Berlin' and 'UTC' are{_meant(name)}"


def zone(name: str) -> ZoneInfo:
    """A zone whose name was checked."""
    return ZoneInfo(name)


def _meant(name: str) -> str:
    by_folded = {known.casefold(): known for known in _names()}
    exact = by_folded.get(name.casefold().replace(" ", "_"))
    if exact:
        return f"; did you mean {exact!r}?"
    cities = {known.rpartition("/")[2].casefold(): known for known in sorted(_names(), reverse=True)}
    city = cities.get(name.rpartition("/")[2].casefold().replace(" ", "_"))
    return f"; did you mean {city!r}?" if city else meant(name, _names())
