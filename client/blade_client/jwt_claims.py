"""What a JSON Web Token says, for whoever holds it; whether it is true is for the server to find out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any


def claims_of(token: str) -> Mapping[str, Any]:
    """Its claims; none if it is no such token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def end_of(token: str) -> float | None:
    """When it ends, in seconds since 1970; None: it does not say."""
    end = claims_of(token).get("exp")
    return float(end) if isinstance(end, (int, float)) else None


def is_for(token: str, audience: str) -> bool:
    """Whether that audience is among those that it is meant for."""
    said = claims_of(token).get("aud")
    return audience in (said if isinstance(said, list) else [said])
