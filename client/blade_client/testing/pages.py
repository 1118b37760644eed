"""Pages of a list: the token says how many entries are behind it, and of which list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from blade_client.testing.statuses import invalid

T = TypeVar("T")


def page_of(found: Sequence[T], request: Any, *, default: int) -> tuple[Sequence[T], str]:
    """The page that the request asks for by `page_size` and `page_token`, and the token of the next. Raises Invalid."""
    size = request.page_size if request.HasField("page_size") else default
    if not 1 <= size <= 1000:
        raise invalid("page_size", f"{size} is not between 1 and 1000")
    scope = _scope(request)
    begin, _, of = request.page_token.partition("@")
    if request.page_token and (of != scope or not begin.isdigit()):
        raise invalid("page_token", "is not the next_page_token of a list with the same filters")
    end = int(begin or 0) + size
    return found[int(begin or 0) : end], f"{end}@{scope}" if end < len(found) else ""


def _scope(request: Any) -> str:
    filters = type(request)()
    filters.CopyFrom(request)
    filters.ClearField("page_size")
    filters.ClearField("page_token")
    return bytes(filters.SerializeToString(deterministic=True)).hex()
