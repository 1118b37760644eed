"""What the catalog offers: what it was started with, less what the fault `without` takes away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blade_sandbox.catalog.fault_switches import FaultSwitches
from blade_sandbox.catalog.refused import Refused

_OTHER_METHODS = frozenset({"deletes", "list"})
"""Without these functions their paths still serve other methods. A 404 to a delete would say that the item is gone."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What this catalog was started with. `functions` are some of fault_switches.FUNCTIONS."""

    functions: frozenset[str]
    replaces: bool
    honours_keys: bool
    max_batch_items: int
    max_delete_items: int
    max_request_bytes: int


class Offer:
    """What can be asked for at this moment."""

    def __init__(self, limits: Limits, faults: FaultSwitches, *, catalog_id: str) -> None:
        self.limits = limits
        self._faults = faults
        self._catalog_id = catalog_id

    def has(self, function: str) -> bool:
        """Whether it is there now."""
        needed = {function, "deletes"} if function == "batch_delete" else {function}
        return needed <= self.limits.functions - self._faults.without

    def require(self, function: str) -> None:
        """Raises Refused, as for what had never been built, unless it is there now."""
        if not self.has(function):
            raise Refused(405 if function in _OTHER_METHODS else 404, f"this catalog has no {function}")

    def capabilities(self) -> dict[str, Any]:
        """As told to callers. Raises Refused where there are neither batches nor look-ups: then nothing is told."""
        if not (self.has("batch") or self.has("lookup")):
            raise Refused(404, "this catalog tells no capabilities")
        told: dict[str, Any] = {
            "catalogId": self._catalog_id,
            "maxBatchItems": self.limits.max_batch_items if self.has("batch") else 1,
            "maxRequestBytes": self.limits.max_request_bytes,
            "lookup": self.has("lookup"),
            "replacesById": self.limits.replaces,
            "idempotencyKeys": self.limits.honours_keys,
            "list": self.has("list"),
            "deletes": self.has("deletes"),
        }
        if self.has("deletes"):
            told["maxDeleteItems"] = self.limits.max_delete_items if self.has("batch_delete") else 1
        return told
