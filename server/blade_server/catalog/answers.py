"""What the catalog's answers say, checked: an answer that cannot be right is CatalogUnavailable, never a guess.

`failures` is for answers that say no; these are those that say yes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

from blade_server.catalog.bodies import body_object
from blade_server.catalog.contradictions import (
    Contradiction,
    contradiction,
    envelope,
    only_words,
    says_replaced,
    says_stored,
)
from blade_server.catalog.failures import Answer, may_be_at_work, may_pass, nonsense, printable, words_of


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the catalog says it takes. `max_batch_items` 1: no batches."""

    max_batch_items: int = 1
    max_request_bytes: int = sys.maxsize
    can_look_up: bool = False
    replaces: bool = False
    """An item that is sent again takes the place of the one that is there."""
    honours_keys: bool = False
    """A request that is sent again under its Idempotency-Key stores nothing more, also while the first is at work."""
    deletes: bool = False
    max_delete_items: int = 1
    """1: no batches of deletes."""
    lists: bool = False
    catalog_id: str = ""
    """What tells this catalog from any other, whatever its URL; empty: it does not say."""


class Refusal(NamedTuple):
    """Why an item is not stored, in the catalog's own words.

    For good unless `retry`: then the catalog could not say (a status of the kind of 429 or 5xx for this item, an answer
    that contradicts itself, or the rest of an upload was not sent) and the item may be sent again once a look-up shows
    that it is not there.
    """

    reason: str
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of the items of an upload, by their places in it: those that are not refused are stored.

    Of those that are: `doubted` were answered with success and failure in one, so that a look-up has to say which, and
    `at_work` may be stored yet.
    """

    refused: dict[int, Refusal] = field(default_factory=dict)
    replaced: set[int] = field(default_factory=set)
    """Stored in the place of an older item of the same id."""
    doubted: set[int] = field(default_factory=set)
    at_work: set[int] = field(default_factory=set)

    def update(self, other: Uploaded, places: Sequence[int]) -> None:
        """Takes in what became of those at these places."""
        self.refused.update((places[at], refusal) for at, refusal in other.refused.items())
        for mine, theirs in (
            (self.replaced, other.replaced),
            (self.doubted, other.doubted),
            (self.at_work, other.at_work),
        ):
            mine.update(places[at] for at in theirs)


_COUNTS = {"maxBatchItems": 1, "maxRequestBytes": sys.maxsize, "maxDeleteItems": 1}
"""What capabilities count, and how many it is where they do not say."""


_MAX_CATALOG_ID = 200
_PLAIN = frozenset({"itemId", "status", "outcome"})
"""The fields of a result of the contract."""
_OUTCOMES = (None, "CREATED", "REPLACED")  # no set: whatever is looked for in it need not be hashable


@dataclass(frozen=True, kw_only=True)
class AnswerParser:
    """Parses answers of the catalog at a URL. All methods raise CatalogUnavailable."""

    catalog: str

    def capabilities(self, answer: Answer) -> Capabilities:
        """Of a 200; what is left out is the careful choice."""
        said = self._sound(answer)
        items, size, deletes = (_count(said.get(name), default) for name, default in _COUNTS.items())
        if items is None or size is None or deletes is None:
            what = ", ".join(f"{name} {printable(str(said[name]))}" for name in _COUNTS if name in said)
            raise nonsense(f"says what cannot be of what it takes ({what})", catalog=self.catalog, stores=False)
        return Capabilities(
            max_batch_items=items,
            max_request_bytes=size,
            can_look_up=said.get("lookup") is True,
            replaces=said.get("replacesById") is True,
            honours_keys=said.get("idempotencyKeys") is True,
            deletes=said.get("deletes") is True,
            max_delete_items=deletes,
            lists=said.get("list") is True,
            catalog_id=self._catalog_id(said.get("catalogId")),
        )

    def _catalog_id(self, said: object) -> str:
        if said is None:
            return ""
        if not isinstance(said, str) or len(said) > _MAX_CATALOG_ID or not said.isprintable():
            what = f"has a catalogId that is no text of at most {_MAX_CATALOG_ID} characters: {printable(str(said))}"
            raise nonsense(what, catalog=self.catalog, stores=False)
        return said

    def found(self, answer: Answer, asked: Sequence[str]) -> set[str]:
        """The ids of a look-up, all of them asked for."""
        found = self._sound(answer).get("found")
        wanted = set(asked)
        if not isinstance(found, list) or not all(isinstance(one, str) and one in wanted for one in found):
            raise nonsense("answered a look-up with ids it was not asked for", catalog=self.catalog, stores=False)
        return set(found)

    def _sound(self, answer: Answer) -> dict[str, Any]:
        """An object in which nothing tells of a failure, in answer to a question."""
        said = body_object(answer, catalog=self.catalog, stores=False)
        against = contradiction(said, stores=False)
        if against is not None:
            what = f"answered {answer.status} and contradicts itself: {against.words}"
            raise nonsense(what, catalog=self.catalog, stores=False)
        return said

    def item(self, answer: Answer, item_id: str) -> bytes | None:
        """Of a 200 to the question for an item: its file; None if the answer says after all that it is not there."""
        said = body_object(answer, catalog=self.catalog, stores=False)
        if said.get("itemId") == item_id:
            return answer.body
        against = contradiction(said, stores=False)
        if against is None or against.status not in {404, 410}:
            words = f": {against.words}" if against else ""
            what = f"gave something else when it was asked for the item {printable(item_id)!r}{words}"
            raise nonsense(what, catalog=self.catalog, stores=False)
        return None

    def single(self, answer: Answer, item_id: str, *, took_s: float = 0.0) -> Uploaded:
        """Of a 200 or 201 to the upload of one item. Whatever is left out of it contradicts nothing."""
        said = body_object(answer, catalog=self.catalog, stores=True)
        parts = [said]
        if isinstance(results := said.pop("results", None), list):
            if len(results) != 1 or not isinstance(results[0], dict):
                raise nonsense(f"answered for {len(results)} items and was sent one", catalog=self.catalog, stores=True)
            parts = [results[0], envelope(said)]
        if any(part.get("itemId", item_id) != item_id for part in parts):
            raise self._another(item_id)
        found = [against for part in parts if (against := contradiction(part, stores=True))]
        against = found[0] if found else only_words(parts[0])
        uploaded = Uploaded()
        if against is not None:
            _doubt(uploaded, 0, against, answer.status, took_s)
        elif _replaced(said | parts[0], answer.status):
            uploaded.replaced.add(0)
        return uploaded

    def batch(self, answer: Answer, item_ids: Sequence[str], *, took_s: float = 0.0) -> Uploaded:
        """Of a 200 or 207 to a batch of these, which took so long: one result each, in order, that speaks for itself.

        Where the rest of the answer says no, the results that say yes are doubted.
        """
        said = body_object(answer, catalog=self.catalog, stores=True)
        results = said.pop("results", None)
        if not isinstance(results, list) or len(results) != len(item_ids):
            words = words_of(said)
            what = f"did not answer for all {len(item_ids)} items" + (f": {printable(words)}" if words else "")
            raise nonsense(what, catalog=self.catalog, stores=True)
        uploaded = Uploaded() if _all_created(results, item_ids) else self._each(results, item_ids, took_s)
        if said and (against := contradiction(envelope(said, {len(uploaded.refused)}), stores=True)):
            # It names no item: none is refused for good by it.
            refusal = Refusal(f"the answer to its batch contradicts itself: {against.words}", retry=True)
            stored = [place for place in range(len(item_ids)) if place not in uploaded.refused]
            uploaded.refused.update(dict.fromkeys(stored, refusal))
            uploaded.doubted.update(stored)
            uploaded.replaced.clear()
            if against.status is not None and may_be_at_work(against.status, took_s):
                uploaded.at_work.update(stored)
        return uploaded

    def _each(self, results: Sequence[Any], item_ids: Sequence[str], took_s: float) -> Uploaded:
        uploaded = Uploaded()
        for place, (result, item_id) in enumerate(zip(results, item_ids, strict=True)):
            said = result if isinstance(result, dict) else {}
            status = self._status(said, item_id)
            if status >= 400:
                uploaded.refused[place] = Refusal(_rejection(status, words_of(said)), retry=may_pass(status))
                if says_stored(said):
                    uploaded.doubted.add(place)
                if may_be_at_work(status, took_s):
                    uploaded.at_work.add(place)
            elif against := self._contradiction(said):
                _doubt(uploaded, place, against, status, took_s)
            elif _replaced(said, status):
                uploaded.replaced.add(place)
        return uploaded

    def _status(self, said: Mapping[str, Any], item_id: str) -> int:
        """200, 201 or from 400 to 599."""
        status, named = said.get("status"), said.get("itemId")
        stored = status in (200, 201)  # whatever it is: a list cannot be looked for in a set
        # Of an item it cannot read the catalog knows no id.
        if type(status) is not int or (named != item_id and (stored or named is not None)):
            raise self._another(item_id)
        if not (stored or 400 <= status <= 599):
            raise nonsense(f"answered an item with status {status}", catalog=self.catalog, stores=True)
        return status

    @staticmethod
    def _contradiction(said: Mapping[str, Any]) -> Contradiction | None:
        if said.keys() <= _PLAIN and said.get("outcome") in _OUTCOMES:  # nearly always
            return None
        return contradiction(said, stores=True)

    def _another(self, item_id: str) -> Exception:
        what = f"answered for another item than {printable(item_id)!r}"
        return nonsense(what, catalog=self.catalog, stores=True)


def _doubt(uploaded: Uploaded, place: int, against: Contradiction, status: int, took_s: float) -> None:
    """Of an item that was answered with success and failure in one."""
    refusal = Refusal(f"its answer ({status}) contradicts itself: {against.words}", retry=True)
    if against.status is not None:
        refusal = Refusal(_rejection(against.status, against.words), retry=may_pass(against.status))
        if may_be_at_work(against.status, took_s):
            uploaded.at_work.add(place)
    uploaded.refused[place] = refusal
    uploaded.doubted.add(place)


def _rejection(status: int, words: str) -> str:
    return f"the catalog rejected it ({status})" + (f": {printable(words)}" if words else "")


def _replaced(said: Mapping[str, Any], status: int) -> bool:
    replaced = says_replaced(said)
    return status == 200 if replaced is None else replaced


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
        answered = [(len(one), one["itemId"], one["status"], one["outcome"]) for one in results]
    except (KeyError, TypeError):
        return False
    return answered == list(zip(repeat(len(_PLAIN)), item_ids, repeat(201), repeat("CREATED")))
