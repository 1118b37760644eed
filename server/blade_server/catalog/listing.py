"""The catalog's list of a data source, a page at a time, ascending by item id.

Whoever walks it compares it with rows in the same order: a page that is out of order, repeats or goes back is no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from blade_server.catalog.contradictions import contradiction
from blade_server.catalog.failures import Answer, AnswerTooLong, nonsense, printable
from blade_server.catalog.forms.raw_json import RawJson
from blade_server.catalog.offer import Offer
from blade_server.catalog.wire.pool import ConnectionPool
from blade_server.errors import CatalogRejected


@dataclass(frozen=True, slots=True)
class Listing:
    """A page: (item id, its file as the catalog writes it), ascending by the ids' bytes in UTF-8.

    `next`: what to ask for the page `after`; empty on the last one.
    """

    items: Sequence[tuple[str, bytes]]
    next: str = ""


class Pages:
    """The lists of one catalog; for all threads."""

    def __init__(self, pool: ConnectionPool, offer: Offer) -> None:
        self._pool = pool
        self._url = pool.url
        self._offer = offer
        self._most: int | None = None
        """So many items, with their files, are as much as an answer may be."""

    def page(self, data_source: str, after: str, limit: int, *, files: bool) -> Listing:
        """At most `limit` items after an id; fewer where their files are large. Without `files` those are empty.

        Raises CatalogUnavailable, also for a page that cannot be right, CatalogDenied, and CatalogRejected where the
        catalog lists nothing.
        """
        if not self._offer.capabilities().lists:
            raise CatalogRejected(f"the catalog at {self._url} says that it lists no items")
        while True:
            most = min(limit, self._most or limit) if files else limit
            try:
                return self._ask(data_source, after, most, files=files)
            except AnswerTooLong:
                if most == 1 or not files:
                    raise
                self._most = most // 2

    def _ask(self, data_source: str, after: str, limit: int, *, files: bool) -> Listing:
        query = {"dataSource": data_source, "after": after, "limit": str(limit)}
        if files:
            query["include"] = "file"
        answer = self._pool.request("GET", f"/v1/items?{urlencode(query)}")
        if answer.status != 200:
            raise self._offer.refusal(answer, "lists", stores=False)
        try:
            listing = _parsed(answer, files=files)
            _check(listing, after)
        except (ValueError, RecursionError) as exc:
            what = f"gave a list that cannot be right: {printable(str(exc))}"
            raise nonsense(what, catalog=self._url, stores=False) from exc
        return listing


def _parsed(answer: Answer, *, files: bool) -> Listing:
    """Raises ValueError."""
    json = RawJson(answer.body.decode())
    items: list[tuple[str, bytes]] | None = None
    rest: dict[str, object] = {}
    for name in json.members():
        if name == "items":
            items = [_item(json, files=files) for _ in json.elements()]
        else:
            rest[name] = json.value()
    json.end()
    if items is None:
        raise ValueError("it has no items")
    if against := contradiction(rest, stores=False):
        raise ValueError(f"it contradicts itself: {against.words}")
    following = rest.get("next")
    if following is not None and not isinstance(following, str):
        raise ValueError(f"next is no text: {following!r}")
    return Listing(items, following or "")


def _item(json: RawJson, *, files: bool) -> tuple[str, bytes]:
    item_id, file = None, None
    for name in json.members():
        if name == "itemId":
            item_id = json.value()
        elif name == "file" and files:
            file = json.raw().encode()
        else:
            json.value()
    if not isinstance(item_id, str) or not item_id:
        raise ValueError(f"an item has the id {item_id!r}")
    if files and file is None:
        raise ValueError(f"the item {item_id!r} has no file")
    return item_id, file or b""


def _check(listing: Listing, after: str) -> None:
    """Raises ValueError unless the ids rise, from beyond `after`, and the next page lies beyond them."""
    last = after.encode()
    for item_id, _ in listing.items:
        found = item_id.encode()
        if found <= last:
            raise ValueError(f"{item_id!r} comes after {last.decode()!r}")
        last = found
    if listing.next and (not listing.items or listing.next.encode() < last):
        raise ValueError(f"the next page is after {listing.next!r}, and this one ends with {last.decode()!r}")
