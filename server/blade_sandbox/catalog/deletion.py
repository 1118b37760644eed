"""Deletes items: one by its address, or many in a batch with a result for each."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from blade_sandbox.catalog import item_paths
from blade_sandbox.catalog.bodies import BodyReader
from blade_sandbox.catalog.fault_switches import FaultSwitches
from blade_sandbox.catalog.idempotency import Answer, IdempotencyCache
from blade_sandbox.catalog.offer import Offer
from blade_sandbox.catalog.refused import Refused
from blade_sandbox.catalog.store import Store, Wanted

_ERRORS = {
    404: "there is no such item",
    409: "the item is locked; it may not be deleted",
    412: "the item is another than the one that If-Match names",
}
_FORM = 'send {"items": [{"dataSource": "..", "itemId": ".."}, ..]}'


class Deletion:
    """The delete handlers; raise Refused where the whole request is."""

    def __init__(
        self, store: Store, faults: FaultSwitches, answers: IdempotencyCache, offer: Offer, bodies: BodyReader
    ) -> None:
        self._store = store
        self._faults = faults
        self._answers = answers
        self._offer = offer
        self._bodies = bodies

    async def delete_one(self, request: Request) -> Response:
        """204 gone, with all its copies; 404, 409 or 412 with the item's id, and nothing is done."""
        self._offer.require("deletes")
        try:
            data_source, item_id = item_paths.parse(request.path_params["path"])
        except ValueError as exc:
            # Not 404, which would say of some item that it is gone.
            raise Refused(400, item_paths.WANTED) from exc
        wanted = self._wanted(data_source, item_id, request.headers.get("if-match"))

        def delete() -> Answer:
            (deleted,) = self._store.delete([wanted])
            if deleted.status != 204:
                raise Refused(deleted.status, _ERRORS[deleted.status], details={"itemId": item_id})
            return Answer(204, b"")

        return self._once(request, delete)

    async def delete_batch(self, request: Request) -> Response:
        """One result an item, in order; deleted one after the other, so that a second one of an id is a 404."""
        self._offer.require("batch_delete")
        asked = _asked(await self._bodies.read(request))
        if len(asked) > self._offer.limits.max_delete_items:
            most = self._offer.limits.max_delete_items
            raise Refused(413, f"{len(asked)} items; a batch of deletes has at most {most}")
        judged = [self._judged(one) for one in asked]

        def delete() -> Answer:
            deleted = iter(self._store.delete([one for one in judged if one is not None]))
            results: list[dict[str, str | int | None]] = []
            for one, said in zip(judged, asked, strict=True):
                if one is None:
                    results.append({"itemId": _text(said, "itemId"), "status": 400, "error": _FORM})
                else:
                    results.append(_result(one.item_id, next(deleted).status))
            return Answer(200, orjson.dumps({"results": results}))

        return self._once(request, delete)

    def _once(self, request: Request, delete: Callable[[], Answer]) -> Response:
        """Deletes, or gives the first answer again if it was to a delete under the same key."""
        key = request.headers.get("idempotency-key")
        key = None if key is None else f"delete {key}"
        answer = self._answers.get(key)
        if answer is None:
            answer = delete()
            self._answers.keep(key, answer)
        return Response(answer.body, answer.status, media_type="application/json" if answer.body else None)

    def _judged(self, said: object) -> Wanted | None:
        data_source, item_id = _text(said, "dataSource"), _text(said, "itemId")
        if not data_source or not item_id:
            return None
        return self._wanted(data_source, item_id, _text(said, "ifMatch"))

    def _wanted(self, data_source: str, item_id: str, if_match: str | None) -> Wanted:
        etags = frozenset(tag.strip() for tag in if_match.split(",")) if if_match else None
        return Wanted(data_source, item_id, etags, self._faults.locks(item_id))


def _asked(body: bytes) -> list[object]:
    try:
        asked = orjson.loads(body)["items"]
    except (ValueError, KeyError, TypeError) as exc:
        raise Refused(400, _FORM) from exc
    if not isinstance(asked, list) or not asked:
        raise Refused(400, f"items is no list, or is empty; {_FORM}")
    return asked


def _text(said: object, name: str) -> str | None:
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, str) else None


def _result(item_id: str, status: int) -> dict[str, str | int | None]:
    result: dict[str, str | int | None] = {"itemId": item_id, "status": status}
    if status != 204:
        result["error"] = _ERRORS[status]
    return result
