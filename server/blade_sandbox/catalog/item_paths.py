"""The address of one item: /v1/items/{dataSource}/{itemId}, both percent-encoded."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

WANTED = "an item is at /v1/items/{dataSource}/{itemId}, both percent-encoded and neither of them empty"


def parse(path: str) -> tuple[str, str]:
    """Data source and item id of what follows /v1/items/, as it came; raises ValueError for any other form."""
    data_source, item_id = (unquote_to_bytes(part).decode() for part in path.split("/"))
    if not data_source or not item_id:
        raise ValueError(WANTED)
    return data_source, item_id
