"""Takes uploads in: the body within its bounds, the form, the items, the store, the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from blade_sandbox.catalog.fault_switches import FaultSwitches
from blade_sandbox.catalog.idempotency import Answer, IdempotencyCache
from blade_sandbox.catalog.multipart import Malformed, boundary_of, split
from blade_sandbox.catalog.store import Store
from blade_sandbox.catalog.uploads import Refusal, Upload, read_batch, read_single

_BODIES_AT_ONCE = 8
"""So many of the largest bodies are held in memory together."""


class Refused(Exception):
    """The whole request gets this status."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What this catalog takes, and so what it says under capabilities."""

    batch: bool
    lookup: bool
    replaces: bool
    honours_keys: bool
    max_batch_items: int
    max_request_bytes: int


class Intake:
    """The upload handlers; raise Refused where the whole request is."""

    def __init__(self, store: Store, faults: FaultSwitches, answers: IdempotencyCache, limits: Limits) -> None:
        self._store = store
        self._faults = faults
        self._answers = answers
        self._limits = limits
        self._buffered = 0

    async def upload_one(self, request: Request) -> Response:
        """201 CREATED, 200 REPLACED, or why not."""
        return await self._upload(request, self._store_one)

    async def upload_batch(self, request: Request) -> Response:
        """One result an item, in order."""
        return await self._upload(request, self._store_batch)

    async def _upload(self, request: Request, store: Callable[[bytes, bytes], Answer]) -> Response:
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
        except Malformed as exc:
            raise Refused(415, str(exc)) from exc
        body = await self.body(request)
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
        if len(items) > self._limits.max_batch_items:
            raise Refused(413, f"{len(items)} items; a batch has at most {self._limits.max_batch_items}")
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

    async def body(self, request: Request) -> bytes:
        """All of it; raises Refused as soon as it is too much."""
        limit = self._limits.max_request_bytes
        announced = request.headers.get("content-length", "0")
        if int(announced) > limit:
            raise Refused(413, f"{announced} bytes; a request has at most {limit}")
        chunks, size = [], 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self._buffered += len(chunk)
                if size > limit:
                    raise Refused(413, f"more than {limit} bytes; a request has at most that")
                if self._buffered > limit * _BODIES_AT_ONCE:
                    raise Refused(503, "too many large requests at once", {"Retry-After": "1"})
                chunks.append(chunk)
        finally:
            self._buffered -= size
        return b"".join(chunks)


def _result(item: Upload, *, replaced: bool) -> dict[str, Any]:
    return {
        "itemId": item.item_id,
        "status": 200 if replaced else 201,
        "outcome": "REPLACED" if replaced else "CREATED",
    }
