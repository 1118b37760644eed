"""The switches that make the catalog misbehave: each does what it says, as often as it says."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import requests
from tests.support.timing import assert_within
from tests.support.waiting import wait_until

from blade_sandbox.catalog import CatalogServer


def test_a_status_is_answered_so_many_times(catalog):
    catalog.set_faults(status={"code": 503, "count": 2, "retry_after": 7})
    answers = [catalog.upload("a") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 201]
    assert answers[0].headers["Retry-After"] == "7"
    assert catalog.status()["injected"] == {"status": 2}


def test_a_status_can_be_kept_to_one_kind_of_request(catalog):
    catalog.set_faults(status=[{"code": 500, "only": "batch"}, {"code": 429, "only": "lookup"}])
    assert catalog.upload("a").status_code == 201
    assert catalog.upload_batch(["a"]).status_code == 500
    assert requests.head(catalog.url + "/v1/items/BLADE%3Am/a", timeout=60).status_code == 429
    assert catalog.count()["items"] == 1


def test_a_rate_hits_about_that_share_and_the_same_ones_for_a_seed(catalog):
    runs = []
    for _ in range(2):
        catalog.set_faults(status={"code": 500, "rate": 0.5, "seed": 7})
        runs.append([catalog.upload("a").status_code == 500 for _ in range(60)])
    assert runs[0] == runs[1]
    assert 15 < sum(runs[0]) < 45


def test_reading_back_is_never_struck(catalog):
    catalog.upload("a")
    catalog.set_faults(status={"code": 500})
    assert catalog.get("/v1/capabilities").status_code == 500
    assert catalog.get("/v1/items/BLADE%3Am/a").status_code == 200
    assert catalog.count()["items"] == 1


def test_latency_holds_back_each_request_but_not_one_after_the_other(catalog):
    catalog.set_faults(latency_ms=300)

    def eight_at_once() -> float:
        begin = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            assert {a.status_code for a in pool.map(catalog.upload, "abcdefgh")} <= {200, 201}
        took_s = time.monotonic() - begin
        assert took_s >= 0.3
        return took_s

    assert_within(2.4, eight_at_once)
    assert catalog.status()["max_concurrent"] > 1


def test_a_hanging_upload_is_never_answered_and_holds_up_no_other(catalog):
    catalog.set_faults(hang={"count": 1})
    with pytest.raises(requests.ReadTimeout):
        requests.post(catalog.url + "/v1/items", files=catalog.fields("a"), timeout=0.3)
    assert catalog.upload("b").status_code == 201
    assert catalog.count()["items"] == 1


def test_a_hanging_upload_does_not_keep_the_server_from_stopping(tmp_path):
    server = CatalogServer(directory=tmp_path)
    server.start()
    server.set_faults(hang={"count": 1})
    failed: list[Exception] = []

    def upload() -> None:
        try:
            requests.post(server.url + "/v1/items", data=b"x", timeout=60)
        except requests.ConnectionError as exc:
            failed.append(exc)

    caller = threading.Thread(target=upload)
    caller.start()
    wait_until(lambda: server.status()["injected"])
    begin = time.monotonic()
    server.stop()
    caller.join()
    assert failed
    assert time.monotonic() - begin < 30


def test_a_dropped_reply_leaves_the_item_stored(catalog):
    catalog.set_faults(drop_reply={"count": 1})
    with pytest.raises(requests.ConnectionError):
        catalog.upload("a")
    assert catalog.count()["items"] == 1
    assert catalog.upload("b").status_code == 201


def test_a_dropped_reply_is_given_when_the_same_key_comes_again(start):
    catalog = start(replace=False)
    catalog.set_faults(drop_reply={"count": 1})
    with pytest.raises(requests.ConnectionError):
        catalog.upload("a", headers={"Idempotency-Key": "k"})
    assert catalog.upload("a", headers={"Idempotency-Key": "k"}).json()["outcome"] == "CREATED"
    assert catalog.count()["copies"] == 1


def test_a_reset_after_the_body_stores_nothing(catalog):
    catalog.set_faults(reset_after_body={"count": 1, "only": "batch"})
    with pytest.raises(requests.ConnectionError):
        catalog.upload_batch([str(n) for n in range(300)])
    assert catalog.count()["items"] == 0
    assert catalog.upload("b").status_code == 201


@pytest.mark.parametrize("ids", [["a", "c"], "^[ac]$"])
def test_rejected_ids_are_refused_one_by_one(catalog, ids):
    catalog.set_faults(reject_ids=ids)
    assert [r["status"] for r in catalog.upload_batch(["a", "b", "c"]).json()["results"]] == [422, 201, 422]
    assert catalog.upload("a").status_code == 422
    assert catalog.count()["items"] == 1


def test_a_catalog_that_is_down_refuses_connections_and_comes_back_on_its_port(catalog):
    catalog.upload("a")
    assert catalog.set_faults(down={"seconds": 1}).status_code == 200
    down_at = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        catalog.get("/healthz")  # over the connection that was open before
    refused = 0
    while time.monotonic() - down_at < 20:
        try:
            assert requests.get(catalog.url + "/healthz", timeout=60).text == "ok"
            break
        except requests.ConnectionError:
            refused += 1
    assert refused > 0
    assert 0.8 < time.monotonic() - down_at < 20
    assert catalog.upload("b").status_code == 201
    assert catalog.count()["items"] == 2


def test_a_catalog_can_be_stopped_while_it_is_down(tmp_path):
    with CatalogServer(directory=tmp_path) as server:
        server.set_faults(down={"seconds": 1000})
        with pytest.raises(requests.ConnectionError):
            requests.get(server.url + "/healthz", timeout=60)


def test_faults_can_be_seen_and_cleared(catalog):
    catalog.set_faults(status={"code": 500, "count": 5}, latency_ms=1, reject_ids=["x"])
    shown = catalog.get("/sandbox/faults").json()["faults"]
    assert (shown["status"][0]["count"], shown["latency_ms"], shown["reject_ids"]) == (5, 1, ["x"])
    catalog.session.delete(catalog.url + "/sandbox/faults", timeout=60)
    assert catalog.get("/sandbox/faults").json()["faults"] == {}
    assert catalog.upload("x").status_code == 201


@pytest.mark.parametrize(
    "faults",
    [
        {"statsu": {"code": 500}},
        {"status": {"code": 99}},
        {"status": {"cod": 500}},
        {"status": 500},
        {"hang": {"count": "two"}},
        {"hang": {"count": -1}},
        {"hang": {"only": "uploads"}},
        {"reject_ids": "("},
        {"reject_ids": 7},
        {"down": 3},
        {"latency_ms": "slow"},
    ],
)
def test_an_unknown_fault_is_refused_and_changes_nothing(catalog, faults):
    answer = catalog.set_faults(**faults, **({} if "latency_ms" in faults else {"latency_ms": 5}))
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert catalog.get("/sandbox/faults").json()["faults"] == {}


def test_the_status_says_when_the_last_uploads_began(catalog):
    before = datetime.now(UTC)
    catalog.upload("a")
    catalog.upload_batch(["b", "c"])
    catalog.get("/v1/capabilities")
    status = catalog.status()
    assert (status["uploads"], status["items"], status["concurrent"]) == (2, 3, 0)
    assert status["requests"] == 3
    began = [datetime.fromisoformat(at) for at in status["uploads_started"]]
    assert before <= began[0] <= began[1] <= datetime.now(UTC)
