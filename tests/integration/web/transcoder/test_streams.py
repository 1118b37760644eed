from __future__ import annotations

import asyncio
import json

import grpc
import pytest
import requests

from blade.v1 import job_pb2, job_service_pb2, query_service_pb2
from blade_server.web.transcoder import stream_forms

Job = job_pb2.Job


def snapshot(revision, status="RUNNING"):
    return job_service_pb2.WatchJobResponse(job=Job(job_id="job-1", status=status, revision=revision))


def chunk(item_id):
    message = query_service_pb2.QueryItemsResponse()
    message.items.add(item_id=item_id)
    return message


def events(text):
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]


def test_an_empty_stream_is_an_empty_array_or_object(rest):
    assert rest.get("/jobs/job-1:watch").json() == []
    assert rest.get("/blade/maintenance").json() == {"items": [], "rejections": [], "moreRows": False}


def test_rows_are_one_object_whatever_comes_in_which_chunk(rest, backend):
    rejected = query_service_pb2.QueryItemsResponse()
    for number in range(40_000):  # more than is kept in memory
        rejected.rejections.add(item_id=f"r-{number}", message="null")
    more = query_service_pb2.QueryItemsResponse(more_rows=True)
    backend.answers["QueryItems"] = [rejected, chunk("a"), chunk("b"), more]
    answer = rest.get("/blade/maintenance")
    assert answer.headers["content-type"] == "application/json"
    shown = answer.json()
    assert list(shown) == ["items", "rejections", "moreRows"]
    assert [item["itemId"] for item in shown["items"]] == ["a", "b"]
    assert [one["itemId"] for one in shown["rejections"]] == [f"r-{number}" for number in range(40_000)]
    assert shown["moreRows"] is True
    backend.answers["QueryItems"] = [rejected]
    assert rest.get("/blade/maintenance").json()["items"] == []


def test_rejected_rows_that_wait_for_the_end_are_bounded_and_ndjson_has_them_all(
    rest, backend, monkeypatch, wait_until
):
    monkeypatch.setattr(stream_forms, "MAX_KEPT_BYTES", 1 << 20)
    rejected = query_service_pb2.QueryItemsResponse()
    for number in range(1_000):
        rejected.rejections.add(item_id=f"r-{number}", message="null")

    async def chunks():
        yield chunk("a")
        for _ in range(30):
            yield rejected
        await asyncio.Event().wait()  # until it is cancelled

    backend.answers["QueryItems"] = chunks
    answer = rest.get("/blade/maintenance")
    assert answer.status_code == 200
    shown = answer.json()
    assert list(shown) == ["items", "rejections", "moreRows", "error"]
    assert [item["itemId"] for item in shown["items"]] == ["a"]
    assert 1_000 < len(shown["rejections"]) < 30_000
    assert shown["error"] == {
        "code": 429,
        "message": "more than 1 MiB of rejected rows; ask for application/x-ndjson, or for fewer rows",
        "status": "RESOURCE_EXHAUSTED",
    }
    wait_until(lambda: backend.ended == ["QueryItems"])
    backend.answers["QueryItems"] = [rejected] * 30
    lines = rest.get("/blade/maintenance", headers={"accept": "application/x-ndjson"}).text.splitlines()
    assert sum(len(json.loads(line)["rejections"]) for line in lines) == 30_000


def test_items_go_out_before_the_last_is_there(rest, backend):
    read = asyncio.Event()

    async def chunks():
        yield chunk("a")
        await read.wait()
        yield chunk("b")

    backend.answers["QueryItems"] = chunks
    with rest.session.get(f"{rest.url}/blade/maintenance", stream=True, timeout=60) as answer:
        parts = answer.iter_content(None)
        assert next(parts).startswith(b'{"items":[{"itemId":"a"')
        rest.loop.call_soon_threadsafe(read.set)
        assert b'{"itemId":"b"' in b"".join(parts)


