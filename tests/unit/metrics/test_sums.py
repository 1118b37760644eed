"""The numbers of several processes as one: nothing is lost when one of them ends, nothing is counted twice."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from blade_server.metrics.last_seen import LastSeen
from blade_server.metrics.sums import Additions, Sums, Together


class Process:
    """With families of its own, as each process of a server has them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Counter("jobs_total", "Jobs.", ["status"], registry=self.registry)
        self.delay = Histogram("delay_seconds", "Delay.", ["of"], registry=self.registry, buckets=(1, 2, 4))
        self.pool = Gauge("pool", "Connections.", registry=self.registry)
        self.up = LastSeen("up", "Whether.", ["of"], registry=self.registry)
        self.additions = Additions([self.registry], [self.up])


def shown(server: Process, sums: Sums) -> Mapping[str, float]:
    text = generate_latest(Together([server.registry], sums)).decode()
    pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#") and "_created" not in line)
    return {name: float(value) for name, _, value in pairs}


def test_what_processes_count_is_added_up() -> None:
    server, worker = Process(), Process()
    sums = Sums([server.up])
    server.jobs.labels("DONE").inc(2)
    for _ in range(2):
        worker.jobs.labels("DONE").inc(3)
        worker.jobs.labels("FAILED").inc()
        sums.take(1, worker.additions.line())
    sums.take(1, worker.additions.line())  # nothing is new

    assert shown(server, sums)['jobs_total{status="DONE"}'] == 8
    assert shown(server, sums)['jobs_total{status="FAILED"}'] == 2


def test_a_process_that_ends_takes_nothing_with_it_but_what_was_so_of_it() -> None:
    server, first = Process(), Process()
    sums = Sums([server.up])
    server.pool.set(1)
    first.jobs.labels("DONE").inc(5)
    first.pool.set(4)
    sums.take(100, first.additions.line())
    first.pool.set(3)
    sums.take(100, first.additions.line())
    assert shown(server, sums)["pool"] == 4
    sums.ended(100)
    assert (shown(server, sums)['jobs_total{status="DONE"}'], shown(server, sums)["pool"]) == (5, 1)

    successor = Process()
    successor.jobs.labels("DONE").inc()
    successor.pool.set(2)
    sums.take(101, successor.additions.line())
    assert (shown(server, sums)['jobs_total{status="DONE"}'], shown(server, sums)["pool"]) == (6, 3)


def test_a_histogram_is_whole_whoever_has_observed() -> None:
    server, worker = Process(), Process()
    sums = Sums([server.up])
    server.delay.labels("both").observe(0.5)
    worker.delay.labels("both").observe(3)
    worker.delay.labels("one").observe(3)
    sums.take(1, worker.additions.line())
    worker.delay.labels("one").observe(0.5)
    sums.take(1, worker.additions.line())

    found = shown(server, sums)
    for of, buckets in {"both": [1, 1, 2, 2], "one": [1, 1, 2, 2]}.items():
        bounds = ("1.0", "2.0", "4.0", "+Inf")
        assert [found[f'delay_seconds_bucket{{le="{bound}",of="{of}"}}'] for bound in bounds] == buckets
        assert found[f'delay_seconds_count{{of="{of}"}}'] == 2
    # OpenMetrics is strict about the order of buckets and about those that are missing.
    text = openmetrics(Together([server.registry], sums)).decode()
    assert {family.name for family in text_string_to_metric_families(text)} == {"jobs", "delay_seconds", "pool", "up"}


def test_of_what_is_asked_now_and_then_the_last_look_counts() -> None:
    server, worker = Process(), Process()
    sums = Sums([server.up])
    worker.up.saw(False, "a")
    worker.up.saw(True, "b")
    server.up.saw(True, "a")
    sums.take(1, worker.additions.line())
    assert shown(server, sums) == {"pool": 0.0, 'up{of="a"}': 1, 'up{of="b"}': 1}
    worker.up.saw(False, "a")
    sums.take(1, worker.additions.line())
    sums.ended(1)
    assert shown(server, sums)['up{of="a"}'] == 0
    assert server.up.well("c") is None


def test_of_a_line_that_is_cut_off_nothing_is_taken() -> None:
    server, worker = Process(), Process()
    sums = Sums([server.up])
    worker.jobs.labels("DONE").inc()
    with pytest.raises(ValueError, match="unexpected end"):
        sums.take(1, worker.additions.line()[:-4])
    assert shown(server, sums) == {"pool": 0}
