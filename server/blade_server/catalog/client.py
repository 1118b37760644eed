"""The catalog as BLADE sees it: what is there, and uploads.

Nothing is tried twice here: core owns the retry policy. Every failure is one of `failures`' table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import orjson
from pydantic import SecretStr

from blade_server.arrow.arrays import values
from blade_server.arrow.content import same_item
from blade_server.arrow.items import Items
from blade_server.catalog.answers import AnswerParser, Capabilities, Refusal, Uploaded
from blade_server.catalog.bodies import is_page
from blade_server.catalog.deletion import Deleted, Deletion
from blade_server.catalog.failures import refusal
from blade_server.catalog.forms.item_path import is_utf8, item_path
from blade_server.catalog.forms.multipart import Encoded, files
from blade_server.catalog.listing import Listing, Pages
from blade_server.catalog.offer import ABSENT, Offer
from blade_server.catalog.origin import OWN, Origin
from blade_server.catalog.probe import connect_steps
from blade_server.catalog.wire.pool import ConnectionPool
from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable
from blade_server.model import TestStep

_MAX_LOOKUP_IDS = 1000


class Catalog:
    """The client of one catalog; one for the process, usable from all threads. All calls block."""

    def __init__(
        self,
        url: str,
        token: SecretStr | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 30.0,
        connections: int = 16,
        *,
        settle_s: float = 0.0,
        origin: Origin = OWN,
    ) -> None:
        """Connects to nothing yet. An empty URL is allowed: every call then says that no catalog is set up.

        `connections`: give it as many as threads will call. `settle_s`: how long the catalog may go on with an upload
        whose answer was lost, counted from the request; never less than `timeout_s`. Raises ValueError for a URL, token
        or file that cannot be right.
        """
        self._pool = ConnectionPool(
            url, token=token, ca_file=ca_file, timeout_s=timeout_s, size=connections, origin=origin
        )
        self._url = self._pool.url
        self.settle_s = max(settle_s, timeout_s)
        """After so long since its request an upload without an answer has come to its end."""
        self._parser = AnswerParser(catalog=self._url)
        self._offer = Offer(self._pool, self._parser)
        self._deletion = Deletion(self._pool, self._offer, self._exists)
        self._pages = Pages(self._pool, self._offer)

    @property
    def url(self) -> str:
        """Its address."""
        return self._url

    def close(self) -> None:
        """Closes the kept connections."""
        self._pool.close()

    def capabilities(self) -> Capabilities:
        """What the catalog can do; asked anew after five minutes and after a connection was lost.

        Raises CatalogUnavailable, CatalogDenied, and Precondition for a URL that can never work.
        """
        return self._offer.capabilities()

    def probe(self) -> None:
        """Asks the catalog for a sign of life, now. Raises CatalogUnavailable, CatalogDenied."""
        self._offer.ask()

    def steps(self) -> Iterator[TestStep]:
        """A test of it, step by step: RESOLVE, CONNECT, AUTHENTICATE, CAPABILITIES; a failed step is the last one."""
        return connect_steps(self._pool, self._offer.ask)

    # ------------------------------------------------------------------------------------------- look-up

    def existing(self, data_source: str, item_ids: Sequence[str]) -> set[str]:
        """Which of these the catalog has; any number of ids. One request an id where it has no batch look-up.

        Raises CatalogUnavailable, CatalogDenied, CatalogRejected.
        """
        sendable = [item_id for item_id in item_ids if is_utf8(item_id)]
        if not self.capabilities().can_look_up or len(sendable) == 1:
            return {item_id for item_id in sendable if self._exists(data_source, item_id)}
        found: set[str] = set()
        for at in range(0, len(sendable), _MAX_LOOKUP_IDS):
            found |= self._look_up(data_source, sendable[at : at + _MAX_LOOKUP_IDS])
        return found

    def stored(self, data_source: str, items: Items) -> set[str]:
        """Ids of those items that the catalog holds with this content, whichever job sent it (see `same_item`).

        The one answer that tells an upload whose reply was lost from an older item of the same id. One request for each
        item that is there at all; a catalog that gives no item back is believed by the id. Raises as `existing`.
        """
        ids = items.item_ids
        there = self.existing(data_source, ids)
        written = zip(ids, values(files(items)), strict=True)
        return {item_id for item_id, file in written if item_id in there and self._holds(data_source, item_id, file)}

    def _look_up(self, data_source: str, item_ids: Sequence[str]) -> set[str]:
        body = orjson.dumps({"dataSource": data_source, "itemIds": list(item_ids)})
        headers = {"Content-Type": "application/json"}
        answer = self._pool.request("POST", "/v1/items:lookup", body, headers)
        if answer.status != 200:
            raise self._offer.refusal(answer, "batch look-ups", stores=False)
        return self._parser.found(answer, item_ids)

    def _exists(self, data_source: str, item_id: str) -> bool:
        answer = self._pool.request("HEAD", item_path(data_source, item_id))
        if answer.status not in {200, 404}:
            raise refusal(answer, catalog=self._url, stores=False, origin=self._pool.origin)
        if answer.status == 200 and is_page(answer):  # of something that answers so to everything, perhaps
            return self._read_back(data_source, item_id) is not None
        return answer.status == 200

    def _holds(self, data_source: str, item_id: str, file: bytes) -> bool:
        """A catalog that gives no item back is believed by the id."""
        there = self._read_back(data_source, item_id)
        return there is not None and (not there or same_item(there, file))

    def _read_back(self, data_source: str, item_id: str) -> bytes | None:
        """The file of an item; None if it is not there, empty if the catalog gives none back."""
        answer = self._pool.request("GET", item_path(data_source, item_id))
        if answer.status == 200:
            return self._parser.item(answer, item_id)
        if answer.status not in ABSENT:
            raise refusal(answer, catalog=self._url, stores=False, origin=self._pool.origin)
        return None if answer.status == 404 else b""

    def file(self, data_source: str, item_id: str) -> bytes | None:
        """The file of an item as the catalog gives it back: None if it is not there, empty if it gives none back.

        Raises as `existing`.
        """
        return self._read_back(data_source, item_id) if is_utf8(item_id) else None

    # ------------------------------------------------------------------------------------- lists and deletes

    def list(self, data_source: str, *, after: str = "", limit: int = 1000, files: bool = True) -> Listing:
        """A page of the items whose ids come after `after`, ascending by their bytes in UTF-8; see `Pages.page`.

        Raises CatalogUnavailable, CatalogDenied, CatalogRejected (a catalog without lists).
        """
        return self._pages.page(data_source, after, limit, files=files)

    def delete(
        self,
        data_source: str,
        item_ids: Sequence[str],
        *,
        scope: str = "",
        before_request: Callable[[], object] = lambda: None,
    ) -> Deleted:
        """Deletes each of these once and says what became of it; see `Deletion.delete`.

        Raises CatalogUnavailable, CatalogDenied, CatalogRejected, and Precondition (DELETE_REFUSED) where the catalog
        deletes nothing.
        """
        return self._deletion.delete(data_source, item_ids, scope, before_request)

    # -------------------------------------------------------------------------------------------- upload

    def upload(
        self, encoded: Encoded, *, scope: str = "", before_request: Callable[[], object] = lambda: None
    ) -> Uploaded:
        """Sends each item once and says what became of it.

        Takes any number; what is more than the catalog takes at once goes in several requests, one after the other. A
        request of one item that is rejected is that item's refusal if it was one of several, and raises if it was the
        only one.

        `scope` names these contents: under one scope an item id always stands for the same content. It is part of the
        Idempotency-Key, so that an item that was sent for another reason is not answered from the catalog's memory.
        `before_request` is called right before each request; what it raises ends the upload there.

        Raises:
            CatalogUnavailable: `maybe_stored` says whether any of the items may be there.
            CatalogDenied: Nothing is stored.
            CatalogRejected: Nothing is stored; one of the items, or all, are at fault: send fewer at once.
        """
        can, uploaded = self.capabilities(), Uploaded()
        self._send_all(encoded, scope, _requests(encoded, can, uploaded.refused), uploaded, before_request)
        if len(encoded) == 1 and uploaded.refused and not (uploaded.refused[0].retry or uploaded.doubted):
            raise CatalogRejected(uploaded.refused[0].reason)
        return uploaded

    def _send_all(
        self,
        encoded: Encoded,
        scope: str,
        requests: Sequence[Sequence[int]],
        uploaded: Uploaded,
        before_request: Callable[[], object],
    ) -> None:
        """Sends the requests in turn; what one of them stored stays known when a later one fails."""
        under_way = False
        for number, places in enumerate(requests):
            try:
                sent = self._send(encoded.take(places), scope, before_request)
            except CatalogUnavailable as exc:
                exc.maybe_stored = exc.maybe_stored or under_way
                exc.at_work = exc.at_work or bool(uploaded.at_work)
                raise
            except (CatalogDenied, CatalogRejected) as exc:
                if isinstance(exc, CatalogRejected) and len(places) == 1:
                    sent = Uploaded({0: Refusal(exc.message)})
                elif not under_way:
                    raise
                else:
                    left = [at for rest in requests[number:] for at in rest]
                    uploaded.refused.update((at, Refusal(exc.message, retry=True)) for at in left)
                    return
            gone = sum(not refusal.retry and at not in sent.doubted for at, refusal in sent.refused.items())
            under_way = under_way or gone < len(places)
            uploaded.update(sent, places)

    def _send(self, encoded: Encoded, scope: str, before_request: Callable[[], object]) -> Uploaded:
        ids = encoded.items.item_ids
        content_type, body = encoded.body()
        key = blake2b(digest_size=16)
        key.update("\0".join([scope, encoded.data_source, *ids]).encode())
        headers = {"Content-Type": content_type, "Idempotency-Key": key.hexdigest()}
        alone = len(ids) == 1
        path = "/v1/items" if alone else "/v1/items:batch"
        before_request()
        began = time.monotonic()
        answer = self._pool.request("POST", path, body, headers, stores=True)
        took_s = time.monotonic() - began
        if alone and answer.status in {200, 201}:
            return self._parser.single(answer, ids[0], took_s=took_s)
        if alone:
            raise refusal(answer, catalog=self._url, stores=True, took_s=took_s, origin=self._pool.origin)
        if answer.status not in {200, 207}:
            raise self._offer.refusal(answer, "batches", stores=True, took_s=took_s)
        return self._parser.batch(answer, ids, took_s=took_s)


def _requests(encoded: Encoded, can: Capabilities, refused: dict[int, Refusal]) -> list[Sequence[int]]:
    """The places of the items, cut into requests the catalog takes, in order; what is too large alone is refused."""
    room = can.max_request_bytes - encoded.closing_bytes
    if 0 < len(encoded) <= can.max_batch_items and encoded.size_bytes <= room:  # nearly always
        return [range(len(encoded))]
    requests: list[Sequence[int]] = []
    request: list[int] = []
    size_bytes = 0
    for at, size in enumerate(np.diff(encoded.ends, prepend=0).tolist()):
        if size > room:
            refused[at] = _too_large(size, can)
            continue
        if request and (len(request) == can.max_batch_items or size_bytes + size > room):
            requests.append(request)
            request, size_bytes = [], 0
        request.append(at)
        size_bytes += size
    return [*requests, request] if request else requests


def _too_large(size_bytes: int, can: Capabilities) -> Refusal:
    return Refusal(f"the item takes {size_bytes} bytes; the catalog takes {can.max_request_bytes} in a request")
