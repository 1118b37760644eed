"""Takes uploads in: the body, the form, the items, the store, the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from blade_sandbox.catalog.bodies import BodyReader
from blade_sandbox.catalog.fault_switches import FaultSwitches
from blade_sandbox.catalog.idempotency import Answer, IdempotencyCache
from blade_sandbox.catalog.multipart import Malformed, boundary_of, split
from blade_sandbox.catalog.offer import Offer
from blade_sandbox.catalog.refused import Refused
from blade_sandbox.catalog.store import Store
from blade_sandbox.catalog.uploads import Refusal, Upload, read_batch, read_single


class Intake:
    """The upload handlers; raise Refused where the whole request is."""

    def __init__(
        self, store: Store, faults: FaultSwitches, answers: IdempotencyCache, offer: Offer, bodies: BodyReader
    ) -> None:
        self._store = store
        self._faults = faults
        self._answers = answers
        self._offer = offer
        self._bodies = bodies

    async def upload_one(self, request: Request) -> Response:
        """201 CREATED, 200 REPLACED, or why not."""
        return await self._upload(request, self._store_one)

    async def upload_batch(self, request: Request) -> Response:
        """One result an item, in order."""
        self._offer.require("batch")
        return await self._upload(request, self._store_batch)

    async def _upload(self, request: Request, store: Callable[[bytes, bytes], Answer]) -> Response:
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
        except Malformed as exc:
            raise Refused(415, str(exc)) from exc
        body = await self._bodies.read(request)
        key = request.headers.get("idempotency-key")
        answer = self._answers.get(key)
        if answer is None:
            try:
                answer = store(body, boundary)
            except Malformed as exc:
                raise Refused(400, str(exc)) from exc
            if answer.status < 300:
                self._answers.keep(key, answer)
        return Response(answer.body, answer.status, media_type="application/json")

    def _store_one(self, body: bytes, boundary: bytes) -> Answer:
        item = self._judged(read_single(split(body, boundary)))
        if isinstance(item, Refusal):
            return Answer(item.status, orjson.dumps({"error": item.error, "itemId": item.item_id}))
        result = _result(item, replaced=self._store.put([item])[0])
        return Answer(result.pop("status"), orjson.dumps(result))

    def _store_batch(self, body: bytes, boundary: bytes) -> Answer:
        items = read_batch(split(body, boundary))
        if len(items) > self._offer.limits.max_batch_items:
            raise Refused(413, f"{len(items)} items; a batch has at most {self._offer.limits.max_batch_items}")
        judged = [self._judged(item) for item in items]
        replaced = iter(self._store.put([item for item in judged if isinstance(item, Upload)]))
        results = [
            {"itemId": item.item_id, "status": item.status, "error": item.error}
            if isinstance(item, Refusal)
            else _result(item, replaced=next(replaced))
            for item in judged
        ]
        return Answer(200, orjson.dumps({"results": results}))

    def _judged(self, item: Upload | Refusal) -> Upload | Refusal:
        if isinstance(item, Upload) and self._faults.rejects(item.item_id):
            return Refusal(item.item_id, 422, "sandbox fault: reject_ids")
        return item


def _result(item: Upload, *, replaced: bool) -> dict[str, Any]:
    return {
        "itemId": item.item_id,
        "status": 200 if replaced else 201,
        "outcome": "REPLACED" if replaced else "CREATED",
    }
