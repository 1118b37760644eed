"""May a job go on: its lease, and the reasons to halt it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest
from tests.support.waiting import wait_until

from blade_server.core.engine.halt import Control, Halt, HaltedError
from blade_server.model import WaitReason


def test_a_lease_that_ran_out_lets_nothing_start_until_it_is_renewed():
    control = Control(lease_until=time.monotonic() - 1.0)
    passed = threading.Event()

    def start() -> None:
        control.check()
        passed.set()

    thread = threading.Thread(target=start)
    thread.start()
    assert not passed.wait(0.2)
    control.renew(time.monotonic() + 60.0)
    assert passed.wait(5.0)
    thread.join()


def test_a_stronger_reason_to_halt_replaces_a_weaker_one_and_only_a_pause_is_taken_back():
    control = Control(lease_until=float("inf"))
    control.halt(Halt.PAUSE)
    control.go_on()
    control.check()
    control.halt(Halt.CANCEL)
    control.halt(Halt.PAUSE)
    assert control.halted is Halt.CANCEL
    control.go_on()
    with pytest.raises(HaltedError):
        control.check()


def test_a_rate_is_why_also_while_another_thread_sends():
    control = Control(lease_until=float("inf"))

    def wait() -> None:
        with suppress(HaltedError):
            control.wait(3600.0, WaitReason.RATE_LIMITED, "10 items/s")

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: control.why_waiting()[0] is not None)
    with control.busy():
        assert control.why_waiting() == (WaitReason.RATE_LIMITED, "10 items/s")
    control.halt(Halt.CANCEL)
    thread.join()


def test_a_halt_ends_a_wait_at_once():
    control = Control(lease_until=float("inf"))
    halted = threading.Event()

    def wait() -> None:
        try:
            control.wait(3600.0, WaitReason.CATALOG_DOWN, "down")
        except HaltedError:
            halted.set()

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: control.why_waiting()[0] is not None)
    assert control.why_waiting() == (WaitReason.CATALOG_DOWN, "down")
    with control.busy():
        assert control.why_waiting() == (None, "")
    control.halt(Halt.CANCEL)
    assert halted.wait(5.0)
    thread.join()
