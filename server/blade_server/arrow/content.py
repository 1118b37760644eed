"""The content of an item: what makes two uploads the same item."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import orjson


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


def content_digest(file: bytes) -> bytes | None:
    """8 bytes that files share for which `same_item` holds, and others do not; None for what is no JSON.

    It is not the digest that a sync keeps (see `digests`), which is made of columns and not of a file.
    """
    fields = parsed(file)
    if fields is None:
        return None
    written = canonical(fields)
    return None if written is None else blake2b(written, digest_size=8).digest()


def parsed(file: bytes) -> Any:
    """What a file holds, without `metadata.job`, for `canonical`; None for what is no JSON."""
    try:
        content = json.loads(file, parse_float=_fragment, parse_int=_fragment, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    _forget_job(content)
    return content


def canonical(value: Any) -> bytes | None:
    """A value of a parsed file as JSON, names in their order and numbers as written; None: it is too deep."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a name or a text with half of a surrogate pair
        pass
    try:
        return b"\0" + orjson.dumps(_escaped(value), option=orjson.OPT_SORT_KEYS)
    except (TypeError, RecursionError):
        return None


def _content(file: bytes) -> Any:
    content = json.loads(file, parse_float=_as_written, parse_int=_as_written)
    _forget_job(content)
    return content


def _forget_job(content: Any) -> None:
    if isinstance(content, dict) and isinstance(metadata := content.get("metadata"), dict):
        metadata.pop("job", None)


def _as_written(number: str) -> tuple[str]:
    return (number,)  # not the string, which is another value


def _fragment(number: str) -> orjson.Fragment:
    return orjson.Fragment(number)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass").decode("latin-1")
        case list():
            return [_escaped(one) for one in value]
        case dict():
            return {_escaped(name): _escaped(one) for name, one in value.items()}
        case _:
            return value
