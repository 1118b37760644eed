"""What the catalog says when it says yes: a success only where nothing in it says no."""

from __future__ import annotations

import json
from contextlib import suppress
from random import Random
from typing import Any

import orjson
import pytest

from blade_server.catalog import Uploaded
from blade_server.catalog.answers import AnswerParser
from blade_server.catalog.failures import Answer
from blade_server.errors import CatalogUnavailable

PARSER = AnswerParser(catalog="http://catalog.test:8090")


def answer(said: Any, status: int = 201, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, orjson.dumps(said))


def result(item_id: str = "a", **fields: Any) -> dict[str, Any]:
    return {"itemId": item_id, "status": 201} | fields


SOUND: list[dict[str, Any]] = [
    {},
    {"itemId": "a"},
    {"itemId": "a", "status": 201, "outcome": "CREATED"},
    {"id": 7, "message": "ok", "warnings": ["the unit is new"], "version": 3, "code": "A-7"},
    {"status": 200},
    {"status": "ok"},
    {"status": "Created"},
    {"status": None, "outcome": None, "error": None, "errors": [], "success": None},
    {"error": "", "errors": {}, "failed": 0, "success": True},
    {"outcome": "created", "success": "true"},
    {"ok": True, "code": 0, "result": {"itemId": "a"}, "state": "active"},
    {"results": [{"itemId": "a", "status": 201}]},
    {"status": 207, "message": "1 stored", "results": [{"itemId": "a", "status": 201}]},
    {"itemId": "a", "message": "stored in shard 3", "warnings": []},
    {"success": True, "message": "stored in shard 3", "data": {"itemId": "a", "status": 201, "rank": 3}},
    {"code": "00000", "errorCode": 0, "errcode": "0", "errmsg": "ok", "err": None, "errorMessage": "OK"},
    {"code": 200, "errCode": "200", "statusCode": 201, "errors": "none"},
    {"data": {}, "result": {"outcome": "REPLACED"}},
    {"data": ["error"], "title": "", "detail": None, "message": "Created"},
]
DOUBTED: list[tuple[dict[str, Any], str]] = [
    ({"error": "quota exceeded"}, "quota exceeded"),
    ({"Error": {"Message": "quota exceeded"}}, "quota exceeded"),
    ({"error": {"code": "E7", "message": "quota exceeded"}}, "quota exceeded"),
    ({"errors": ["quota exceeded"]}, "quota exceeded"),
    ({"errors": [{"detail": "quota exceeded"}]}, "quota exceeded"),
    ({"errors": 1, "message": "quota exceeded"}, "quota exceeded"),
    ({"success": False, "message": "quota exceeded"}, "quota exceeded"),
    ({"success": "false"}, "success"),
    ({"success": 0}, "success"),
    ({"success": []}, "success"),
    ({"ok": False, "reason": "quota"}, "quota"),
    ({"stored": False}, "stored"),
    ({"accepted": False}, "accepted"),
    ({"outcome": "FAILED"}, "FAILED"),
    ({"outcome": "REJECTED", "error": None}, "REJECTED"),
    ({"outcome": ""}, "outcome"),
    ({"outcome": 7}, "outcome"),
    ({"outcome": ["CREATED"]}, "outcome"),
    ({"outcome": "CREATED", "error": "quota"}, "quota"),
    ({"error": True}, "error"),
    ({"failed": 1}, "failed"),
    ({"has_errors": True}, "haserrors"),
    ({"result": "error", "title": "no room"}, "no room"),
    ({"state": "FAILED"}, "FAILED"),
    ({"error": "quota", "Error": None}, "quota"),
    ({"Error": None, "error": "quota"}, "quota"),
    ({"outcome": 5, "Outcome": "CREATED"}, "5"),
    ({"outcome": "CREATED", "Outcome": 5}, "5"),
    ({"code": 1001, "message": "quota"}, "quota"),
    ({"code": "1001", "message": "ok"}, "1001"),
    ({"code": -1}, "-1"),
    ({"code": 20.5}, "20.5"),
    ({"errorMessage": "quota"}, "quota"),
    ({"error_code": "E7"}, "E7"),
    ({"errcode": 40001, "errmsg": "quota"}, "quota"),
    ({"errno": 12}, "12"),
    ({"err": "quota"}, "quota"),
    ({"errorDetails": ["quota"]}, "quota"),
    ({"success": True, "data": {"status": "REJECTED"}}, "REJECTED"),
    ({"success": True, "message": "ok", "data": {"success": False}}, "success"),
    ({"data": {"success": False, "message": "quota"}}, "quota"),
    ({"result": {"Errors": ["quota"]}}, "quota"),
]
OF_STATUS: list[tuple[dict[str, Any], str]] = [
    ({"status": "error"}, "error"),
    ({"status": "pending"}, "pending"),
    ({"status": 202}, "202"),
    ({"status": 302}, "302"),
    ({"status": True}, "true"),
    ({"status": 0}, "0"),
    ({"status": [201]}, "201"),
    ({"status": {"code": 201}}, "status"),
    ({"status": 201, "Status": "failed"}, "failed"),
    ({"detail": "quota exceeded"}, "quota exceeded"),
    ({"detail": [{"message": "quota exceeded"}]}, "quota exceeded"),
    ({"message": "quota exceeded", "id": 7}, "quota exceeded"),
    ({"title": "quota exceeded"}, "quota exceeded"),
    ({"title": 7}, "7"),
    ({"results": [{"message": "quota exceeded"}]}, "quota exceeded"),
    ({"error": "quota", "results": [result(error=None)]}, "quota"),
    ({"status": "failed", "results": [result()]}, "failed"),
    ({"results": [result(status="failed")], "status": "ok"}, "failed"),
]


