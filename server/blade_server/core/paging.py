"""Page tokens: where the next page begins, opaque to callers and bound to the list they came from."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from hashlib import blake2b

from blade_server.errors import Invalid

MAX_PAGE_SIZE = 1000
MAX_PAGE_TEXT = 8 << 20
"""A page ends early where the SQL in it comes to more."""
_DIGEST_BYTES = 6


def make_token(after: str, *, scope: str) -> str:
    """A token for what comes behind `after`. `scope` is what the list was asked for: its kind and its filters."""
    payload = json.dumps([after]).encode()
    return base64.urlsafe_b64encode(_digest(payload, scope) + payload).decode().rstrip("=")


def read_token(token: str, *, scope: str) -> str:
    """What `make_token` was given; "" for no token.

    Raises:
        Invalid: no token of this list with these filters, or a forged one that names nothing.
    """
    if not token:
        return ""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if digest == _digest(payload, scope) and (after := str(json.loads(payload)[0])).isprintable():
            return after
    except (ValueError, LookupError, TypeError, RecursionError):  # anybody can make a digest
        pass
    raise Invalid.field(
        "page_token", "is not the next_page_token of a list with the same filters; begin again without a token"
    )


def page_size(asked: int | None, *, default: int, most: int = MAX_PAGE_SIZE) -> int:
    """The size of a page.

    Raises:
        Invalid: outside 1 to `most`.
    """
    size = default if asked is None else asked
    if not 1 <= size <= most:
        raise Invalid.field("page_size", f"{size} is not between 1 and {most}")
    return size


def fitting(texts: Iterable[str]) -> int:
    """How many of these, with a text of its own each, go into one page; at least one."""
    size = count = 0
    for count, text in enumerate(texts):
        size += len(text)
        if size > MAX_PAGE_TEXT and count:
            return count
    return count + 1


def _digest(payload: bytes, scope: str) -> bytes:
    return blake2b(payload + b"\0" + scope.encode(), digest_size=_DIGEST_BYTES).digest()
