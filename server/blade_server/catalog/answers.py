"""What the catalog's answers say, checked: an answer that cannot be right is CatalogUnavailable, never a guess.

`failures` is for answers that say no; these are those that say yes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

import orjson

from blade_server.catalog.failures import Answer, may_pass, nonsense, printable


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the catalog says it takes. `max_batch_items` 1: no batches."""

    max_batch_items: int = 1
    max_request_bytes: int = sys.maxsize
    can_look_up: bool = False
    replaces: bool = False
    """An item that is sent again takes the place of the one that is there."""


class Refusal(NamedTuple):
    """Why an item is not stored, in the catalog's own words.

    For good unless `retry`: then the catalog could not say (a status of the kind of 429 or 5xx for this item, or the
    rest of an upload was not sent) and the item may be sent again once a look-up shows that it is not there.
    """

    reason: str
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of the items of an upload, by their places in it: those that are not refused are stored."""

    refused: dict[int, Refusal] = field(default_factory=dict)
    replaced: set[int] = field(default_factory=set)
    """Stored in the place of an older item of the same id."""


_COUNTS = {"maxBatchItems": 1, "maxRequestBytes": sys.maxsize}
"""What capabilities count, and how many it is where they do not say."""


@dataclass(frozen=True, kw_only=True)
class AnswerParser:
    """Parses answers of the catalog at a URL. All methods raise CatalogUnavailable."""

    catalog: str

    def capabilities(self, answer: Answer) -> Capabilities:
        """Of a 200; what is left out is the careful choice."""
        said = self._object(answer, stores=False)
        items, size = (_count(said.get(name), default) for name, default in _COUNTS.items())
        if items is None or size is None:
            what = ", ".join(f"{name} {printable(str(said[name]))}" for name in _COUNTS if name in said)
            raise nonsense(f"says what cannot be of what it takes ({what})", catalog=self.catalog, stores=False)
        return Capabilities(
            max_batch_items=items,
            max_request_bytes=size,
            can_look_up=said.get("lookup") is True,
            replaces=said.get("replacesById") is True,
        )

    def found(self, answer: Answer, asked: Sequence[str]) -> set[str]:
        """The ids of a look-up, all of them asked for."""
        found = self._object(answer, stores=False).get("found")
        wanted = set(asked)
        if not isinstance(found, list) or not all(isinstance(one, str) and one in wanted for one in found):
            raise nonsense("answered a look-up with ids it was not asked for", catalog=self.catalog, stores=False)
        return set(found)

    def single(self, answer: Answer, item_id: str) -> Uploaded:
        """Of a 200 or 201 to the upload of one item."""
        said = self._object(answer, stores=True)
        return self._each([{"itemId": item_id} | said | {"status": answer.status}], [item_id])

    def batch(self, answer: Answer, item_ids: Sequence[str]) -> Uploaded:
        """Of a 200 to a batch of these: one result each, in order."""
        results = self._object(answer, stores=True).get("results")
        if not isinstance(results, list) or len(results) != len(item_ids):
            raise nonsense(f"did not answer for all {len(item_ids)} items", catalog=self.catalog, stores=True)
        return Uploaded() if _all_created(results, item_ids) else self._each(results, item_ids)

    def _each(self, results: Sequence[Any], item_ids: Sequence[str]) -> Uploaded:
        uploaded = Uploaded()
        for place, (result, item_id) in enumerate(zip(results, item_ids, strict=True)):
            said = result if isinstance(result, dict) else {}
            refusal = self._refusal(said, item_id)
            if refusal is not None:
                uploaded.refused[place] = refusal
            elif said.get("outcome", "REPLACED" if said["status"] == 200 else "CREATED") == "REPLACED":
                uploaded.replaced.add(place)
        return uploaded

    def _refusal(self, said: dict[str, Any], item_id: str) -> Refusal | None:
        status, named = said.get("status"), said.get("itemId")
        stored = status in (200, 201)  # whatever it is: a list cannot be looked for in a set
        # Of an item it cannot read the catalog knows no id.
        if type(status) is not int or (named != item_id and (stored or named is not None)):
            what = f"answered for another item than {printable(item_id)!r}"
            raise nonsense(what, catalog=self.catalog, stores=True)
        if stored:
            return None
        if not 400 <= status <= 599:
            raise nonsense(f"answered an item with status {status}", catalog=self.catalog, stores=True)
        words = said.get("error")
        reason = printable(words) if isinstance(words, str) else ""
        text = f"the catalog rejected it ({status})" + (f": {reason}" if reason else "")
        return Refusal(text, retry=may_pass(status))

    def _object(self, answer: Answer, *, stores: bool) -> dict[str, Any]:
        try:
            said = orjson.loads(answer.body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise nonsense("answered with something that is no JSON object", catalog=self.catalog, stores=stores)
        return said


def _count(said: object, default: int) -> int | None:
    """A number of at least one, also as some write it: 500.0. None if it cannot be right."""
    if said is None:
        return default
    if isinstance(said, bool) or not isinstance(said, int | float) or said != said // 1 or said < 1:
        return None
    return int(said)


def _all_created(results: Sequence[Any], item_ids: Sequence[str]) -> bool:
    """Whether every result plainly says that its item is new, as nearly all do; the others are looked at one by one."""
    try:
        answered = [(one["itemId"], one["status"], one["outcome"]) for one in results]
    except (KeyError, TypeError):
        return False
    return answered == list(zip(item_ids, repeat(201), repeat("CREATED")))