@pytest.mark.parametrize("said", SOUND, ids=str)
@pytest.mark.parametrize("status", [200, 201])
def test_what_contradicts_nothing_is_a_success(said, status):
    uploaded = PARSER.single(answer(said, status), "a")
    assert not uploaded.refused
    assert uploaded.replaced == (set() if status == 201 or said.get("outcome") else {0})


@pytest.mark.parametrize(("said", "words"), [*DOUBTED, *OF_STATUS], ids=str)
@pytest.mark.parametrize("status", [200, 201])
def test_a_single_answer_that_contradicts_itself_is_no_success(said, words, status):
    uploaded = PARSER.single(answer(said, status), "a")
    assert uploaded.doubted == set(uploaded.refused) == {0}
    assert uploaded.refused[0].retry
    assert words in uploaded.refused[0].reason


@pytest.mark.parametrize(("said", "words"), DOUBTED, ids=str)
def test_a_result_of_a_batch_that_contradicts_itself_is_no_success(said, words):
    results = [result("a"), result("b", **said), result("c", status=200, outcome="REPLACED")]
    uploaded = PARSER.batch(answer({"results": results}, 200), ["a", "b", "c"])
    assert uploaded.doubted == set(uploaded.refused) == {1}
    assert uploaded.refused[1].retry
    assert words in uploaded.refused[1].reason
    assert uploaded.replaced == {2}


@pytest.mark.parametrize("status", [400, 409, 413, 422, "422"])
def test_a_contradiction_that_names_a_status_of_its_own_is_for_good_once_a_look_up_agrees(status):
    said = {"status": status, "error": "no such unit"}
    uploaded = PARSER.single(answer(said), "a")
    assert uploaded.doubted == {0}
    assert uploaded.refused[0] == (f"the catalog rejected it ({status}): no such unit", False)
    nested = PARSER.single(answer({"results": [{"itemId": "a"} | said]}), "a")
    assert nested == uploaded


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 504])
def test_a_contradiction_that_names_a_status_that_may_pass_is_tried_again(status):
    uploaded = PARSER.single(answer({"status": status, "error": "busy"}), "a")
    assert uploaded.doubted == {0}
    assert uploaded.refused[0].retry


@pytest.mark.parametrize("yes", [{"outcome": "CREATED"}, {"success": True}, {"stored": True}], ids=str)
def test_a_refusal_that_tells_of_a_success_is_looked_up(yes):
    uploaded = PARSER.batch(answer({"results": [result("a", status=422, **yes), result("b")]}, 200), ["a", "b"])
    assert uploaded.doubted == set(uploaded.refused) == {0}
    assert not uploaded.refused[0].retry
    plain = PARSER.batch(answer({"results": [result("a", status=422, error="no"), result("b")]}, 200), ["a", "b"])
    assert (set(plain.refused), plain.doubted, plain.at_work) == ({0}, set(), set())


@pytest.mark.parametrize(("status", "at_work"), [(500, False), (502, True), (503, False), (504, True), (524, True)])
def test_an_item_that_a_gateway_gave_up_may_be_stored_yet(status, at_work):
    uploaded = PARSER.batch(answer({"results": [result("a", status=status), result("b")]}, 200), ["a", "b"])
    assert uploaded.at_work == ({0} if at_work else set())


