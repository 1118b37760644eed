"""What is tried again, when and how often."""

from __future__ import annotations

import pytest

from blade_server.core import retry
from blade_server.errors import CatalogUnavailable, WarehouseRefused


def test_transient_errors_are_tried_again_and_others_are_not():
    failures = [CatalogUnavailable("away"), CatalogUnavailable("away", retry_after_s=9.0)]
    waited: list[float] = []

    def call() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    assert retry.call(call, attempts=3, base_s=2.0, wait=waited.append) == "done"
    assert 2.0 <= waited[0] <= 2.5
    assert waited[1] == 9.0, "not sooner than was asked for"
    with pytest.raises(WarehouseRefused):
        retry.call(lambda: (_ for _ in ()).throw(WarehouseRefused("no")), attempts=3, base_s=0.0, wait=waited.append)
    assert len(waited) == 2


def test_the_last_error_goes_on_after_the_retries():
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise CatalogUnavailable("away")

    with pytest.raises(CatalogUnavailable):
        retry.call(call, attempts=3, base_s=0.0, wait=lambda seconds: None)
    assert len(calls) == 4


def test_any_number_of_attempts_has_a_delay():
    assert retry.delay_s(5000, 2.0) <= 75
    assert retry.delay_s(5000, 0.0) == 0
