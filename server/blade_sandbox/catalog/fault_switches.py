"""What the catalog is told to do wrong, and when.

A fault strikes a kind of request: `single` and `batch` uploads, `delete_single` and `delete_batch`, `lookup` (also
HEAD), `capabilities`, and `list` where that is named. Reading back (count, GET of an item, and the list otherwise) is
never struck, so that a test can check what is held while the fault lasts.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

FUNCTIONS = frozenset({"batch", "lookup", "deletes", "batch_delete", "list"})
"""What a catalog may be without."""
UPLOADS = frozenset({"single", "batch"})
DELETES = frozenset({"delete_single", "delete_batch"})
WRITES = UPLOADS | DELETES
ALL = WRITES | {"lookup", "capabilities"}
_ONLY = {kind: frozenset({kind}) for kind in (*sorted(ALL), "list")} | {"upload": UPLOADS, "delete": DELETES}
_STRIKES = {
    "status": ALL,
    "hang": WRITES,
    "drop_reply": WRITES,
    "reset_after_body": WRITES,
    "late": WRITES,
    "short_results": frozenset({"batch", "delete_batch"}),
}
"""The faults of one request, and what they strike unless `only` says otherwise."""
_RULE_KEYS = frozenset({"count", "rate", "seed", "only"})
_OWN_KEYS = {
    "status": frozenset({"code", "retry_after"}),
    "late": frozenset({"code", "after_ms"}),
    "short_results": frozenset({"results"}),
}
_CODES = {"status": 500, "late": 504}
_IDS = ("reject_ids", "locked_ids")
_SWITCHES = ("latency_ms", *_IDS, "without", "down")


@dataclass(kw_only=True)
class Rule:
    """One fault of single requests: `left` times (None: until cleared), each with a chance of `rate`.

    `after_s`: how long after its answer the request is done. `results`: so many are missing at the end of the answer.
    """

    name: str
    kinds: frozenset[str]
    left: int | None
    rate: float
    code: int = 0
    retry_after: str | None = None
    after_s: float = 0.0
    results: int = 1
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
        own = {
            "code": self.code,
            "retry_after": self.retry_after,
            "after_ms": self.after_s * 1000,
            "results": self.results,
        }
        return shown | {key: own[key] for key in sorted(_OWN_KEYS.get(self.name, ()))}


class FaultSwitches:
    """All faults now set, and how often each struck since the start."""

    def __init__(self) -> None:
        self.injected: Counter[str] = Counter()
        self.clear()

    def clear(self) -> None:
        """No faults; the counts of what struck stay."""
        self._rules: dict[str, list[Rule]] = {}
        self.latency_s = 0.0
        self.without: frozenset[str] = frozenset()
        self._ids: dict[str, str | list[str] | None] = dict.fromkeys(_IDS)
        self._matches: dict[str, Callable[[str], object] | None] = dict.fromkeys(_IDS)

    def set(self, wanted: object) -> float:
        """Sets the named faults, each in place of its earlier self. Returns the seconds to be down (0: not).

        Raises ValueError, with nothing changed, for what it does not know.
        """
        wanted = _object(wanted, "faults")
        unknown = wanted.keys() - _STRIKES.keys() - set(_SWITCHES)
        if unknown:
            raise ValueError(f"unknown fault {min(unknown)!r}; there are {', '.join([*_STRIKES, *_SWITCHES])}")
        rules = {name: _rules(name, wanted[name]) for name in _STRIKES if name in wanted}
        latency_s = _number(wanted.get("latency_ms", self.latency_s * 1000), "latency_ms") / 1000
        ids = {name: wanted.get(name, before) for name, before in self._ids.items()}
        matches = {name: _matching(name, given) for name, given in ids.items()}
        without = _functions(wanted["without"]) if "without" in wanted else self.without
        down_s = _number(_object(wanted.get("down", {"seconds": 0}), "down").get("seconds"), "down.seconds")
        self._rules |= rules
        self.latency_s, self.without, self._ids, self._matches = latency_s, without, ids, matches
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
        """Whether an upload of this item is to be refused with 422."""
        return self._strikes_item("reject_ids", item_id)

    def locks(self, item_id: str) -> bool:
        """Whether this item may not be deleted."""
        return self._strikes_item("locked_ids", item_id)

    def _strikes_item(self, name: str, item_id: str) -> bool:
        matches = self._matches[name]
        if matches is None or not matches(item_id):
            return False
        self.injected[name] += 1
        return True

    def shown(self) -> dict[str, Any]:
        """What is set now, and what struck so far."""
        shown: dict[str, Any] = {name: [rule.shown() for rule in rules] for name, rules in self._rules.items()}
        if self.latency_s:
            shown["latency_ms"] = self.latency_s * 1000
        shown |= {name: given for name, given in self._ids.items() if given}
        if self.without:
            shown["without"] = sorted(self.without)
        return {"faults": shown, "injected": dict(self.injected)}


def _rules(name: str, wanted: object) -> list[Rule]:
    return [_rule(name, _object(one, name)) for one in (wanted if isinstance(wanted, list) else [wanted])]


def _rule(name: str, wanted: Mapping[str, Any]) -> Rule:
    known = _RULE_KEYS | _OWN_KEYS.get(name, frozenset())
    if wanted.keys() - known:
        raise ValueError(f"{name} has no {min(wanted.keys() - known)!r}; it has {', '.join(sorted(known))}")
    only = wanted.get("only")
    if only is not None and only not in _ONLY:
        raise ValueError(f"{name}.only is {only!r}; it is one of {', '.join(_ONLY)}")
    count = wanted.get("count")
    code = wanted.get("code", _CODES.get(name, 0))
    if name in _CODES and not (isinstance(code, int) and 200 <= code <= 599):
        raise ValueError(f"{name}.code is {code!r}; it is a number from 200 to 599")
    retry_after = wanted.get("retry_after")
    return Rule(
        name=name,
        kinds=_ONLY[only] if only else _STRIKES[name],
        left=None if count is None else int(_number(count, f"{name}.count")),
        rate=_number(wanted.get("rate", 1.0), f"{name}.rate"),
        code=code,
        retry_after=None if retry_after is None else str(retry_after),
        after_s=_number(wanted.get("after_ms", 0), f"{name}.after_ms") / 1000,
        results=int(_number(wanted.get("results", 1), f"{name}.results")),
        chance=random.Random(wanted.get("seed")),  # noqa: S311
    )


def _matching(name: str, wanted: object) -> Callable[[str], object] | None:
    if not wanted:
        return None
    if isinstance(wanted, str):
        try:
            return re.compile(wanted).search
        except re.error as exc:
            raise ValueError(f"{name} is {wanted!r}, which is no regular expression: {exc}") from exc
    if isinstance(wanted, list) and all(isinstance(item_id, str) for item_id in wanted):
        return frozenset(wanted).__contains__
    raise ValueError(f"{name} is a list of item ids or a regular expression")


def _functions(wanted: object) -> frozenset[str]:
    if not isinstance(wanted, list) or not all(isinstance(one, str) and one in FUNCTIONS for one in wanted):
        raise ValueError(f"without is {str(wanted)[:50]!r}; it is a list of some of {', '.join(sorted(FUNCTIONS))}")
    return frozenset(wanted)


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {str(value)[:50]!r}; it is an object")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError(f"{name} is {str(value)[:50]!r}; it is a number from 0")
    return value
