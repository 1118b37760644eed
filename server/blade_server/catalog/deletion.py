"""Deletes of items, and what the catalog answers to them, checked.

A delete may be repeated: what is gone already is gone. So an answer that contradicts itself, or none at all, needs no
look-up; the item is deleted again. An item counts as gone only if the answer says so of it: a 404 that does not name
the item may be that of a gateway which knows no such path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from blade_server.catalog.answers import Capabilities, Refusal
from blade_server.catalog.bodies import body_object, is_page
from blade_server.catalog.contradictions import contradiction, envelope, says_stored
from blade_server.catalog.failures import (
    Answer,
    may_be_at_work,
    may_pass,
    nonsense,
    printable,
    refusal,
    words_of,
)
from blade_server.catalog.forms.item_path import is_utf8, item_path
from blade_server.catalog.offer import Offer
from blade_server.catalog.wire.pool import ConnectionPool
from blade_server.errors import CatalogRejected, CatalogUnavailable, Precondition, Reason

_DONE = frozenset({200, 204})
_NOT_THERE = frozenset({404, 410})
_NO_SUCH_METHOD = frozenset({405, 501})
_DONE_WORDS = frozenset({"200", "204", "deleted", "removed", "gone"})
"""What `status` and `outcome` may say of a delete, and not of an upload."""


@dataclass(slots=True)
class Deleted:
    """What became of the items of a delete, by their places in it: those that are not refused are gone.

    `at_work`: of those refused with `retry`, such as may be deleted yet. `interrupted`: why those that follow the last
    one answered for are among the refused, if that is so.
    """

    refused: dict[int, Refusal] = field(default_factory=dict)
    at_work: set[int] = field(default_factory=set)
    interrupted: CatalogUnavailable | Precondition | None = None

    def update(self, other: Deleted, places: Sequence[int]) -> None:
        """Takes in what became of those at these places."""
        self.refused.update((places[at], refusal) for at, refusal in other.refused.items())
        self.at_work.update(places[at] for at in other.at_work)


class Deletion:
    """Deletes in one catalog; `is_there(data_source, item_id)` asks it for one item. For all threads."""

    def __init__(self, pool: ConnectionPool, offer: Offer, is_there: Callable[[str, str], bool]) -> None:
        self._pool = pool
        self._url = pool.url
        self._offer = offer
        self._is_there = is_there

    def delete(
        self, data_source: str, item_ids: Sequence[str], scope: str, before_request: Callable[[], object]
    ) -> Deleted:
        """Deletes each item once and says what became of it: gone (also if it was never there), or refused.

        Takes any number, in as many requests as the catalog needs. 409, 412 and whatever else refuses one item keep
        it: that item is refused for good. A failure of a later request leaves what was answered before known: the
        items that are left are refused with `retry`, and `interrupted` says why. `before_request` is called right
        before each request; what it raises ends the delete there.

        `scope` is part of the Idempotency-Key. Under one scope an id is deleted once, and not sent again and deleted
        again: the second delete might be answered from the catalog's memory. Without one no key is sent.

        Raises:
            ValueError: An empty data source or item id.
            CatalogUnavailable: `maybe_stored` says whether any of the items may be gone, `at_work` whether yet.
            CatalogDenied: Nothing is deleted.
            CatalogRejected: Nothing of several is deleted; one of them, or all, are at fault: send fewer at once.
            Precondition: DELETE_REFUSED, the catalog deletes nothing.
        """
        if not data_source or not all(item_ids):
            raise ValueError("an item has a data source and an id, and neither is empty")
        can = self._offer.capabilities()
        if not can.deletes:
            raise _cannot_delete(self._url, "says that it deletes nothing")
        deleted, requests = Deleted(), list(_requests(data_source, item_ids, can))
        for number, places in enumerate(requests):
            ids = [item_ids[at] for at in places]
            try:
                done = self._send(data_source, ids, scope, before_request, batch=can.max_delete_items > 1)
            except (CatalogUnavailable, Precondition) as exc:  # which denied and rejected are too
                if isinstance(exc, CatalogRejected) and len(ids) == 1:
                    done = Deleted({0: Refusal(exc.message)})
                elif number == 0:
                    raise
                else:
                    _interrupt(deleted, exc, requests[number:])
                    break
            deleted.update(done, places)
        return deleted

    def _send(
        self, data_source: str, ids: Sequence[str], scope: str, before_request: Callable[[], object], *, batch: bool
    ) -> Deleted:
        headers = {}
        if scope:
            key = blake2b("\0".join(["delete", scope, data_source, *ids]).encode(), digest_size=16)
            headers["Idempotency-Key"] = key.hexdigest()
        before_request()
        began = time.monotonic()
        if not batch:
            answer = self._pool.request("DELETE", item_path(data_source, ids[0]), headers=headers, stores=True)
            return self._one(answer, data_source, ids[0], time.monotonic() - began)
        headers["Content-Type"] = "application/json"
        answer = self._pool.request("POST", "/v1/items:batchDelete", _body(data_source, ids), headers, stores=True)
        took_s = time.monotonic() - began
        if answer.status not in {200, 207}:
            error = self._offer.refusal(answer, "batches of deletes", stores=True, took_s=took_s)
            if answer.status in _NO_SUCH_METHOD | _NOT_THERE and not self._offer.capabilities().deletes:
                raise _cannot_delete(self._url, f"takes no deletes any more ({answer.status})")
            raise error
        return self._each(answer, ids, took_s)

    # ---------------------------------------------------------------------------------------------- one item

    def _one(self, answer: Answer, data_source: str, item_id: str, took_s: float) -> Deleted:
        status = answer.status
        if status in _NO_SUCH_METHOD:
            self._offer.forget()
            raise _cannot_delete(self._url, f"takes no deletes ({status})")
        if status in _NOT_THERE:
            if not _names(answer, item_id) and self._is_there(data_source, item_id):
                self._offer.forget()
                raise _cannot_delete(self._url, f"has an item, and answers {status} when it is to delete it")
            return Deleted()
        if status == 204 or (status == 200 and not answer.body.strip()):
            return Deleted()
        if status == 200:
            said = body_object(answer, catalog=self._url, stores=True)
            return self._judged([said], [item_id], status, took_s)
        raise refusal(answer, catalog=self._url, stores=True, took_s=took_s, origin=self._pool.origin)

    # ---------------------------------------------------------------------------------------------- a batch

    def _each(self, answer: Answer, ids: Sequence[str], took_s: float) -> Deleted:
        """Of a 200 or 207: one result each, in order, that speaks for itself; the rest may only doubt them all."""
        said = body_object(answer, catalog=self._url, stores=True)
        results = said.pop("results", None)
        if not isinstance(results, list) or len(results) != len(ids):
            words = words_of(said)
            what = f"did not answer for all {len(ids)} deletes" + (f": {printable(words)}" if words else "")
            raise nonsense(what, catalog=self._url, stores=True)
        deleted = self._judged(results, ids, answer.status, took_s, strict=True)
        failed = len(deleted.refused)
        absent = sum(isinstance(one, dict) and one.get("status") in _NOT_THERE for one in results)
        if against := contradiction(envelope(said, {failed, failed + absent}), stores=True):
            gone = [place for place in range(len(ids)) if place not in deleted.refused]
            doubt = Refusal(f"the answer to its batch contradicts itself: {against.words}", retry=True)
            deleted.refused.update(dict.fromkeys(gone, doubt))
            if against.status is not None and may_be_at_work(against.status, took_s):
                deleted.at_work.update(gone)
        return deleted

    def _judged(
        self, results: Sequence[Any], ids: Sequence[str], answered: int, took_s: float, *, strict: bool = False
    ) -> Deleted:
        """`strict`: each result names its item and its status, as those of a batch do."""
        deleted = Deleted()
        for place, (result, item_id) in enumerate(zip(results, ids, strict=True)):
            said = result if isinstance(result, dict) else {}
            named, status = said.get("itemId"), said.get("status") if strict else answered
            # Of an item it cannot read the catalog knows no id.
            may_be_unnamed = not strict or (type(status) is int and status >= 400 and status not in _NOT_THERE)
            if type(status) is not int or not (named == item_id or (named is None and may_be_unnamed)):
                what = f"answered for another item than {printable(item_id)!r}"
                raise nonsense(what, catalog=self._url, stores=True)
            if refused := self._refused(said, status):
                deleted.refused[place] = refused
                if refused.retry and status >= 400 and may_be_at_work(status, took_s):
                    deleted.at_work.add(place)
        return deleted

    def _refused(self, said: dict[str, Any], status: int) -> Refusal | None:
        if status in _NOT_THERE:
            # Its error says that there is no such item; one that is deleted as well is no 404.
            return Refusal(_contradicts(status, "it tells of a success"), retry=True) if says_stored(said) else None
        if status in _DONE:
            against = contradiction(
                {name: said[name] for name in said if not _says_deleted(name, said[name])}, stores=True
            )
            return Refusal(_contradicts(status, against.words), retry=True) if against else None
        if not 400 <= status <= 599:
            raise nonsense(f"answered a delete with status {status}", catalog=self._url, stores=True)
        return Refusal(_kept(status, words_of(said)), retry=may_pass(status))


def _requests(data_source: str, item_ids: Sequence[str], can: Capabilities) -> Iterator[Sequence[int]]:
    """The places of the items, cut into requests; what no catalog can have is in none."""
    places: list[int] = []
    size_bytes = about = len(_body(data_source, []))
    for place, item_id in enumerate(item_ids):
        if not is_utf8(item_id):
            continue
        size = len(_body(data_source, [item_id])) - about + 1
        if places and (len(places) == can.max_delete_items or size_bytes + size > can.max_request_bytes):
            yield places
            places, size_bytes = [], about
        places.append(place)
        size_bytes += size
    if places:
        yield places


def _body(data_source: str, item_ids: Sequence[str]) -> bytes:
    return orjson.dumps({"items": [{"dataSource": data_source, "itemId": item_id} for item_id in item_ids]})


def _interrupt(
    deleted: Deleted,
    exc: CatalogUnavailable | Precondition,
    left: Sequence[Sequence[int]],
) -> None:
    """`left`: the request that failed, and those that were not sent."""
    deleted.interrupted = exc
    for places in left:
        deleted.refused.update(dict.fromkeys(places, Refusal(exc.message, retry=True)))
    if isinstance(exc, CatalogUnavailable) and exc.at_work:
        deleted.at_work.update(left[0])


def _names(answer: Answer, item_id: str) -> bool:
    """Whether an answer is about this item, and not about a path."""
    if is_page(answer):
        return False
    try:
        said = orjson.loads(answer.body)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("itemId") == item_id


def _says_deleted(name: str, value: object) -> bool:
    return name in {"status", "outcome"} and str(value).lower() in _DONE_WORDS


def _kept(status: int, words: str) -> str:
    return f"the catalog does not delete it ({status})" + (f": {printable(words)}" if words else "")


def _contradicts(status: int, words: str) -> str:
    return f"its answer ({status}) contradicts itself: {words}"


def _cannot_delete(url: str, what: str) -> Precondition:
    message = f"the catalog at {url} {what}; keep items whose rows are gone, or use a catalog that deletes"
    return Precondition(message, reason=Reason.DELETE_REFUSED)
