"""The content of an item: what makes two uploads the same item."""

from __future__ import annotations

import json
from typing import Any


def same_item(one: bytes, other: bytes) -> bool:
    """Whether two files (`blade_item.json`) say the same of an item, whichever jobs sent them.

    That is the file as parsed, without `metadata.job`: a catalog need not keep spaces or the order of names. Numbers
    are compared as they are written. What is no JSON is the same as nothing else.
    """
    if one == other:
        return True
    try:
        return bool(_content(one) == _content(other))
    except (ValueError, RecursionError):
        return False


def _content(file: bytes) -> Any:
    content = json.loads(file, parse_float=_as_written, parse_int=_as_written)
    if isinstance(content, dict) and isinstance(metadata := content.get("metadata"), dict):
        metadata.pop("job", None)
    return content


def _as_written(number: str) -> tuple[str]:
    return (number,)  # not the string, which is another value
