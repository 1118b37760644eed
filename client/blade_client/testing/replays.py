"""Calls that may be repeated: the same request id with the same body answers as the first call did."""

from __future__ import annotations

from typing import Any

from blade_client.testing.statuses import invalid

MAX_CHARACTERS = 128


class Replays:
    """What was stored for which request id."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, Any]] = {}

    def answer(self, request_id: str, request: Any) -> Any:
        """What the first call stored, or None. Raises Invalid if that call had another body."""
        if len(request_id) > MAX_CHARACTERS:
            raise invalid("request_id", f"has {len(request_id)} characters; at most {MAX_CHARACTERS} are allowed")
        if request_id not in self._known:
            return None
        body, stored = self._known[request_id]
        if body != request.SerializeToString(deterministic=True):
            raise invalid("request_id", f"{request_id!r} was used with another body", reason="REQUEST_ID_REUSED")
        return stored

    def remember(self, request_id: str, request: Any, stored: Any) -> Any:
        """Keeps what was stored, and returns it."""
        if request_id:
            self._known[request_id] = (request.SerializeToString(deterministic=True), stored)
        return stored
