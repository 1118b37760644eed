"""Destinations: catalogs by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

DEFAULT_DESTINATION = "default"
"""The server's own catalog, of BLADE_CATALOG_URL."""


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A catalog by name; see `blade.v1.Destination`.

    `credentials` and `ca_file` are references. `items_per_second` holds over all jobs and replicas, 0: no limit.
    `timeout_s` 0: the server's. `ceiling`: the highest classification of items that go there; empty: any.
    `catalog_id`: what the catalog said last that tells it from others; empty: it does not say.
    """

    name: str
    url: str
    display_name: str = ""
    credentials: str = ""
    ca_file: str = ""
    items_per_second: float = 0.0
    timeout_s: float = 0.0
    ceiling: str = ""
    catalog_id: str = ""
    etag: str = ""
    create_time: datetime | None = None
    update_time: datetime | None = None

    @property
    def identity(self) -> str:
        """What tells the catalog from any other: its id, or else its URL."""
        return self.catalog_id or self.url.rstrip("/")
