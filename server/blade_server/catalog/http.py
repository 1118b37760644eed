"""The catalog as BLADE sees it: what is there, and uploads.

Nothing is tried twice here: core owns the retry policy. Every failure is one of `failures`' table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import orjson
from pydantic import SecretStr

from blade_server.catalog.answers import Capabilities, Reader, Uploaded
from blade_server.catalog.connections import Connections
from blade_server.catalog.failures import Answer, refusal
from blade_server.catalog.multipart import Form, Parts, encode
from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable
from blade_server.model import Item

__all__ = ["Capabilities", "Catalog", "Uploaded"]

_REMEMBER_S = 300.0
_MAX_LOOKUP_IDS = 1000
_ABSENT = frozenset({404, 405, 501})
"""What a catalog answers where it has no such function."""


class _Pending(NamedTuple):
    place: int
    item_id: str
    parts: Parts
    size: int


class Catalog:
    """The client of one catalog; one for the process, usable from all threads. All calls block."""

    def __init__(
        self,
        url: str,
        token: SecretStr | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 30.0,
        connections: int = 16,
    ) -> None:
        """Connects to nothing yet. An empty URL is allowed: every call then says that no catalog is set up.

        `connections`: give it as many as threads will call. Raises ValueError for a URL, token or file that cannot be
        right.
        """
        self._connections = Connections(url, token=token, ca_file=ca_file, timeout_s=timeout_s, size=connections)
        self._url = self._connections.url
        self._read = Reader(catalog=self._url)
        self._remembered: tuple[Capabilities, float, int] | None = None

    def close(self) -> None:
        """Closes the kept connections."""
        self._connections.close()

    def capabilities(self) -> Capabilities:
        """What the catalog can do; asked anew after five minutes and after a connection was lost.

        Raises CatalogUnavailable, CatalogDenied.
        """
        remembered = self._remembered
        if remembered is not None:
            known, until, losses = remembered
            if time.monotonic() < until and losses == self._connections.losses:
                return known
        return self._ask_capabilities()

    def probe(self) -> None:
        """Asks the catalog for a sign of life, now. Raises CatalogUnavailable, CatalogDenied."""
        self._ask_capabilities()

    def _ask_capabilities(self) -> Capabilities:
        losses = self._connections.losses
        answer = self._connections.request("GET", "/v1/capabilities")
        if answer.status in _ABSENT:
            known = Capabilities()
        elif answer.status == 200:
            known = self._read.capabilities(answer)
        else:
            error = refusal(answer, catalog=self._url, stores=False)
            # A probe has no request that could be at fault: what is rejected here is the catalog's own trouble.
            raise CatalogUnavailable(error.message) if isinstance(error, CatalogRejected) else error
        self._remembered = (known, time.monotonic() + _REMEMBER_S, losses)
        return known

    # ------------------------------------------------------------------------------------------- look-up

    def existing(self, data_source: str, item_ids: Sequence[str]) -> set[str]:
        """Which of these the catalog has; any number of ids. One request an id where it has no batch look-up.

        Raises CatalogUnavailable, CatalogDenied, CatalogRejected.
        """
        sendable = [item_id for item_id in item_ids if _is_utf8(item_id)]
        if not self.capabilities().can_look_up or len(sendable) == 1:
            return {item_id for item_id in sendable if self._exists(data_source, item_id)}
        found: set[str] = set()
        for at in range(0, len(sendable), _MAX_LOOKUP_IDS):
            found |= self._look_up(data_source, sendable[at : at + _MAX_LOOKUP_IDS])
        return found

    def stored(self, data_source: str, items: Sequence[Item]) -> set[str]:
        """Ids of those items that the catalog holds with exactly this content.

        The one answer that tells an upload whose reply was lost from an older item of the same id. One request for each
        item that is there at all; a catalog that gives no item back is believed by the id. Raises as `existing`.
        """
        there = self.existing(data_source, [item.item_id for item in items])
        encoded = zip(items, encode(items, datetime.now(UTC)), strict=True)
        return {
            item.item_id
            for item, parts in encoded
            if item.item_id in there and parts is not None and self._holds(data_source, item.item_id, parts.file)
        }

    def _look_up(self, data_source: str, item_ids: list[str]) -> set[str]:
        body = orjson.dumps({"dataSource": data_source, "itemIds": item_ids})
        headers = {"Content-Type": "application/json"}
        answer = self._connections.request("POST", "/v1/items:lookup", body, headers)
        if answer.status != 200:
            raise self._refusal(answer, "batch look-ups", stores=False)
        return self._read.found(answer, item_ids)

    def _exists(self, data_source: str, item_id: str) -> bool:
        answer = self._connections.request("HEAD", _item_path(data_source, item_id))
        if answer.status not in {200, 404}:
            raise refusal(answer, catalog=self._url, stores=False)
        return answer.status == 200

    def _holds(self, data_source: str, item_id: str, file: bytes) -> bool:
        answer = self._connections.request("GET", _item_path(data_source, item_id))
        if answer.status == 200:
            return _same_json(answer.body, file)
        if answer.status not in _ABSENT:
            raise refusal(answer, catalog=self._url, stores=False)
        return answer.status != 404

    # -------------------------------------------------------------------------------------------- upload

    def upload(
        self,
        data_source: str,
        items: Sequence[Item],
        *,
        scope: str = "",
        before_request: Callable[[], object] = lambda: None,
    ) -> list[Uploaded]:
        """Sends each item once and says what became of it, in order.

        Takes any number; what is more than the catalog takes at once goes in several requests, one after the other. A
        request of one item that is rejected is that item's rejection if it was one of several, and raises if it was the
        only one.

        `scope` (a job's id, an ingest's id) is part of the Idempotency-Key, so that the same content sent for another
        reason is not answered from the catalog's memory of the first. `before_request` is called right before each
        request; what it raises ends the upload there.

        Raises:
            CatalogUnavailable: `maybe_stored` says whether any of the items may be there.
            CatalogDenied: Nothing is stored.
            CatalogRejected: Nothing is stored; one of the items, or all, are at fault: send fewer at once.
        """
        can = self.capabilities()
        done: list[Uploaded | None] = [None] * len(items)
        try:
            form = Form(data_source)
        except UnicodeEncodeError as exc:
            raise CatalogRejected(f"data source {data_source!r} cannot be written as UTF-8") from exc
        pending: list[_Pending] = []
        for place, (item, parts) in enumerate(zip(items, encode(items, datetime.now(UTC)), strict=True)):
            size = 0 if parts is None else form.size(parts)
            if parts is None:
                done[place] = _rejected(item.item_id, "the item has text that cannot be written as UTF-8", size)
            elif size + form.closing_bytes > can.max_request_bytes:
                reason = f"the item takes {size} bytes; the catalog takes {can.max_request_bytes} in a request"
                done[place] = _rejected(item.item_id, reason, size)
            else:
                pending.append(_Pending(place, item.item_id, parts, size))
        requests = list(_requests(form, pending, can))
        self._send_all(form, f"{scope}\0{data_source}\0".encode(), requests, done, before_request)
        whole = [one for one in done if one is not None]
        if len(items) == 1 and whole[0].rejection is not None and not whole[0].retry:
            raise CatalogRejected(whole[0].rejection)
        return whole

    def _send_all(
        self,
        form: Form,
        key: bytes,
        requests: list[list[_Pending]],
        done: list[Uploaded | None],
        before_request: Callable[[], object],
    ) -> None:
        """Sends the requests in turn; what one of them stored stays known when a later one fails."""
        under_way = False
        for number, request in enumerate(requests):
            try:
                results = self._send(form, key, request, before_request)
            except CatalogUnavailable as exc:
                exc.maybe_stored = exc.maybe_stored or under_way
                raise
            except (CatalogDenied, CatalogRejected) as exc:
                if isinstance(exc, CatalogRejected) and len(request) == 1:
                    results = [_rejected(request[0].item_id, exc.message, request[0].size)]
                elif not under_way:
                    raise
                else:
                    for one in (one for rest in requests[number:] for one in rest):
                        done[one.place] = Uploaded(one.item_id, False, exc.message, one.size, retry=True)
                    return
            under_way = under_way or any(result.rejection is None or result.retry for result in results)
            for one, result in zip(request, results, strict=True):
                done[one.place] = result

    def _send(
        self, form: Form, key: bytes, request: Sequence[_Pending], before_request: Callable[[], object]
    ) -> list[Uploaded]:
        # In one go, for which hashlib lets other threads run.
        digest = blake2b(b"".join([key, *[one.parts.file for one in request]]), digest_size=16)
        content_type, body = form.body([one.parts for one in request])
        headers = {"Content-Type": content_type, "Idempotency-Key": digest.hexdigest()}
        alone = len(request) == 1
        path = "/v1/items" if alone else "/v1/items:batch"
        before_request()
        answer = self._connections.request("POST", path, body, headers, stores=True)
        if alone and answer.status in {200, 201}:
            return [self._read.single(answer, request[0].item_id, request[0].size)]
        if alone:
            raise refusal(answer, catalog=self._url, stores=True)
        if answer.status != 200:
            raise self._refusal(answer, "batches", stores=True)
        return self._read.batch(answer, [(one.item_id, one.size) for one in request])

    def _refusal(
        self, answer: Answer, function: str, *, stores: bool
    ) -> CatalogUnavailable | CatalogDenied | CatalogRejected:
        """As `refusal`, for a function the catalog said it has: if it is gone, ask again what there is."""
        if answer.status not in _ABSENT:
            return refusal(answer, catalog=self._url, stores=stores)
        self._remembered = None
        return CatalogUnavailable(f"the catalog at {self._url} takes no {function} any more ({answer.status})")


def _requests(form: Form, pending: Sequence[_Pending], can: Capabilities) -> Iterator[list[_Pending]]:
    """Cuts the items into requests the catalog takes, in order."""
    request: list[_Pending] = []
    size = form.closing_bytes
    for one in pending:
        if request and (len(request) == can.max_batch_items or size + one.size > can.max_request_bytes):
            yield request
            request, size = [], form.closing_bytes
        request.append(one)
        size += one.size
    if request:
        yield request


def _rejected(item_id: str, reason: str, size: int) -> Uploaded:
    return Uploaded(item_id, False, reason, size)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _same_json(one: bytes, other: bytes) -> bool:
    """Equal, or equal but for the writing: a catalog need not keep spaces. Numbers are compared as they are written."""
    if one == other:
        return True
    try:
        first, second = (json.loads(text, parse_float=_as_written, parse_int=_as_written) for text in (one, other))
    except (ValueError, RecursionError):
        return False
    return bool(first == second)


def _as_written(number: str) -> tuple[str]:
    return (number,)  # not the string, which is another value


def _item_path(data_source: str, item_id: str) -> str:
    return f"/v1/items/{_segment(data_source)}/{_segment(item_id)}"


def _segment(text: str) -> str:
    """One segment of a path. The dots too, as `.` and `..` would be taken for steps in the path."""
    return quote(text, safe="").replace(".", "%2E")
