"""What statements take is counted while they run, and once."""

from __future__ import annotations

import time

from blade_server.model.cost import Cost
from blade_server.warehouse import Tally


def test_a_statement_counts_while_it_runs_and_not_after_its_end(wait_until):
    tally = Tally()
    tally.begin("slow")
    wait_until(lambda: tally.cost.warehouse_ms > 0)
    tally.end("slow")
    ran = tally.cost
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.003)
    tally.end("slow")
    assert tally.cost == ran
    assert (ran.statements, ran.rows_read, ran.bytes_read) == (1, 0, 0)


def test_a_late_end_of_one_statement_does_not_end_another(wait_until):
    tally = Tally()
    tally.begin("given up")
    tally.end("given up")
    tally.begin("next")
    tally.end("given up")
    before = tally.cost.warehouse_ms
    wait_until(lambda: tally.cost.warehouse_ms > before)
    tally.read(3, 100)
    tally.read(2, 50)
    cost = tally.cost
    assert cost - Cost(warehouse_ms=cost.warehouse_ms) == Cost(statements=2, rows_read=5, bytes_read=150)
