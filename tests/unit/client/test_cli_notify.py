"""`blade notify` against the fake."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from blade.v1 import notification_service_pb2 as pb
from blade.v1.notification_pb2 import Delivery, Notification
from blade_client.cli import main
from blade_client.testing import FakeBlade


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with FakeBlade() as fake:

        def run(*words: str, code: int = 0) -> str:
            result = CliRunner().invoke(main, ["--server", fake.target, *words])
            assert result.exit_code == code, result.output
            return result.output

        run.fake = fake
        yield run


def test_a_receiver_is_added_shown_changed_and_removed(run):
    run("notify", "add", "on-call", "--url", "https://h.test/x", "--secret", "env:BLADE_SECRET_H", "--event", "late")
    asked = run.fake.asked("CreateNotification")[0].notification
    assert asked == Notification(
        name="on-call", url="https://h.test/x", secret="env:BLADE_SECRET_H", events=[Notification.LATE]
    )
    assert "LATE" in run("notify", "list")
    run("notify", "set", "on-call", "--all-events", "--disabled")
    assert list(run.fake.asked("UpdateNotification")[0].update_mask.paths) == ["events", "disabled"]
    shown = json.loads(run("--json", "notify", "show", "on-call"))
    assert (shown["events"], shown["disabled"], shown["format"]) == ([], True, "CLOUD_EVENTS")
    assert "Nothing to change" in run("notify", "set", "on-call", code=2)
    run("notify", "set", "on-call", "--all-events", "--event", "LATE", code=2)
    assert "was removed" in run("notify", "remove", "on-call")
    assert "blade notify list" in run("notify", "show", "on-call", code=4)


def test_a_test_message_that_does_not_arrive_ends_with_5(run):
    run("notify", "add", "on-call", "--url", "https://h.test/x")
    assert "204" in run("notify", "test", "on-call")
    run.fake.on("TestNotification", pb.TestNotificationResponse(detail="no answer in 10 s"))
    assert "no answer in 10 s" in run("notify", "test", "on-call", code=5)


def test_deliveries_say_what_became_of_messages(run):
    sent = Delivery(sync="keep", event="RUN_FAILED", state="DEAD", attempts=9, status=410, detail="gone")
    run.fake.on("ListDeliveries", pb.ListDeliveriesResponse(deliveries=[sent]))
    line = run("notify", "deliveries", "on-call").splitlines()[1]
    assert line.split()[:5] == ["keep", "RUN_FAILED", "DEAD", "9", "410"]