@pytest.mark.parametrize(("took_s", "at_work"), [(0.9, set()), (1.0, {0})])
@pytest.mark.parametrize("status", [408, 500, 503])
def test_a_failure_that_took_as_long_as_gateways_wait_may_be_theirs(status, took_s, at_work):
    refused = result("a", status=status, error="busy")
    for uploaded in (
        PARSER.batch(answer({"results": [refused, result("b")]}, 200), ["a", "b"], took_s=took_s),
        PARSER.batch(answer({"results": [result("a", error={}, code=status), result("b")]}), ["a", "b"], took_s=took_s),
        PARSER.single(answer(refused), "a", took_s=took_s),
    ):
        assert (set(uploaded.refused), uploaded.at_work) == ({0}, at_work)
    said = {"status": status, "results": [result("a")]}
    assert PARSER.batch(answer(said, 200), ["a"], took_s=took_s).at_work == at_work


@pytest.mark.parametrize(
    "top",
    [
        {"error": "quota exceeded"},
        {"errors": True, "message": "quota exceeded"},
        {"success": False, "message": "quota exceeded"},
        {"status": 500, "message": "quota exceeded"},
        {"failed": 2, "message": "quota exceeded"},
    ],
    ids=str,
)
def test_a_batch_that_is_stored_item_by_item_and_failed_as_a_whole_is_looked_up(top):
    results = [result("a"), result("b", status=200, outcome="REPLACED")]
    uploaded = PARSER.batch(answer(top | {"results": results}, 200), ["a", "b"])
    assert uploaded.doubted == set(uploaded.refused) == {0, 1}
    assert all(refusal.retry and "quota exceeded" in refusal.reason for refusal in uploaded.refused.values())
    assert (uploaded.replaced, uploaded.at_work) == (set(), set())


@pytest.mark.parametrize(
    "top",
    [
        {"success": False, "error": "rolled back: item b"},
        {"errors": ["rolled back: item b"]},
        {"failed": 3, "message": "rolled back: item b"},
        {"status": 422, "message": "rolled back: item b"},
        {"data": {"success": False, "message": "rolled back: item b"}},
    ],
    ids=str,
)
def test_a_batch_that_fails_with_one_of_its_items_is_looked_up(top):
    results = [result("a", outcome="CREATED"), result("b", status=422, error="no such unit"), result("c", status=503)]
    uploaded = PARSER.batch(answer(top | {"results": results}, 207), ["a", "b", "c"])
    assert (set(uploaded.refused), uploaded.doubted) == ({0, 1, 2}, {0})
    assert uploaded.refused[0].retry
    assert "rolled back: item b" in uploaded.refused[0].reason
    assert uploaded.refused[1] == ("the catalog rejected it (422): no such unit", False)


def test_a_batch_that_says_that_some_failed_is_taken_at_the_words_of_its_results():
    said = {"errors": True, "failed": 1, "results": [result("a"), result("b", status=422, error="no")]}
    assert set(PARSER.batch(answer(said, 200), ["a", "b"]).refused) == {1}


@pytest.mark.parametrize("status", [200, 207])
def test_the_results_of_a_batch_speak_for_themselves(status):
    said = {"status": status, "took": 3, "results": [result("a"), result("b", id=4, message="ok")]}
    assert PARSER.batch(answer(said, status), ["a", "b"]) == Uploaded()


@pytest.mark.parametrize(
    "said",
    [
        {"error": "quota exceeded"},
        {"results": [], "message": "quota exceeded"},
        {"results": None, "errors": [{"message": "quota exceeded"}]},
        {"results": [result("a")], "error": "quota exceeded"},
        {"results": [result(one) for one in "abc"], "error": "quota exceeded"},
    ],
    ids=str,
)
def test_a_batch_without_a_result_for_each_item_has_the_catalogs_words(said):
    with pytest.raises(CatalogUnavailable, match="quota exceeded") as caught:
        PARSER.batch(answer(said, 200), ["a", "b"])
    assert (caught.value.maybe_stored, caught.value.at_work) == (True, False)


@pytest.mark.parametrize(
    "said", [{"itemId": "b"}, {"itemId": None}, {"itemId": 7}, {"results": []}, {"results": [{}, {}]}, {"results": [7]}]
)
def test_an_answer_for_another_item_is_none(said):
    with pytest.raises(CatalogUnavailable) as caught:
        PARSER.single(answer(said), "a")
    assert caught.value.maybe_stored


