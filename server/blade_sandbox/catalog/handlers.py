"""The routes of the catalog: the HTTP contract over the store, and the control path of the sandbox.

Handlers run on the event loop and call the store directly: an upload takes about a millisecond, and one
thread means one order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from blade_sandbox.catalog import item_paths
from blade_sandbox.catalog.bodies import BodyReader
from blade_sandbox.catalog.counters import Counters
from blade_sandbox.catalog.deletion import Deletion
from blade_sandbox.catalog.fault_switches import FaultSwitches
from blade_sandbox.catalog.idempotency import IdempotencyCache
from blade_sandbox.catalog.intake import Intake
from blade_sandbox.catalog.offer import Limits, Offer
from blade_sandbox.catalog.refused import Refused
from blade_sandbox.catalog.store import Store, Stored

MAX_LOOKUP_IDS = 1000
_DEFAULT_PAGE = 1000
_MAX_PAGE = 5000
_MAX_PAGE_BYTES = 32 * 1024 * 1024
"""A page has no more files when they take so much."""


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
        self._offer = Offer(limits, faults, catalog_id=store.catalog_id)
        self._down = down
        self._bodies = BodyReader(limits.max_request_bytes)
        self._intake = Intake(store, faults, answers, self._offer, self._bodies)
        self._deletion = Deletion(store, faults, answers, self._offer, self._bodies)

    def app(self) -> Starlette:
        """All routes. What is switched off is refused as if it had never been built."""
        routes = [
            Route("/healthz", self.health),
            Route("/v1/capabilities", self.capabilities),
            Route("/v1/items", self._intake.upload_one, methods=["POST"]),
            Route("/v1/items", self.list_items),
            Route("/v1/items", self.clear, methods=["DELETE"]),
            Route("/v1/items:batch", self._intake.upload_batch, methods=["POST"]),
            Route("/v1/items:batchDelete", self._deletion.delete_batch, methods=["POST"]),
            Route("/v1/items:count", self.count),
            Route("/v1/items:lookup", self.look_up, methods=["POST"]),
            Route("/v1/dataSources", self.data_sources),
            Route("/v1/items/{path:path}", self._deletion.delete_one, methods=["DELETE"]),
            Route("/v1/items/{path:path}", self.item),
            Route("/sandbox/status", self.status),
            Route("/sandbox/deletes", self.deletes),
            Route("/sandbox/faults", self.show_faults),
            Route("/sandbox/faults", self.set_faults, methods=["POST"]),
            Route("/sandbox/faults", self.clear_faults, methods=["DELETE"]),
        ]
        return Starlette(routes=routes, exception_handlers={Refused: _refused})  # type: ignore[dict-item]

    # ------------------------------------------------------------------------------------------ contract

    async def health(self, _: Request) -> Response:
        """Up."""
        return PlainTextResponse("ok")

    async def capabilities(self, _: Request) -> Response:
        """What this catalog takes."""
        return _json(self._offer.capabilities())

    async def look_up(self, request: Request) -> Response:
        """Which of the ids are held."""
        self._offer.require("lookup")
        try:
            asked = orjson.loads(await self._bodies.read(request))
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
        try:
            data_source, item_id = item_paths.parse(request.path_params["path"])
        except ValueError as exc:
            raise Refused(404, item_paths.WANTED) from exc
        held = self._store.get(data_source, item_id)
        if held is None:
            raise Refused(404, f"no item {item_id!r} of {data_source!r}")
        headers = {"ETag": held.etag}
        if request.query_params.get("envelope") == "1":
            return _json({"dataSource": data_source} | _listed(held, file=True), headers)
        return Response(held.file, headers=headers, media_type="application/json")

    async def list_items(self, request: Request) -> Response:
        """A page of one data source, in order of item id; `next` is left out on the last one.

        A page goes on after an id, whether or not that is still there: what comes and goes meanwhile moves no other
        item to another page. It ends early where its files are large.
        """
        self._offer.require("list")
        data_source, query = _data_source(request), request.query_params
        limit = query.get("limit", str(_DEFAULT_PAGE))
        if not limit.isdecimal() or not 1 <= int(limit) <= _MAX_PAGE:
            raise Refused(400, f"limit is {limit[:50]!r}; it is a number from 1 to {_MAX_PAGE}")
        with_file = query.get("include") == "file"
        items: list[dict[str, Any]] = []
        size_bytes = 0
        for held in self._store.page(data_source, query.get("after", ""), int(limit)):
            items.append(_listed(held, file=with_file))
            size_bytes += len(held.file) if with_file else 0
            if size_bytes >= _MAX_PAGE_BYTES:
                break
        else:
            if len(items) < int(limit):
                return _json({"items": items})
        return _json({"items": items, "next": items[-1]["itemId"]})

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
        held["deleted"] = self._store.deletes.removed
        return self._counters.shown() | held | {"replayed": self._answers.replayed} | self._faults.shown()

    async def status(self, _: Request) -> Response:
        """Figures since the start."""
        return _json(self.figures())

    def deleted(self, data_source: str | None, item_id: str | None) -> list[dict[str, Any]]:
        """What `GET /sandbox/deletes` shows."""
        return self._store.deletes.shown(data_source, item_id)

    async def deletes(self, request: Request) -> Response:
        """What became of each delete."""
        query = request.query_params
        return _json({"deletes": self.deleted(query.get("dataSource"), query.get("itemId"))})

    async def show_faults(self, _: Request) -> Response:
        """The faults now set."""
        return _json(self._faults.shown())

    async def set_faults(self, request: Request) -> Response:
        """Sets faults; those not named stay."""
        try:
            down_s = self._faults.set(orjson.loads(await self._bodies.read(request)))
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


def _json(content: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), headers=headers, media_type="application/json")


async def _refused(_: Request, exc: Refused) -> Response:
    body = orjson.dumps({"error": str(exc)} | exc.details)
    return Response(body, exc.status, headers=exc.headers, media_type="application/json")
