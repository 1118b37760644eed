"""Deletes: an item is gone only if the catalog says so of it, and what it refuses stays."""

from __future__ import annotations

import json

import pytest

from blade_server.catalog import Deleted
from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable, Precondition, Reason

ODD_IDS = ["a/b", ".", "..", "%2F", "ü ☃ 💥", 'q"uote', "a?b#c&d=e", " ", "x" * 5000]
CAN = {"maxBatchItems": 100, "lookup": True, "deletes": True}
ONE_BY_ONE = json.dumps(CAN).encode()
BATCHES = json.dumps(CAN | {"maxDeleteItems": 100}).encode()


def results(*said):
    return json.dumps({"results": list(said)}).encode()


def gone(item_id, status=204, **more):
    return {"itemId": item_id, "status": status} | more


@pytest.mark.parametrize("batch_delete", [True, False])
def test_items_are_gone_and_others_stay(start, connect, make_item, batch_delete):
    sandbox = start(batch_delete=batch_delete)
    catalog = connect(sandbox.url)
    catalog.upload("BLADE:m", [make_item(item_id) for item_id in [*ODD_IDS, "stays"]])
    assert catalog.capabilities().deletes
    assert catalog.delete("BLADE:m", [*ODD_IDS, "never there", "\ud800"]) == Deleted()
    assert catalog.existing("BLADE:m", [*ODD_IDS, "stays"]) == {"stays"}


def test_what_is_locked_stays_and_is_told(start, connect, make_item):
    sandbox = start(max_delete_items=2)
    catalog = connect(sandbox.url)
    catalog.upload("BLADE:m", [make_item(item_id) for item_id in "abcde"])
    sandbox.set_faults(locked_ids=["b", "e"])
    deleted = catalog.delete("BLADE:m", list("abcde"))
    assert {place: refusal.retry for place, refusal in deleted.refused.items()} == {1: False, 4: False}
    assert "locked" in deleted.refused[1].reason
    assert catalog.existing("BLADE:m", list("abcde")) == {"b", "e"}


def test_a_catalog_that_deletes_nothing_is_not_asked_to(start, connect):
    sandbox = start(deletes=False)
    catalog = connect(sandbox.url)
    asked = sandbox.status()["requests"]
    with pytest.raises(Precondition, match="deletes nothing") as caught:
        catalog.delete("BLADE:m", ["a"])
    assert caught.value.reason is Reason.DELETE_REFUSED
    assert sandbox.status()["requests"] == asked + 1  # for capabilities


@pytest.mark.parametrize("batch_delete", [True, False])
def test_deletes_that_are_gone_since_are_no_success(start, connect, make_item, batch_delete):
    sandbox = start(batch_delete=batch_delete)
    catalog = connect(sandbox.url)
    catalog.upload("BLADE:m", [make_item("a")])
    catalog.delete("BLADE:m", ["b"])
    sandbox.set_faults(without=["deletes"])
    with pytest.raises(Precondition) as caught:
        catalog.delete("BLADE:m", ["a"])
    assert caught.value.reason is Reason.DELETE_REFUSED
    assert not catalog.capabilities().deletes
    assert catalog.existing("BLADE:m", ["a"]) == {"a"}


def test_batches_of_deletes_that_are_gone_are_asked_for_anew(start, connect, make_item):
    sandbox = start()
    catalog = connect(sandbox.url)
    catalog.upload("BLADE:m", [make_item("a"), make_item("b")])
    catalog.delete("BLADE:m", ["c"])
    sandbox.set_faults(without=["batch_delete"])
    with pytest.raises(CatalogUnavailable, match="no batches of deletes any more"):
        catalog.delete("BLADE:m", ["a", "b"])
    assert catalog.delete("BLADE:m", ["a", "b"]) == Deleted()
    assert catalog.existing("BLADE:m", ["a", "b"]) == set()


