"""What the catalog is told to do wrong, and when.

A fault strikes a kind of request: `single` and `batch` uploads, `lookup` (also HEAD), `capabilities`. Reading back
(list, count, GET of an item) is never struck, so that a test can check what is held while the fault lasts.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

UPLOADS = frozenset({"single", "batch"})
ALL = UPLOADS | {"lookup", "capabilities"}
_ONLY = {
    "single": frozenset({"single"}),
    "batch": frozenset({"batch"}),
    "lookup": frozenset({"lookup"}),
    "upload": UPLOADS,
}
_STRIKES = {"status": ALL, "hang": UPLOADS, "drop_reply": UPLOADS, "reset_after_body": UPLOADS}
"""The faults of one request, and what they strike unless `only` says otherwise."""
_RULE_KEYS = frozenset({"count", "rate", "seed", "only"})
_STATUS_KEYS = _RULE_KEYS | {"code", "retry_after"}


@dataclass(kw_only=True)
class Rule:
    """One fault of single requests: `left` times (None: until cleared), each with a chance of `rate`."""

    name: str
    kinds: frozenset[str]
    left: int | None
    rate: float
    code: int = 0
    retry_after: str | None = None
    chance: random.Random = field(default_factory=random.Random)

    def strikes(self, kind: str) -> bool:
        """Whether this request is hit; takes one off the count if so."""
        if kind not in self.kinds or self.left == 0:
            return False
        if self.rate < 1 and self.chance.random() >= self.rate:
            return False
        if self.left is not None:
            self.left -= 1
        return True

    def shown(self) -> dict[str, Any]:
        """As asked for, with the count that is left."""
        shown: dict[str, Any] = {"only": sorted(self.kinds), "rate": self.rate, "count": self.left}
        if self.code:
            shown |= {"code": self.code, "retry_after": self.retry_after}
        return shown


class FaultSwitches:
    """All faults now set, and how often each struck since the start."""

    def __init__(self) -> None:
        self.injected: Counter[str] = Counter()
        self.clear()

    def clear(self) -> None:
        """No faults; the counts of what struck stay."""
        self._rules: dict[str, list[Rule]] = {}
        self.latency_s = 0.0
        self._reject_ids: str | list[str] | None = None
        self._rejects: Callable[[str], object] | None = None

    def set(self, wanted: object) -> float:
        """Sets the named faults, each in place of its earlier self. Returns the seconds to be down (0: not).

        Raises ValueError, with nothing changed, for what it does not know.
        """
        wanted = _object(wanted, "faults")
        unknown = wanted.keys() - _STRIKES.keys() - {"latency_ms", "reject_ids", "down"}
        if unknown:
            known = ", ".join([*_STRIKES, "latency_ms", "reject_ids", "down"])
            raise ValueError(f"unknown fault {min(unknown)!r}; there are {known}")
        rules = {name: _rules(name, wanted[name]) for name in _STRIKES if name in wanted}
        latency_s = _number(wanted.get("latency_ms", self.latency_s * 1000), "latency_ms") / 1000
        reject_ids = wanted.get("reject_ids", self._reject_ids)
        rejects = _rejects(reject_ids)
        down_s = _number(_object(wanted.get("down", {"seconds": 0}), "down").get("seconds"), "down.seconds")
        self._rules |= rules
        self.latency_s, self._reject_ids, self._rejects = latency_s, reject_ids, rejects
        return down_s

    def take(self, kind: str) -> Rule | None:
        """The fault that hits this request, if any; it is used up by asking."""
        for rules in self._rules.values():
            for rule in rules:
                if rule.strikes(kind):
                    self.injected[rule.name] += 1
                    return rule
        return None

    def rejects(self, item_id: str) -> bool:
        """Whether this item is to be refused with 422."""
        if self._rejects is None or not self._rejects(item_id):
            return False
        self.injected["reject_ids"] += 1
        return True

    def shown(self) -> dict[str, Any]:
        """What is set now, and what struck so far."""
        shown: dict[str, Any] = {name: [rule.shown() for rule in rules] for name, rules in self._rules.items()}
        if self.latency_s:
            shown["latency_ms"] = self.latency_s * 1000
        if self._reject_ids:
            shown["reject_ids"] = self._reject_ids
        return {"faults": shown, "injected": dict(self.injected)}


def _rules(name: str, wanted: object) -> list[Rule]:
    return [_rule(name, _object(one, name)) for one in (wanted if isinstance(wanted, list) else [wanted])]


def _rule(name: str, wanted: Mapping[str, Any]) -> Rule:
    known = _STATUS_KEYS if name == "status" else _RULE_KEYS
    if wanted.keys() - known:
        raise ValueError(f"{name} has no {min(wanted.keys() - known)!r}; it has {', '.join(sorted(known))}")
    only = wanted.get("only")
    if only is not None and only not in _ONLY:
        raise ValueError(f"{name}.only is {only!r}; it is one of {', '.join(_ONLY)}")
    count = wanted.get("count")
    rate = _number(wanted.get("rate", 1.0), f"{name}.rate")
    code = wanted.get("code", 500) if name == "status" else 0
    if name == "status" and not (isinstance(code, int) and 200 <= code <= 599):
        raise ValueError(f"status.code is {code!r}; it is a number from 200 to 599")
    retry_after = wanted.get("retry_after")
    return Rule(
        name=name,
        kinds=_ONLY[only] if only else _STRIKES[name],
        left=None if count is None else int(_number(count, f"{name}.count")),
        rate=rate,
        code=code,
        retry_after=None if retry_after is None else str(retry_after),
        chance=random.Random(wanted.get("seed")),  # noqa: S311
    )


def _rejects(wanted: object) -> Callable[[str], object] | None:
    if not wanted:
        return None
    if isinstance(wanted, str):
        try:
            return re.compile(wanted).search
        except re.error as exc:
            raise ValueError(f"reject_ids is {wanted!r}, which is no regular expression: {exc}") from exc
    if isinstance(wanted, list) and all(isinstance(item_id, str) for item_id in wanted):
        return frozenset(wanted).__contains__
    raise ValueError("reject_ids is a list of item ids or a regular expression")


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {str(value)[:50]!r}; it is an object")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError(f"{name} is {str(value)[:50]!r}; it is a number from 0")
    return value
