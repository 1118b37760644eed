"""What says no in an answer that says yes: the fields by which catalogs and what stands before them tell of failures.

An answer of 200 or 201 with one of them is no success: whether the item is there, a look-up says. Names are taken
without regard to case, `_` and `-`. What is not known here contradicts nothing (`id`, `message`, `warnings`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from blade_server.catalog.failures import printable, words_of

_YES = {"ok", "success", "succeeded", "successful", "created", "replaced", "updated", "stored", "saved", "done"}
_YES |= {"inserted", "upserted", "complete", "completed", "true", "yes"}
_NO = {"error", "fail", "failed", "failure", "rejected", "refused", "denied", "invalid", "aborted", "false", "no"}


class Contradiction(NamedTuple):
    """The catalog's own words, on one line, and the status that it names in its answer, if it names one."""

    words: str
    status: int | None


def contradiction(said: Mapping[str, Any], *, stores: bool) -> Contradiction | None:
    """What speaks against the success that an object tells of; `stores`: it answers for an upload."""
    checks = _OF_UPLOADS if stores else _OF_ANY
    plain = {name.lower().replace("_", "").replace("-", ""): value for name, value in said.items()}
    against = [name for name, value in plain.items() if name in checks and not checks[name](value)]
    if not against:
        return None
    named = (_number(plain.get(name)) for name in _STATUSES)
    status = next((number for number in named if number is not None and 400 <= number <= 599), None)
    words = words_of(plain) or ", ".join(f"{name} is {_text(plain[name])}" for name in against)
    return Contradiction(printable(words), status)


def says_stored(said: Mapping[str, Any]) -> bool:
    """Whether a result with a status of 4xx tells of a success all the same."""
    yes = said.get("outcome"), said.get("success"), said.get("ok"), said.get("stored")
    return any(one is True or (isinstance(one, str) and one.lower() in _YES) for one in yes)


def _is_empty(value: Any) -> bool:
    return not value


def _holds(value: Any) -> bool:
    return value is None or value is True or value == 1 or (isinstance(value, str) and value.lower() in _YES)


def _is_not_denied(value: Any) -> bool:
    return not (value is False or value == 0 or (isinstance(value, str) and value.lower() in _NO))


def _is_good_status(value: Any) -> bool:
    """200 or 201, also as text, or a word for it."""
    return value is None or _number(value) in {200, 201} or (isinstance(value, str) and value.lower() in _YES)


def _is_no_failure(value: Any) -> bool:
    """No status of a failure; any other number or text may mean something else."""
    number = _number(value)
    return not (number is not None and 400 <= number <= 599) and _is_not_denied(value or None)


def _is_good_word(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in _YES)


def _number(value: Any) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        return int(value)
    return value if type(value) is int else None


def _text(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # it is nested more deeply than orjson writes, though not than it reads
        return "..."


_STATUSES = ("status", "code", "statuscode", "httpstatus")
_FAILURES = (
    "error",
    "errors",
    "exception",
    "fault",
    "failed",
    "failure",
    "failures",
    "rejected",
    "iserror",
    "haserrors",
)
_OF_ANY: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_FAILURES, _is_empty),
    **dict.fromkeys(("success", "ok", "succeeded"), _holds),
    **dict.fromkeys(("stored", "accepted", "result", "state"), _is_not_denied),
    **dict.fromkeys(_STATUSES, _is_no_failure),
}
_OF_UPLOADS = _OF_ANY | {"status": _is_good_status, "outcome": _is_good_word}
