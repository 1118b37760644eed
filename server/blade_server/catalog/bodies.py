"""The body of an answer that says yes: a JSON object, or what it is instead."""

from __future__ import annotations

from typing import Any

import orjson

from blade_server.catalog.failures import Answer, nonsense, own_words


def body_object(answer: Answer, *, catalog: str, stores: bool) -> dict[str, Any]:
    """The object; raises CatalogUnavailable for anything else. `stores`: it answers a request that changes items."""
    try:
        said = orjson.loads(answer.body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        what = "answered with something that is no JSON object"
        raise nonsense(what, catalog=catalog, stores=stores, at_work=True)
    if is_problem(answer):
        what = f"answered {answer.status} with a problem: {own_words(answer.body)}"
        raise nonsense(what, catalog=catalog, stores=stores)
    return said


def is_page(answer: Answer) -> bool:
    """Whether a body is one that no catalog has for an item: a page for people, or a problem (RFC 9457)."""
    return _content_type(answer) in {"text/html", "application/xhtml+xml"} or is_problem(answer)


def is_problem(answer: Answer) -> bool:
    """Whether a body is a problem in the words of RFC 9457, whatever the status."""
    return _content_type(answer) == "application/problem+json"


def _content_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()
