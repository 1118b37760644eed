"""Where the address of a catalog is set, and what it must be."""

from __future__ import annotations

from dataclasses import dataclass

from blade_server.model.destination import DEFAULT_DESTINATION


@dataclass(frozen=True, kw_only=True)
class Origin:
    """`url`, `token` and `ca_file`: the names of the settings, as errors give them to whoever can change them.

    `loopback`: it may be on this machine. `catalog_id`: it is no other catalog than this one; empty: any.
    `destination`: its name.
    """

    url: str = "BLADE_CATALOG_URL"
    token: str = "BLADE_CATALOG_TOKEN"  # noqa: S105 - a name
    ca_file: str = "BLADE_CATALOG_CA_FILE"
    loopback: bool = True
    catalog_id: str = ""
    destination: str = DEFAULT_DESTINATION


OWN = Origin()
"""Of the server's own catalog."""