def test_an_answer_that_was_lost_may_be_of_a_delete_that_was_done(start, connect, make_item):
    sandbox = start()
    catalog = connect(sandbox.url)
    catalog.upload("BLADE:m", [make_item("a")])
    sandbox.set_faults(drop_reply={"count": 1, "only": "delete"})
    with pytest.raises(CatalogUnavailable) as caught:
        catalog.delete("BLADE:m", ["a"], scope="job-1")
    assert caught.value.maybe_stored
    assert catalog.delete("BLADE:m", ["a"], scope="job-1") == Deleted()
    assert catalog.existing("BLADE:m", ["a"]) == set()


def test_under_another_scope_an_item_that_came_again_is_deleted_again(start, connect, make_item):
    catalog = connect(start().url)
    for scope in ("job-1", "job-2", "", ""):
        catalog.upload("BLADE:m", [make_item("a")])
        assert catalog.delete("BLADE:m", ["a"], scope=scope) == Deleted()
        assert catalog.existing("BLADE:m", ["a"]) == set()


@pytest.mark.parametrize(("data_source", "ids"), [("", ["a"]), ("BLADE:m", ["a", ""])])
def test_an_empty_name_would_be_another_path(catalog, data_source, ids):
    with pytest.raises(ValueError, match="neither is empty"):
        catalog.delete(data_source, ids)


@pytest.mark.parametrize(
    ("status", "body"),
    [(204, b""), (200, b""), (200, b'{"itemId": "a", "outcome": "DELETED"}'), (404, b'{"itemId": "a"}')],
)
def test_of_one_item_the_answer_may_have_many_forms(connect, scripted, whole_reply, status, body):
    server = scripted(whole_reply(status, body))
    server.CAPABILITIES = ONE_BY_ONE
    assert connect(server.url).delete("BLADE:m", ["a"]) == Deleted()
    assert server.heads[0].startswith(b"DELETE /v1/items/BLADE%3Am/a ")


def test_a_404_that_does_not_name_the_item_is_looked_up(connect, scripted, whole_reply):
    page = whole_reply(404, b"<html>not found</html>", "Content-Type: text/html")
    server = scripted(page, whole_reply(404), page, whole_reply(200))
    server.CAPABILITIES = ONE_BY_ONE
    catalog = connect(server.url)
    assert catalog.delete("BLADE:m", ["a"]) == Deleted()
    with pytest.raises(Precondition, match="has an item, and answers 404"):
        catalog.delete("BLADE:m", ["b"])
    assert [head.split(b" ")[0] for head in server.heads] == [b"DELETE", b"HEAD", b"DELETE", b"HEAD"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"success": false}'),
        (200, b'{"itemId": "a", "error": "locked"}'),
        (200, b'{"itemId": "a", "outcome": "KEPT", "failed": 1}'),
    ],
)
def test_an_answer_that_says_yes_and_no_is_no_success(connect, scripted, whole_reply, status, body):
    server = scripted(whole_reply(status, body))
    server.CAPABILITIES = ONE_BY_ONE
    deleted = connect(server.url).delete("BLADE:m", ["a"])
    assert deleted.refused[0].retry
    assert "contradicts itself" in deleted.refused[0].reason


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b'{"itemId": "b"}'), (202, b""), (302, b"")])
def test_an_answer_that_is_none_is_an_error(connect, scripted, whole_reply, status, body):
    server = scripted(whole_reply(status, body))
    server.CAPABILITIES = ONE_BY_ONE
    with pytest.raises(CatalogUnavailable):
        connect(server.url).delete("BLADE:m", ["a"])


@pytest.mark.parametrize(("status", "retry"), [(400, False), (409, False), (412, False), (423, False)])
def test_one_item_that_is_refused_stays(connect, scripted, whole_reply, status, retry):
    server = scripted(whole_reply(status, b'{"error": "held"}'))
    server.CAPABILITIES = ONE_BY_ONE
    deleted = connect(server.url).delete("BLADE:m", ["a"])
    assert deleted.refused[0].retry is retry
    assert "held" in deleted.refused[0].reason


