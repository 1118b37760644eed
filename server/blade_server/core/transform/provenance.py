"""Where an item comes from: the metadata it carries."""

from __future__ import annotations

from collections.abc import Mapping

from blade_server.model import Source


def item_metadata(source: Source, warehouse_id: str, pairs: Mapping[str, str] | None = None) -> dict[str, str]:
    """`source` and `warehouse`, then the fixed pairs of the source, then the caller's; later ones win."""
    return {"source": "databricks", "warehouse": warehouse_id, **source.mapping.metadata, **(pairs or {})}
