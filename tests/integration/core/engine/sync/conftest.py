"""Syncs beside what all tests of core share."""

from __future__ import annotations

from tests.support.syncs import make_sync_world

__all__ = ["make_sync_world"]
