"""The answer to a request that is refused as a whole."""

from __future__ import annotations


class Refused(Exception):
    """The whole request gets this status; `details` stand beside the error in its answer."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: dict[str, str] | None = None,
        details: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.details = details or {}
