"""`blade serve` that records no metrics: what they cost is the difference. For figures only."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from blade_sandbox import leash
from blade_server.metrics.last_seen import LastSeen


def _nothing(*_: Any, **__: Any) -> None: ...


for family in (Counter, Gauge, Histogram):
    family.labels = lambda self, *_: self  # type: ignore[method-assign]
    for name in ("inc", "dec", "observe"):
        setattr(family, name, _nothing)
LastSeen.saw = _nothing  # type: ignore[method-assign]

if __name__ == "__main__":
    leash.main()
