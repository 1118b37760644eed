"""Points in time as they stand in a statement."""

from __future__ import annotations

import datetime
import zoneinfo

from blade_sandbox.warehouse.errors import unsupported


def timestamp(text: str, zone: str, where: str) -> datetime.datetime:
    """The time of a text, which is of this zone unless it names one.

    Raises:
        SqlError: it is none; ``where`` says in what it stands.
    """
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError as exc:
        raise unsupported(f"{where} anything but a timestamp in quotes") from exc
    return at.replace(tzinfo=zoneinfo.ZoneInfo(zone)) if at.tzinfo is None else at
