"""Links in answers: where they begin and how long they work. CloudFetch results and files of volumes have them."""

from __future__ import annotations

from contextvars import ContextVar

LINK_LIFETIME_S = 900

BASE_URL: ContextVar[str] = ContextVar("BASE_URL")
"""Scheme, host and port the client of this request used; its links begin with it."""
