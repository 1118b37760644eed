"""Messages on their way to a receiver that is well, slow, away or gone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from sqlalchemy import text
from tests.support.access import called
from tests.support.waiting import wait_until
from tests.support.webhooks import SECRET, Receiver, is_signed

from blade_server.core.audit.recorder import Recorder
from blade_server.core.notify.notifications import Notifications
from blade_server.core.notify.sender import Sender
from blade_server.errors import AlreadyExists, Conflict, Invalid, NotFound, Precondition
from blade_server.model.notification import Notification, NotificationEvent, NotificationFormat
from blade_server.model.policy import NotifyPolicy
from blade_server.storage import outbox, retention
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.notifications import NotificationStore
from blade_server.storage.outbox import Outbox, queue
from blade_server.storage.retention import Retention

HOOK, SLACK = "env:BLADE_SECRET_HOOK", "env:BLADE_SECRET_SLACK"


class World:
    def __init__(self, url: str, receiver: Receiver) -> None:
        self.database = Database(url, pool_size=8)
        self.receiver = receiver
        self.policy = NotifyPolicy(allowed_hosts={receiver.host: frozenset({HOOK, SLACK})}, timeout_s=0.5)
        self.outbox = Outbox(self.database)
        recorder = Recorder(AuditStore(self.database))
        self.notifications = Notifications(self.policy, NotificationStore(self.database), self.outbox, recorder)
        self.senders: list[Sender] = []

    def sender(self) -> Sender:
        sender = Sender(self.policy, self.outbox)
        sender.start()
        self.senders.append(sender)
        return sender

    def close(self) -> None:
        for sender in self.senders:
            sender.stop()
        self.database.close()

    def add(self, name: str = "ops", **changes: Any) -> Notification:
        wanted = Notification(**{"name": name, "url": self.receiver.url, "secret": HOOK, **changes})
        return self.notifications.create(wanted, by=called())

    def add_sync(self, *names: str) -> None:
        document = json.dumps({"notifications": names})
        self.run(
            "INSERT INTO sync (name, source, destination, spec, owner, create_time, update_time) "
            "VALUES ('parts', 'parts', 'default', CAST(:spec AS jsonb), '{}', now(), now())",
            spec=document,
        )

    def add_sync_like(self, name: str) -> None:
        self.run(
            "INSERT INTO sync SELECT (jsonb_populate_record(sync, jsonb_build_object('name', :name))).* FROM sync",
            name=name,
        )

    def tell(self, event: NotificationEvent = NotificationEvent.RUN_FAILED, *, of: str = "parts", **data: Any) -> None:
        with self.database.begin() as connection:
            queue(connection, of, event, data)
        for sender in self.senders:
            sender.ring(["outbox"])

    def run(self, statement: str, **values: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement), values)

    def again(self) -> None:
        """The time of the next attempt has come."""
        self.run("UPDATE outbox SET next_attempt_time = now()")
        for sender in self.senders:
            sender.wake()

    def rows(self) -> list[Any]:
        with self.database.begin() as connection:
            return list(connection.execute(text("SELECT * FROM outbox ORDER BY seq")))

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]


@pytest.fixture
def world(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    receiver = Receiver()
    monkeypatch.setenv("BLADE_SECRET_HOOK", SECRET)
    monkeypatch.setenv("BLADE_SECRET_SLACK", f"http://{receiver.host}/services/T/B/secret")
    with receiver.running():
        world = World(postgres_url, receiver)
        yield world
        world.close()


def test_an_event_arrives_as_a_signed_cloud_event(world: World) -> None:
    world.add()
    world.add_sync("ops")
    world.sender()
    world.tell(job_id="job-1", reason="CATALOG_DENIED", counts={"created": 3})
    wait_until(lambda: world.states() == ["DELIVERED"])
    (request,) = world.receiver.received
    event = json.loads(request.body)
    assert is_signed(request)
    assert not is_signed(request, b"another key")
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert (request.path, request.headers["host"]) == ("/hook", world.receiver.host)
    assert {name: event[name] for name in ("specversion", "type", "source", "subject", "datacontenttype")} == {
        "specversion": "1.0",
        "type": "blade.sync.run_failed",
        "source": "/syncs/parts",
        "subject": "parts",
        "datacontenttype": "application/json",
    }
    assert event["id"] == request.headers["webhook-id"]
    assert event["data"] == {
        "event": "RUN_FAILED",
        "text": "a run failed",
        "sync": "parts",
        "source": "parts",
        "data_type": "",
        "destination": "default",
        "job_id": "job-1",
        "reason": "CATALOG_DENIED",
        "counts": {"created": 3},
    }


def test_only_what_a_notification_wants_is_written_for_it(world: World) -> None:
    world.add("failures", events=(NotificationEvent.RUN_FAILED,))
    world.add("all")
    world.add("off", disabled=True)
    world.add("of-others")
    world.add_sync("failures", "all", "off")
    for event in (NotificationEvent.RUN_FAILED, NotificationEvent.LATE):
        world.tell(event)
    written = sorted((row.notification, row.event) for row in world.rows())
    assert written == [("all", "LATE"), ("all", "RUN_FAILED"), ("failures", "RUN_FAILED")]


def test_what_is_rolled_back_is_told_to_nobody(world: World) -> None:
    world.add()
    world.add_sync("ops")
    with world.database.begin() as connection:
        queue(connection, "parts", NotificationEvent.RUN_FAILED, {})
        connection.rollback()
    assert world.rows() == []


def test_a_receiver_that_was_away_gets_it_later_under_the_same_id(world: World) -> None:
    world.add()
    world.add_sync("ops")
    world.receiver.answers = lambda _: 503
    world.sender()
    world.tell()
    wait_until(lambda: world.rows()[0].status == 503)
    row = world.rows()[0]
    assert (row.state, row.attempts, row.detail) == ("WAITING", 1, "the receiver answered with 503")
    world.receiver.answers = lambda _: 200
    world.again()
    wait_until(lambda: world.states() == ["DELIVERED"])
    first, second = world.receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_a_slow_receiver_is_given_up_and_holds_up_no_other(world: World) -> None:
    world.add("slow", url=f"{world.receiver.url}/slow")
    world.add("quick")
    world.add_sync("slow", "quick")

    def drip(handler: BaseHTTPRequestHandler) -> None:
        try:
            for _ in range(100):
                handler.wfile.write(b"H")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    world.receiver.answers = lambda request: drip if request.path.endswith("slow") else 200
    world.sender()
    world.tell()
    world.tell()
    wait_until(lambda: [row.state for row in world.rows() if row.notification == "quick"] == ["DELIVERED"] * 2)
    wait_until(lambda: any("no answer within 0.5 s" in row.detail for row in world.rows()))
    assert [row.state for row in world.rows() if row.notification == "slow"] == ["WAITING"] * 2


def test_a_receiver_that_is_gone_for_good_gets_no_more_of_it(world: World) -> None:
    world.add()
    world.add_sync("ops")
    world.receiver.answers = lambda _: 410
    world.sender()
    world.tell()
    wait_until(lambda: world.states() == ["DEAD"])
    (delivery,) = world.notifications.deliveries("ops", by=called())[0]
    assert (delivery.status, delivery.attempts) == (410, 1)
    assert delivery.end_time is not None


def test_no_redirect_is_followed(world: World) -> None:
    world.add()
    world.add_sync("ops")
    world.receiver.answers = lambda _: 307
    world.receiver.headers = {"location": f"{world.receiver.url}/elsewhere"}
    world.sender()
    world.tell()
    wait_until(lambda: world.rows()[0].status == 307)
    assert [request.path for request in world.receiver.received] == ["/hook"]
    assert "no redirect is followed" in world.rows()[0].detail


@pytest.mark.parametrize(("asked", "least_s", "most_s"), [("120", 119, 130), ("999999", 3500, 3700), ("soon", 4, 10)])
def test_the_wish_of_a_receiver_is_heard_up_to_an_hour(world: World, asked: str, least_s: float, most_s: float) -> None:
    world.add()
    world.add_sync("ops")
    world.receiver.answers, world.receiver.headers = lambda _: 429, {"retry-after": asked}
    world.sender()
    world.tell()
    wait_until(lambda: world.rows()[0].status == 429)
    row = world.rows()[0]
    assert least_s < (row.next_attempt_time - row.create_time).total_seconds() < most_s


def test_after_a_day_it_is_dead(world: World) -> None:
    world.add()
    world.add_sync("ops")
    world.receiver.answers = lambda _: 500
    world.tell()
    world.run("UPDATE outbox SET create_time = now() - interval '25 hours'")
    world.sender()
    wait_until(lambda: world.states() == ["DEAD"])


def test_a_flood_of_one_sync_leaves_its_newest_messages_and_those_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_WAITING", 5)
    world.add("ops")
    world.add("log")
    world.add_sync("ops", "log")
    world.add_sync_like("others")
    world.tell(of="others")
    for number in range(7):
        world.tell(number=number)
    states = {(row.sync, row.notification, row.data.get("number")): row.state for row in world.rows()}
    for name in ("ops", "log"):
        assert [states["parts", name, number] for number in range(7)] == ["DEAD"] * 2 + ["WAITING"] * 5
        assert states["others", name, None] == "WAITING"
    assert "5 newer messages of its sync wait" in next(row.detail for row in world.rows() if row.state == "DEAD")
    monkeypatch.setattr(retention, "MESSAGES_KEPT", 1)
    assert Retention(world.database).thin_messages() is False
    assert [row.data["number"] for row in world.rows() if row.state == "DEAD"] == [1, 1]


def test_a_server_that_dies_between_sending_and_saying_so_has_it_sent_again(world: World) -> None:
    world.add()
    world.add_sync("ops")
    world.tell()
    (taken,) = world.outbox.take(busy=(), limit=10)
    assert world.outbox.take(busy=(), limit=10) == []  # it is somebody's
    world.run("UPDATE outbox SET next_attempt_time = now() - interval '1 second'")  # who is gone
    world.sender()
    wait_until(lambda: world.states() == ["DELIVERED"])
    world.outbox.failed(taken, status=0, detail="late words", again_s=5.0)
    assert world.states() == ["DELIVERED"]
    assert world.receiver.received[0].headers["webhook-id"] == taken.message.message_id
    assert world.rows()[0].attempts == 2


def test_two_servers_send_each_message_once(world: World) -> None:
    world.add()
    world.add_sync("ops")
    for _ in range(30):
        world.tell()
    world.sender()
    world.sender()
    wait_until(lambda: set(world.states()) == {"DELIVERED"})
    ids = [request.headers["webhook-id"] for request in world.receiver.received]
    assert len(ids) == len(set(ids)) == 30


def test_slack_gets_its_form_at_an_address_that_nobody_sees(world: World) -> None:
    stored = world.add("slack", url=SLACK, secret="", format=NotificationFormat.SLACK)
    assert stored.url == SLACK
    world.add_sync("slack")
    world.sender()
    world.tell(NotificationEvent.BLOCKED, words="<b> & co")
    wait_until(lambda: world.states() == ["DELIVERED"])
    (request,) = world.receiver.received
    assert request.path == "/services/T/B/secret"
    assert "webhook-signature" not in request.headers
    assert json.loads(request.body) == {
        "text": "BLADE, sync parts: a due time started nothing\ndata_type: \ndestination: default\nsource: parts\n"
        "words: &lt;b&gt; &amp; co"
    }


def test_a_test_is_sent_at_once_and_both_its_ends_are_in_the_audit_log(world: World) -> None:
    world.add()
    assert world.notifications.test("ops", by=called()).done
    (request,) = world.receiver.received
    assert is_signed(request)
    assert json.loads(request.body)["type"] == "blade.sync.test"
    world.receiver.answers = lambda _: 400
    attempt = world.notifications.test("ops", by=called())
    assert (attempt.done, attempt.status) == (False, 400)
    with world.database.begin() as connection:
        told = connection.execute(text("SELECT outcome FROM audit_entry WHERE object = 'notification:ops'")).scalars()
        assert list(told) == ["DONE", "BEGUN", "DONE", "BEGUN", "DONE"]


def test_a_host_that_is_not_allowed_any_more_gets_nothing(world: World) -> None:
    world.add()
    world.add_sync("ops")
    world.policy = NotifyPolicy(timeout_s=0.5)
    world.sender()
    world.tell()
    wait_until(lambda: "is not allowed" in world.rows()[0].detail)
    assert world.receiver.received == []


def test_they_are_stored_changed_and_taken_away(world: World) -> None:
    stored = world.add()
    assert world.notifications.get("ops") == stored
    with pytest.raises(AlreadyExists):
        world.add()
    changed = world.notifications.update(
        Notification(name="ops", url="", disabled=True, etag=stored.etag), {"disabled"}, by=called()
    )
    assert (changed.disabled, changed.url) == (True, stored.url)
    with pytest.raises(Conflict):
        world.notifications.update(Notification(name="ops", url="", etag=stored.etag), {"disabled"}, by=called())
    with pytest.raises(Invalid, match="'name' is none of"):
        world.notifications.update(Notification(name="ops", url=""), {"name"}, by=called())
    world.add_sync("ops")
    with pytest.raises(Precondition, match="'parts'"):
        world.notifications.delete("ops", by=called())
    world.run("DELETE FROM sync")
    world.notifications.delete("ops", by=called())
    with pytest.raises(NotFound, match="no notification 'ops'"):
        world.notifications.get("ops")


def test_a_repeated_call_stores_one_and_a_list_comes_in_pages(world: World) -> None:
    wanted = Notification(name="a", url=world.receiver.url, secret=HOOK)
    first = world.notifications.create(wanted, by=called(), request_id="once")
    assert world.notifications.create(wanted, by=called(), request_id="once") == first
    other = Notification(name="b", url=world.receiver.url, secret=HOOK)
    with pytest.raises(Invalid, match="used before"):
        world.notifications.create(other, by=called(), request_id="once")
    world.add("b")
    page, token = world.notifications.list(by=called(), page_size=1)
    assert [each.name for each in page] == ["a"]
    page, token = world.notifications.list(by=called(), page_size=1, page_token=token)
    assert ([each.name for each in page], token) == (["b"], "")


def test_deliveries_come_newest_first_in_pages_and_go_after_a_week(world: World) -> None:
    world.add()
    world.add_sync("ops")
    for event in (NotificationEvent.LATE, NotificationEvent.RECOVERED):
        world.tell(event)
    page, token = world.notifications.deliveries("ops", by=called(), page_size=1)
    assert [each.message.event for each in page] == ["RECOVERED"]
    page, token = world.notifications.deliveries("ops", by=called(), page_size=1, page_token=token)
    assert ([each.message.event for each in page], token) == (["LATE"], "")
    world.run("UPDATE outbox SET end_time = now() - interval '8 days', state = 'DEAD' WHERE event = 'LATE'")
    Retention(world.database).forget_messages()
    assert [row.event for row in world.rows()] == ["RECOVERED"]
