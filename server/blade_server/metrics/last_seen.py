"""Whether something that is asked now and then was well when it was asked last, whichever process asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector


class LastSeen(Collector):
    """A gauge: 1 well, 0 not; without a value as long as nobody has asked. Thread-safe."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self.name = name
        self._documentation = documentation
        self._labels = labels
        self._seen: dict[tuple[str, ...], tuple[bool, float]] = {}
        registry.register(self)

    def saw(self, well: bool, *labels: str) -> None:
        """It was asked now."""
        self._seen[labels] = (well, time.time())

    def heard(self, well: bool, at_s: float, labels: Sequence[str]) -> None:
        """Another process asked it then (seconds since 1970); what was seen later stays."""
        known = self._seen.get(tuple(labels))
        if known is None or known[1] < at_s:
            self._seen[tuple(labels)] = (well, at_s)

    def well(self, *labels: str) -> bool | None:
        """What was seen last; None: nothing yet."""
        found = self._seen.get(labels)
        return None if found is None else found[0]

    def seen(self) -> Iterator[tuple[tuple[str, ...], bool, float]]:
        """Labels, whether it was well, and when."""
        for labels, (well, at_s) in list(self._seen.items()):
            yield labels, well, at_s

    def describe(self) -> Iterable[Metric]:
        """The family without values."""
        return [GaugeMetricFamily(self.name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        """The family."""
        family = GaugeMetricFamily(self.name, self._documentation, labels=self._labels)
        for labels, well, _ in self.seen():
            family.add_metric(labels, float(well))
        return [family]
