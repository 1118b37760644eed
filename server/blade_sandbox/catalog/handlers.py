"""The routes of the catalog: the HTTP contract over the store, and the control path of the sandbox.

Handlers run on the event loop and call the store directly: an upload takes about a millisecond, and one
thread means one order.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from blade_sandbox.catalog.counters import Counters
from blade_sandbox.catalog.fault_switches import FaultSwitches
from blade_sandbox.catalog.idempotency import IdempotencyCache
from blade_sandbox.catalog.intake import Intake, Limits, Refused
from blade_sandbox.catalog.store import Store, Stored

MAX_LOOKUP_IDS = 1000
_DEFAULT_PAGE = 1000
_MAX_PAGE = 5000


class Handlers:
    """The handlers. `down` takes the listener away for some seconds."""

    def __init__(
        self,
        store: Store,
        faults: FaultSwitches,
        counters: Counters,
        answers: IdempotencyCache,
        limits: Limits,
        *,
        down: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store = store
        self._faults = faults
        self._counters = counters
        self._answers = answers
        self._limits = limits
        self._down = down
        self._intake = Intake(store, faults, answers, limits)

    def app(self) -> Starlette:
        """All routes. What is switched off is a 404, as if it had never been built."""
        routes = [
            Route("/healthz", self.health),
            Route("/v1/items", self._intake.upload_one, methods=["POST"]),
            Route("/v1/items", self.list_items),
            Route("/v1/items", self.clear, methods=["DELETE"]),
            Route("/v1/items:count", self.count),
            Route("/v1/dataSources", self.data_sources),
            Route("/v1/items/{path:path}", self.item),
            Route("/sandbox/status", self.status),
            Route("/sandbox/faults", self.show_faults),
            Route("/sandbox/faults", self.set_faults, methods=["POST"]),
            Route("/sandbox/faults", self.clear_faults, methods=["DELETE"]),
        ]
        if self._limits.batch or self._limits.lookup:
            routes.append(Route("/v1/capabilities", self.capabilities))
        if self._limits.batch:
            routes.append(Route("/v1/items:batch", self._intake.upload_batch, methods=["POST"]))
        if self._limits.lookup:
            routes.append(Route("/v1/items:lookup", self.look_up, methods=["POST"]))
        return Starlette(routes=routes, exception_handlers={Refused: _refused})  # type: ignore[dict-item]

    # ------------------------------------------------------------------------------------------ contract

    async def health(self, _: Request) -> Response:
        """Up."""
        return PlainTextResponse("ok")

    async def capabilities(self, _: Request) -> Response:
        """What this catalog takes."""
        return _json(
            {
                "maxBatchItems": self._limits.max_batch_items,
                "maxRequestBytes": self._limits.max_request_bytes,
                "lookup": self._limits.lookup,
                "replacesById": self._limits.replaces,
                "idempotencyKeys": self._limits.honours_keys,
            }
        )

    async def look_up(self, request: Request) -> Response:
        """Which of the ids are held."""
        try:
            asked = orjson.loads(await self._intake.body(request))
            data_source, item_ids = asked["dataSource"], asked["itemIds"]
        except (ValueError, KeyError, TypeError) as exc:
            raise Refused(400, 'send {"dataSource": "..", "itemIds": [..]}') from exc
        if not isinstance(item_ids, list) or not all(isinstance(i, str) for i in [data_source, *item_ids]):
            raise Refused(400, "dataSource is a string, itemIds a list of strings")
        if len(item_ids) > MAX_LOOKUP_IDS:
            raise Refused(413, f"{len(item_ids)} ids; a look-up has at most {MAX_LOOKUP_IDS}")
        found = self._store.found(data_source, item_ids)
        return _json({"found": [item_id for item_id in dict.fromkeys(item_ids) if item_id in found]})

    async def item(self, request: Request) -> Response:
        """HEAD: is it held. GET: the stored file, or with `envelope=1` all that is held of it."""
        encoded = request.path_params["path"].split("/")
        try:
            data_source, item_id = (unquote_to_bytes(part).decode() for part in encoded)
        except ValueError as exc:
            raise Refused(404, "an item is at /v1/items/{dataSource}/{itemId}, both percent-encoded") from exc
        held = self._store.get(data_source, item_id)
        if held is None:
            raise Refused(404, f"no item {item_id!r} of {data_source!r}")
        if request.query_params.get("envelope") == "1":
            return _json({"dataSource": data_source} | _listed(held, file=True))
        return Response(held.file, media_type="application/json")

    async def list_items(self, request: Request) -> Response:
        """A page of one data source, in order of item id."""
        data_source = _data_source(request)
        query = request.query_params
        try:
            size = int(query.get("pageSize", _DEFAULT_PAGE))
            after = base64.urlsafe_b64decode(query.get("pageToken", "")).decode()
        except ValueError as exc:
            raise Refused(400, "pageSize is a number, pageToken what the last page gave") from exc
        if not 1 <= size <= _MAX_PAGE:
            raise Refused(400, f"pageSize is {size}; it is from 1 to {_MAX_PAGE}")
        page = self._store.page(data_source, after, size)
        token = base64.urlsafe_b64encode(page[-1].item_id.encode()).decode() if len(page) == size else ""
        with_file = query.get("include") == "file"
        return _json({"items": [_listed(held, file=with_file) for held in page], "nextPageToken": token})

    async def count(self, request: Request) -> Response:
        """Distinct ids and copies of one data source."""
        return _json(self._store.count(_data_source(request))._asdict())

    async def data_sources(self, _: Request) -> Response:
        """All data sources with their counts."""
        counts = self._store.counts().items()
        return _json({"dataSources": [{"dataSource": name} | count._asdict() for name, count in counts]})

    async def clear(self, request: Request) -> Response:
        """Empties one data source."""
        removed = self._store.clear(_data_source(request))
        self._answers.clear()
        return _json({"removed": removed.copies})

    # ------------------------------------------------------------------------------------------- sandbox

    def figures(self) -> dict[str, Any]:
        """What `GET /sandbox/status` shows."""
        counts = self._store.counts().values()
        held = {"items": sum(c.items for c in counts), "copies": sum(c.copies for c in counts)}
        return self._counters.shown() | held | {"replayed": self._answers.replayed} | self._faults.shown()

    async def status(self, _: Request) -> Response:
        """Figures since the start."""
        return _json(self.figures())

    async def show_faults(self, _: Request) -> Response:
        """The faults now set."""
        return _json(self._faults.shown())

    async def set_faults(self, request: Request) -> Response:
        """Sets faults; those not named stay."""
        try:
            down_s = self._faults.set(orjson.loads(await self._intake.body(request)))
        except ValueError as exc:
            raise Refused(400, str(exc)) from exc
        answer = _json(self._faults.shown())
        if down_s:
            answer.background = BackgroundTask(self._down, down_s)
        return answer

    async def clear_faults(self, _: Request) -> Response:
        """No faults."""
        self._faults.clear()
        return _json(self._faults.shown())


def _listed(held: Stored, *, file: bool) -> dict[str, Any]:
    listed: dict[str, Any] = {
        "itemId": held.item_id,
        "sha256": held.sha256,
        "size": len(held.file),
        "classification": held.classification,
        "metadata": orjson.Fragment(held.metadata),
        "timestamp": held.timestamp,
        "copies": held.copies,
    }
    if file:
        listed["file"] = orjson.Fragment(held.file)
    return listed


def _data_source(request: Request) -> str:
    name = request.query_params.get("dataSource")
    if not name:
        raise Refused(400, "the query lacks dataSource")
    return name


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


async def _refused(_: Request, exc: Refused) -> Response:
    return Response(orjson.dumps({"error": str(exc)}), exc.status, headers=exc.headers, media_type="application/json")
