"""A server is ready while nothing is in the way, and says what is; nothing else counts."""

from __future__ import annotations

from blade_server.app.readiness import Readiness
from blade_server.storage.clock import Clock
from blade_server.storage.pulse import Pulse


def _in_the_way(readiness: Readiness) -> dict[str, str]:
    return {check.name: check.trouble for check in readiness.checks() if check.counts and check.trouble}


def test_it_is_ready_from_its_start_to_its_stop_while_postgresql_and_the_clock_are_well() -> None:
    changes: list[bool] = []
    readiness, clock = Readiness(), Clock()
    readiness.on_change = lambda: changes.append(readiness.ready)
    pulse = Pulse("postgresql://nowhere", clock, readiness.look)
    assert _in_the_way(readiness).keys() == {"postgres", "migrations", "server"}
    readiness.follow(pulse, clock)
    assert _in_the_way(readiness) == {"server": "is starting"}
    readiness.serves()
    assert readiness.ready

    pulse.trouble = "does not answer"
    readiness.look()
    assert _in_the_way(readiness) == {"postgres": "does not answer"}
    assert not readiness.postgres_up
    pulse.trouble = ""
    with clock.comparing() as comparison:
        comparison.database_s = 0.0
    assert _in_the_way(readiness).keys() == {"clock"}
    with clock.comparing() as comparison:
        comparison.database_s = comparison.asked_s
    assert _in_the_way(readiness) == {}
    readiness.stops()
    assert _in_the_way(readiness) == {"server": "is stopping"}
    assert changes == [True, False, False, True, False]


def test_warehouse_and_catalog_are_shown_and_do_not_count() -> None:
    shown = {check.name: check.counts for check in Readiness().checks()}
    assert (shown["warehouse"], shown["catalog"]) == (False, False)
