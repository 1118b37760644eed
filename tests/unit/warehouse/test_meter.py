"""What statements take is counted while they run, and once."""

from __future__ import annotations

import time

from blade_server.model.cost import Cost
from blade_server.warehouse import Meter


def test_a_statement_counts_while_it_runs_and_not_after_its_end(wait_until):
    meter = Meter()
    meter.begin("slow")
    wait_until(lambda: meter.cost.warehouse_ms > 0)
    meter.end("slow")
    ran = meter.cost
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.003)
    meter.end("slow")
    assert meter.cost == ran
    assert (ran.statements, ran.rows_read, ran.bytes_read) == (1, 0, 0)


def test_a_late_end_of_one_statement_does_not_end_another(wait_until):
    meter = Meter()
    meter.begin("given up")
    meter.end("given up")
    meter.begin("next")
    meter.end("given up")
    before = meter.cost.warehouse_ms
    wait_until(lambda: meter.cost.warehouse_ms > before)
    meter.read(3, 100)
    meter.read(2, 50)
    cost = meter.cost
    assert cost - Cost(warehouse_ms=cost.warehouse_ms) == Cost(statements=2, rows_read=5, bytes_read=150)
