"""The token that the servers of a run let in, and those who call them show: it costs what it costs users."""

from __future__ import annotations

import os

from blade_server.core.access.tokens import new_token

TOKEN = os.environ.setdefault("BLADE_TOKEN", new_token()[1])
"""Processes that a figure starts have the same."""
HEADERS = {"authorization": f"Bearer {TOKEN}"}
METADATA = tuple(HEADERS.items())
