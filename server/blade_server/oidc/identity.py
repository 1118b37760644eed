"""Whom a provider's token is of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whom a token is of, and until when."""

    subject: str
    groups: frozenset[str]
    expire_time: datetime
