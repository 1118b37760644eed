"""What says no in an answer that says yes: the fields by which catalogs and what stands before them tell of failures.

An answer of 200 or 201 with one of them is no success: whether the item is there, a look-up says. Names are taken
without regard to case, `_` and `-`; of names that are then the same each is judged. What is not known here contradicts
nothing (`id`, `message`, `warnings`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import orjson

from blade_server.catalog.failures import printable, words_of

_YES = {"ok", "success", "succeeded", "successful", "created", "replaced", "updated", "stored", "saved", "done"}
_YES |= {"inserted", "upserted", "complete", "completed", "true", "yes"}
_NOTHING = {"", "0", "ok", "none", "null", "no", "false", "success"}
"""What stands for no error in a field for errors."""
_NO = {"error", "fail", "failed", "failure", "rejected", "refused", "denied", "invalid", "aborted", "false", "no"}


class Contradiction(NamedTuple):
    """The catalog's own words, on one line, and the status that it names in its answer, if it names one."""

    words: str
    status: int | None


def contradiction(said: Mapping[str, Any], *, stores: bool) -> Contradiction | None:
    """What speaks against the success that an object tells of; `stores`: it answers for an upload.

    In the answer to an upload an object under `data` or `result` has its say too.
    """
    own = _plain(said)
    inner = [pair for name, value in own if name in _INNER and isinstance(value, dict) for pair in _plain(value)]
    against = [pair for pair in own if _speaks_against(*pair, stores=stores)]
    statuses = dict(own) | dict(against)
    if stores:
        against += [pair for pair in inner if _speaks_against(*pair, stores=True)]
    if not against:
        return None
    named = (_number(statuses.get(name)) for name in _STATUSES)
    status = next((number for number in named if number is not None and 400 <= number <= 599), None)
    words = words_of(dict(inner) | dict(own) | dict(against))
    if words.lower() in _YES | _NOTHING:
        words = ", ".join(f"{name} is {_text(value)}" for name, value in against)
    return Contradiction(printable(words), status)


def only_words(said: Mapping[str, Any]) -> Contradiction | None:
    """Of an upload's whole answer: what it says in words, if nothing in it says that the item is stored."""
    own = dict(_plain(said))
    if own.keys() & _ANSWERS or says_stored(said):
        return None
    words = {name: own[name] for name in _WORDS if not _is_good_word(own.get(name))}
    return Contradiction(printable(words_of(words) or _text(words)), None) if any(words.values()) else None


def says_stored(said: Mapping[str, Any]) -> bool:
    """Whether an object tells of a success, such as a result with a status of 4xx all the same."""
    yes = (value for name, value in _plain(said) if name in {"outcome", "success", "ok", "stored"})
    return any(one is True or (isinstance(one, str) and one.lower() in _YES) for one in yes)


def says_replaced(said: Mapping[str, Any]) -> bool | None:
    """Whether the item took the place of another; None if nothing is said of that. `said` contradicts nothing."""
    outcome: str | None = said.get("outcome")
    if outcome is None:
        outcome = next((one for name, one in said.items() if one and name.lower() == "outcome"), None)
    return None if outcome is None else outcome.upper() == "REPLACED"


def envelope(said: Mapping[str, Any], refused: Collection[int] = ()) -> dict[str, Any]:
    """What an answer says of all its results, but for what these explain: that some are refused, or how many.

    `refused`: the numbers that it may tell.
    """
    return {name: value for name, value in said.items() if not _is_explained(name, value, refused)}


def _is_explained(name: str, value: object, refused: Collection[int]) -> bool:
    if name in _TOTALS and any(refused):
        return value is True or (type(value) is int and value in refused)
    return name == "status" and value == 207


def _plain(said: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name.lower().replace("_", "").replace("-", ""), value) for name, value in said.items()]


def _speaks_against(name: str, value: Any, *, stores: bool) -> bool:
    check = (_OF_UPLOADS if stores else _OF_ANY).get(name)
    if check is None and stores and name.startswith("err"):
        check = _is_no_error
    return check is not None and not check(value)


def _is_no_error(value: Any) -> bool:
    return not value or (isinstance(value, str) and value.strip().lower() in _NOTHING)


def _is_no_error_code(value: Any) -> bool:
    return _is_no_error(value) or (_is_numeric(value) and _is_good_code(value))


def _is_good_code(value: Any) -> bool:
    """0 or 2xx, also as text. A word may mean anything but what says no."""
    if not _is_numeric(value):
        return _is_not_denied(value or None)
    if isinstance(value, str):
        return not value.strip("0") or (len(value) == 3 and value[0] == "2")
    return value == 0 or 200 <= value <= 299  # type: ignore[no-any-return]


def _is_numeric(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.removeprefix("-").isdigit()
    return isinstance(value, int | float) and not isinstance(value, bool)


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


_TOTALS = frozenset({"errors", "hasErrors", "has_errors", "failed", "failures", "rejected"})
"""By which an answer to a batch tells that some were refused, or how many."""
_INNER = frozenset({"data", "result"})
_ANSWERS = frozenset({"itemid", "status", "outcome"})
"""The fields of the contract that answer for an item."""
_WORDS = ("detail", "message", "title")
_CODES = ("code", "statuscode", "httpstatus")
_STATUSES = ("status", *_CODES)
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
    **dict.fromkeys(_FAILURES, _is_no_error),
    **dict.fromkeys(("errorcode", "errcode", "errno"), _is_no_error_code),
    **dict.fromkeys(("errormessage", "errormsg", "errmsg"), _is_no_error),
    **dict.fromkeys(("success", "ok", "succeeded"), _holds),
    **dict.fromkeys(("stored", "accepted", "result", "state"), _is_not_denied),
    **dict.fromkeys(_CODES, _is_good_code),
    "status": _is_no_failure,
}
_OF_UPLOADS = _OF_ANY | {"status": _is_good_status, "outcome": _is_good_word}
