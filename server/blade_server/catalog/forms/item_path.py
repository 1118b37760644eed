"""The path of one item."""

from __future__ import annotations

from urllib.parse import quote


def item_path(data_source: str, item_id: str) -> str:
    """`/v1/items/{dataSource}/{itemId}`, both percent-encoded."""
    return f"/v1/items/{_segment(data_source)}/{_segment(item_id)}"


def is_utf8(text: str) -> bool:
    """Whether it can be sent at all; nothing else is in a catalog."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _segment(text: str) -> str:
    """One segment of a path. The dots too, as `.` and `..` would be taken for steps in the path."""
    return quote(text, safe="").replace(".", "%2E")
