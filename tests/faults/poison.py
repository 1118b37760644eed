"""A catalog that answers 500 for ever to whatever contains certain items, and is well otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.twisted import Answered, Asked, TwistedCatalog


class PoisonousCatalog(TwistedCatalog):
    """Stands before the catalog and passes on what has no poison in it."""

    def __init__(self, catalog_url: str, ids: Sequence[str]) -> None:
        super().__init__(catalog_url, self._poison)
        self.ids = set(ids)
        self._poisons = [f'"{item_id}"'.encode() for item_id in ids]

    def _poison(self, asked: Asked) -> Answered:
        if asked.uploads and any(poison in asked.body for poison in self._poisons):
            self.struck += 1
            return Answered(status=500, body=b'{"error": "poison"}')
        return asked.pass_on()