def test_a_problem_is_no_success_whatever_its_status():
    problem = answer({"title": "quota exceeded"}, content_type="application/problem+json; charset=utf-8")
    for call in (lambda: PARSER.single(problem, "a"), lambda: PARSER.batch(problem, ["a", "b"])):
        with pytest.raises(CatalogUnavailable, match="quota exceeded") as caught:
            call()
        assert caught.value.maybe_stored


def test_what_is_no_json_may_be_a_gateways_that_gave_up():
    with pytest.raises(CatalogUnavailable) as caught:
        PARSER.single(Answer(200, {}, b"<html>Back soon</html>"), "a")
    assert (caught.value.maybe_stored, caught.value.at_work) == (True, True)


@pytest.mark.parametrize("against", [{"error": "busy"}, {"success": False}, {"status": 503}, {"errors": [1]}], ids=str)
def test_a_look_up_and_capabilities_that_contradict_themselves_say_nothing(against):
    for call in (
        lambda: PARSER.found(answer({"found": ["a"]} | against, 200), ["a"]),
        lambda: PARSER.capabilities(answer({"maxBatchItems": 5} | against, 200)),
        lambda: PARSER.item(answer(against, 200), "a"),
    ):
        with pytest.raises(CatalogUnavailable) as caught:
            call()
        assert not caught.value.maybe_stored


def test_capabilities_may_say_more():
    said = {"maxBatchItems": 5, "status": "UP", "state": "healthy", "version": 2, "code": "x", "idempotencyKeys": True}
    can = PARSER.capabilities(answer(said, 200))
    assert (can.max_batch_items, can.honours_keys) == (5, True)


def test_a_nest_of_words_is_read_to_some_depth():
    nested = b'{"error":' * 900 + b'"deep"' + b"}" * 900
    assert PARSER.single(Answer(201, {}, nested), "a").doubted
    assert PARSER.single(Answer(201, {}, b'{"errors":' + b"[" * 900 + b"]" * 900 + b"}"), "a").doubted


NAMES = ["itemId", "ItemId", "status", "Status", "outcome", "Outcome", "OUT_COME", "results", "found", "data", "result"]
NAMES += ["error", "Error", "errors", "errcode", "errmsg", "success", "ok", "stored", "failed", "code", "message"]
NAMES += ["detail", "title", "lookup", "maxBatchItems", "maxRequestBytes", "x"]
VALUES: list[Any] = [None, True, False, 0, 1, -1, 5, 200, 201, 207, 404, 422, 504, 2**64, -(2**63), 0.0, 200.0, 1e308]
VALUES += ["", " ", "a", "b", "0", "201", "-1", "9" * 5000, "CREATED", "REPLACED", "failed", "ok", "\u0130", [], {}]


def anything(random: Random, depth: int = 3) -> Any:
    """A value of JSON."""
    kind = random.random() if depth else 0.0
    if kind < 0.5:
        return random.choice(VALUES)
    if kind < 0.7:
        return [anything(random, depth - 1) for _ in range(random.randrange(3))]
    return an_object(random, depth - 1)


def an_object(random: Random, depth: int) -> dict[str, Any]:
    """With names of the contract, often right."""
    said = {name: anything(random, depth) for name in random.sample(NAMES, random.randrange(7))}
    sound = [("itemId", "a"), ("status", 201), ("found", ["a"]), ("results", [result("a"), result("b")])]
    return said | dict(random.sample(sound, random.randrange(3)))


@pytest.mark.parametrize("seed", range(20))
def test_no_answer_has_another_end_than_those_of_the_table(seed):
    random = Random(seed)
    for _ in range(50):
        said = an_object(random, 3)
        if random.random() < 0.5:
            said["results"] = [result(one) | an_object(random, 2) for one in "ab"[: random.randrange(3)]]
        told = Answer(random.choice([200, 201, 207]), {}, _written(said))
        for call in (
            lambda told: PARSER.single(told, "a", took_s=random.random() * 2),
            lambda told: PARSER.batch(told, ["a", "b"], took_s=random.random() * 2),
            lambda told: PARSER.found(told, ["a", "b"]),
            lambda told: PARSER.item(told, "a"),
            PARSER.capabilities,
        ):
            with suppress(CatalogUnavailable):
                if isinstance(uploaded := call(told), Uploaded):
                    assert uploaded.doubted | uploaded.at_work <= uploaded.refused.keys() <= {0, 1}
                    assert not uploaded.replaced & uploaded.refused.keys()


def _written(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode()  # orjson writes no number of more than 64 bits