def test_ndjson_has_a_message_a_line(rest, backend):
    backend.answers["QueryItems"] = [chunk("a"), chunk("b")]
    answer = rest.get("/blade/maintenance", headers={"accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["items"][0]["itemId"] for line in answer.text.splitlines()] == ["a", "b"]


def test_events_carry_the_revision_and_end_with_end(rest, backend):
    backend.answers["WatchJob"] = [snapshot(3), snapshot(8, "COMPLETED")]
    answer = rest.get("/jobs/job-1:watch", headers={"accept": "text/event-stream"})
    assert answer.headers["content-type"] == "text/event-stream"
    first, second, end = events(answer.text)
    assert (first["id"], second["id"]) == ("3", "8")
    assert json.loads(second["data"])["job"]["status"] == "COMPLETED"
    assert end == {"id": "end", "event": "end", "data": "{}"}


def test_a_browser_that_comes_back_after_the_end_is_told_to_stop(rest, backend):
    headers = {"accept": "text/event-stream", "last-event-id": "end"}
    assert rest.get("/jobs/job-1:watch", headers=headers).status_code == 204
    assert backend.asked == []


def test_a_browser_that_comes_back_in_between_gets_the_job_as_it_is(rest, backend):
    backend.answers["WatchJob"] = [snapshot(8, "COMPLETED")]
    headers = {"accept": "text/event-stream", "last-event-id": "3"}
    assert events(rest.get("/jobs/job-1:watch", headers=headers).text)[0]["id"] == "8"


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "text/event-stream"])
def test_an_error_before_the_first_message_has_its_http_code(rest, backend, failing, accept):
    backend.answers["WatchJob"] = [failing(grpc.StatusCode.NOT_FOUND, "no such job")]
    answer = rest.get("/jobs/job-1:watch", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")


def test_an_error_in_mid_stream_is_the_last_element_or_member(rest, backend, failing):
    failed = failing(grpc.StatusCode.DATA_LOSS, "rows are missing")
    backend.answers["WatchJob"] = [snapshot(3), failed]
    answer = rest.get("/jobs/job-1:watch")
    assert answer.status_code == 200
    assert answer.json()[-1]["error"]["status"] == "DATA_LOSS"
    backend.answers["QueryItems"] = [chunk("a"), failed]
    shown = rest.get("/blade/maintenance").json()
    assert [item["itemId"] for item in shown["items"]] == ["a"]
    assert shown["error"]["status"] == "DATA_LOSS"


def test_an_error_in_mid_stream_is_the_last_line(rest, backend, failing):
    backend.answers["QueryItems"] = [chunk("a"), failing(grpc.StatusCode.DATA_LOSS, "rows are missing")]
    answer = rest.get("/blade/maintenance", headers={"accept": "application/x-ndjson"})
    assert json.loads(answer.text.splitlines()[-1])["error"]["message"] == "rows are missing"


def test_an_error_in_mid_stream_is_an_event_failure_and_there_is_no_end(rest, backend, failing):
    backend.answers["WatchJob"] = [snapshot(1), failing(grpc.StatusCode.UNAVAILABLE, "stopping")]
    last = events(rest.get("/jobs/job-1:watch", headers={"accept": "text/event-stream"}).text)[-1]
    assert last["event"] == "failure"
    assert json.loads(last["data"])["error"]["status"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/json;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("text/*", "text/event-stream"),
        ("application/json;q=0, */*", "application/x-ndjson"),
    ],
)
def test_the_accept_header_chooses_the_form(rest, accept, kind):
    assert rest.get("/blade/maintenance", headers={"accept": accept}).headers["content-type"] == kind


def test_messages_come_as_they_are_made(rest, backend):
    go_on = asyncio.Event()

    async def two():
        yield chunk("a")
        await go_on.wait()
        yield chunk("b")

    backend.answers["QueryItems"] = two
    with rest.get("/blade/maintenance", headers={"accept": "application/x-ndjson"}, stream=True) as answer:
        lines = answer.iter_lines()
        assert b'"a"' in next(lines)
        rest.loop.call_soon_threadsafe(go_on.set)
        assert b'"b"' in next(lines)


def test_a_client_that_leaves_in_mid_stream_ends_the_call(rest, backend, wait_until):
    async def endless():
        yield snapshot(1)
        await asyncio.Event().wait()

    backend.answers["WatchJob"] = endless
    with rest.get("/jobs/job-1:watch", headers={"accept": "text/event-stream"}, stream=True) as answer:
        lines = answer.iter_lines()
        next(lines)  # whoever drops the iterator drops the connection
        assert backend.ended == []
    wait_until(lambda: backend.ended == ["WatchJob"])


def test_a_client_that_leaves_before_the_answer_ends_the_call(rest, backend, wait_until):
    async def never():
        await asyncio.Event().wait()

    backend.answers["GetJob"] = never
    with pytest.raises(requests.Timeout):
        rest.session.get(rest.url + "/jobs/job-1", timeout=0.3)
    wait_until(lambda: backend.ended == ["GetJob"])


def test_a_slow_reader_holds_the_source_back(rest, backend, wait_until):
    made = []
    seen = []

    def stands_still():
        """The same number twenty times in a row, 10 ms apart."""
        seen.append(len(made))
        return len(seen) > 20 and seen[-1] == seen[-20] > 0

    async def wide():
        for number in range(400):
            made.append(number)
            yield chunk("x" * 100_000)

    backend.answers["QueryItems"] = wide
    with rest.get("/blade/maintenance", stream=True) as answer:
        answer.raw.read(10)
        wait_until(stands_still)
        assert len(made) < 400, "40 MB were made for a reader that took ten bytes"


def test_a_client_that_takes_nothing_is_dropped(rest, backend, wait_until, monkeypatch):
    monkeypatch.setattr("blade_server.web.transcoder.exchange.STALL_TIMEOUT_S", 0.3)

    async def wide():
        while True:
            yield chunk("x" * 100_000)

    backend.answers["QueryItems"] = wide
    with rest.get("/blade/maintenance", stream=True) as answer:
        answer.raw.read(10)
        wait_until(lambda: backend.ended == ["QueryItems"])


def test_stopping_ends_open_streams(rest, backend, wait_until):
    async def endless():
        yield snapshot(1)
        await asyncio.Event().wait()

    backend.answers["WatchJob"] = endless
    with rest.get("/jobs/job-1:watch", headers={"accept": "text/event-stream"}, stream=True) as answer:
        lines = answer.iter_lines()
        next(lines)  # whoever drops the iterator drops the connection
        rest.do(rest.web.stop(0))
    wait_until(lambda: backend.ended == ["WatchJob"])