def test_each_result_of_a_batch_speaks_for_itself(connect, scripted, whole_reply):
    said = [
        gone("a"),
        gone("b", 200, outcome="DELETED"),
        gone("c", 404, error="there is no such item"),
        gone("d", 409, error="locked"),
        gone("e", 503),
        gone("f", 204, error="quota"),
        gone("g", 404, success=True),
        {"status": 400, "error": "no id"},
        gone("i", 504),
    ]
    server = scripted(whole_reply(207, results(*said)))
    server.CAPABILITIES = BATCHES
    deleted = connect(server.url).delete("BLADE:m", list("abcdefghi"))
    assert {place: refusal.retry for place, refusal in deleted.refused.items()} == {
        3: False,
        4: True,
        5: True,
        6: True,
        7: False,
        8: True,
    }
    assert deleted.at_work == {8}


@pytest.mark.parametrize(
    "body",
    [
        b"ok",
        b"{}",
        results(gone("a")),
        results(gone("a"), gone("b"), gone("c")),
        results(gone("b"), gone("a")),
        results(gone("a"), {"status": 204}),
        results(gone("a"), {"itemId": "b"}),
        results(gone("a"), gone("b", 302)),
        results(gone("a"), gone("b", True)),
        results(gone("a"), "b"),
        results(gone("a"), {"status": 404}),
    ],
)
def test_results_that_cannot_be_right_are_an_error(connect, scripted, whole_reply, body):
    server = scripted(whole_reply(200, body))
    server.CAPABILITIES = BATCHES
    with pytest.raises(CatalogUnavailable) as caught:
        connect(server.url).delete("BLADE:m", ["a", "b"])
    assert caught.value.maybe_stored


@pytest.mark.parametrize(
    ("envelope", "refused"),
    [
        ({"success": False}, {0, 1, 2}),
        ({"error": "none of it"}, {0, 1, 2}),
        ({"errors": True}, {2}),
        ({"failed": 1}, {2}),
        ({"failed": 2}, {2}),
        ({"failed": 3}, {0, 1, 2}),
    ],
)
def test_the_rest_of_an_answer_has_its_say(connect, scripted, whole_reply, envelope, refused):
    said = {"results": [gone("a"), gone("b", 404, error="no such item"), gone("c", 409)]} | envelope
    server = scripted(whole_reply(200, json.dumps(said).encode()))
    server.CAPABILITIES = BATCHES
    deleted = connect(server.url).delete("BLADE:m", ["a", "b", "c"])
    assert set(deleted.refused) == refused


def test_what_was_answered_before_a_failure_stays_known(connect, scripted, whole_reply):
    server = scripted(whole_reply(204), whole_reply(409), whole_reply(504))
    server.CAPABILITIES = ONE_BY_ONE
    deleted = connect(server.url).delete("BLADE:m", list("abcd"))
    assert {place: refusal.retry for place, refusal in deleted.refused.items()} == {1: False, 2: True, 3: True}
    assert deleted.at_work == {2}
    assert isinstance(deleted.interrupted, CatalogUnavailable)


def test_a_batch_that_is_rejected_says_nothing_of_its_items(connect, scripted, whole_reply):
    server = scripted(whole_reply(400, b"no"), whole_reply(400, b"no"), whole_reply(403))
    server.CAPABILITIES = BATCHES
    catalog = connect(server.url)
    with pytest.raises(CatalogRejected):
        catalog.delete("BLADE:m", ["a", "b"])
    assert not catalog.delete("BLADE:m", ["a"]).refused[0].retry
    with pytest.raises(CatalogDenied):
        catalog.delete("BLADE:m", ["a", "b"])


def test_who_is_asked_before_each_request_can_end_it(start, connect, make_item):
    catalog = connect(start(max_delete_items=1).url)
    catalog.upload("BLADE:m", [make_item("a"), make_item("b")])
    requests = iter([None])

    def before_request():
        next(requests)

    with pytest.raises(StopIteration):
        catalog.delete("BLADE:m", ["a", "b"], before_request=before_request)
    assert catalog.existing("BLADE:m", ["a", "b"]) == {"b"}
