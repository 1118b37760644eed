"""One server's numbers out of several processes: each tells what it has recorded, one is asked for all of it.

What a process tells are additions, so a process that ends takes nothing with it, and its successor begins at nothing:
the sums of counters never go down.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import orjson
from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from blade_server.metrics.last_seen import LastSeen

Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample."""


class Additions:
    """What a process has recorded since it was asked last. One thread only."""

    def __init__(self, collectors: Sequence[Collector], seen: Sequence[LastSeen]) -> None:
        self._collectors = collectors
        self._seen = {family.name: family for family in seen}
        self._told: dict[Key, float] = {}

    def line(self) -> bytes:
        """For `Sums.take`: one line of JSON, with its end."""
        return orjson.dumps({"samples": list(self._samples()), "seen": list(self._seen_last())}) + b"\n"

    def _samples(self) -> Iterator[tuple[str, str, Mapping[str, str], float]]:
        """A sample that is new goes out with a 0, too: no bucket of a histogram may be left out."""
        for collector in self._collectors:
            for family in collector.collect():
                if family.name in self._seen:
                    continue
                for sample in family.samples:
                    key = _key(sample)
                    known = self._told.get(key)
                    if known != sample.value:
                        yield family.name, sample.name, sample.labels, sample.value - (known or 0.0)
                        self._told[key] = sample.value

    def _seen_last(self) -> Iterator[tuple[str, Sequence[str], bool, float]]:
        for family in self._seen.values():
            for labels, well, at_s in family.seen():
                yield family.name, labels, well, at_s


class Sums:
    """What other processes of this server have recorded, whether they still run or not. Thread-safe."""

    def __init__(self, seen: Sequence[LastSeen]) -> None:
        self._seen = {family.name: family for family in seen}
        self._lock = threading.Lock()
        self._sums: dict[str, dict[Key, float]] = defaultdict(dict)
        self._gauges: dict[int, dict[tuple[str, Key], float]] = defaultdict(lambda: defaultdict(float))
        """What each process has added to gauges, which goes when it ends."""

    def take(self, process: int, line: bytes) -> None:
        """What a process has told. Raises ValueError for a line that is cut off, of which nothing is taken."""
        told = orjson.loads(line)
        with self._lock:
            for family, sample, labels, value in told["samples"]:
                self._add(process, family, (sample, tuple(sorted(labels.items()))), value)
        for family, labels, well, at_s in told["seen"]:
            self._seen[family].heard(well, at_s, labels)

    def _add(self, process: int, family: str, key: Key, value: float) -> None:
        sums = self._sums[family]
        sums[key] = sums.get(key, 0.0) + value
        if key[0] == family:  # a gauge: samples of all other kinds have an ending of their own
            self._gauges[process][family, key] += value

    def ended(self, process: int) -> None:
        """What was so of a process, and is of nothing any more, is left out; what it has counted stays."""
        with self._lock:
            for (family, key), value in self._gauges.pop(process, {}).items():
                self._sums[family][key] -= value

    def added_to(self, own: Metric) -> Metric:
        """A family of this process, with what the others have recorded."""
        with self._lock:
            left = dict(self._sums.get(own.name, {}))
        if not left:
            return own
        total = Metric(own.name, own.documentation, own.type)
        total.samples = [sample._replace(value=sample.value + left.pop(_key(sample), 0.0)) for sample in own.samples]
        total.samples += [Sample(name, dict(labels), value) for (name, labels), value in left.items()]
        return total


class Together(Collector):
    """All that a server has to show."""

    def __init__(self, own: Sequence[Collector], others: Sums) -> None:
        self._own = own
        self._others = others

    def collect(self) -> Iterable[Metric]:
        """Family by family."""
        for collector in self._own:
            for family in collector.collect():
                yield self._others.added_to(family)


def _key(sample: Sample) -> Key:
    return sample.name, tuple(sorted(sample.labels.items()))
