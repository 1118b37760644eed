"""Whatever is sent, the answer is a 4xx that names what was wrong, and the server goes on."""

from __future__ import annotations

import socket

import pytest


def violations(answer):
    details = answer.json()["error"]["details"]
    return [v["field"] for d in details for v in d.get("fieldViolations", [])]


def refused(answer, code, field=None):
    assert answer.status_code == code, answer.text
    assert answer.json()["error"]["code"] == code
    if field is not None:
        assert violations(answer) == [field]


@pytest.fixture(autouse=True)
def it_still_serves(rest):
    yield
    assert rest.get("/jobs/job-1").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"sql": ', "body"),
        ("[]", "body"),
        ('"text"', "body"),
        ("NaN", "body"),
        ('{"sqll": "x"}', "sqll"),
        ('{"sql": 5}', "sql"),
        ('{"sql": ["x"]}', "sql"),
        ('{"batchSize": "many"}', "batch_size"),
        ('{"batchSize": 1.5}', "batch_size"),
        ('{"batchSize": 99999999999}', "batch_size"),
        ('{"batchSize": true}', "batch_size"),
        ('{"batchSize": 1, "batch_size": 2}', "batch_size"),
        ('{"skipExisting": "true"}', "skip_existing"),
        ('{"metadata": [1]}', "metadata"),
        ('{"metadata": {"a": 1}}', "metadata"),
        ('{"metadata": {"a": {}}}', "metadata"),
        ('{"itemsPerSecond": "abc"}', "items_per_second"),
        ('{"sql": "\\ud800"}', "body"),
        ("[" * 5000, "body"),
    ],
)
def test_a_wrong_body_is_400_and_names_the_field(rest, backend, body, field):
    answer = rest.call("POST", "/jobs/blade/query/start", data=body, headers={"content-type": "application/json"})
    refused(answer, 400, field)
    assert backend.asked == []


def test_a_body_of_very_many_values_is_refused_before_anything_is_made_of_it(rest, backend):
    refused(
        rest.post("/jobs/blade/query/start", {"metadata": {str(number): "" for number in range(50_000)}}), 400, "body"
    )
    refused(rest.post("/jobs/blade/query/start", [[[1] * 1000] * 5] * 5), 400, "body")
    assert backend.asked == []


def test_a_large_body_that_may_be_is_taken(rest, backend):
    assert rest.post("/jobs/blade/query/start", {"sql": "x" * 200_000}).status_code == 202
    assert len(backend.last.sql) == 200_000


def test_an_unknown_field_deep_inside_is_named_with_its_path(rest):
    body = {"config": {"catalog": "main", "tabel": "x"}}
    answer = rest.post("/configure/blade/maintenance", body)
    refused(answer, 400, "source.config.tabel")


def test_a_list_in_place_of_a_message_is_not_taken_for_an_empty_one(rest):
    refused(rest.post("/configure/blade/maintenance", []), 400, "source")
    refused(rest.post("/configure/blade/maintenance", {"config": []}), 400, "source.config")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit[a]=1", "limit[a]"),
        ("limit.x=1", "limit.x"),
        ("nothing=1", "nothing"),
        ("parameters=1", "parameters"),
        ("parameters[p]=1&parameters[p]=2", "parameters[p]"),
        ("filter=%ff", "query"),
        ("&".join(["columns=a"] * 1001), "query"),
    ],
)
def test_a_wrong_query_parameter_is_400_and_named(rest, query, field):
    refused(rest.get(f"/blade/maintenance?{query}"), 400, field)


def test_wrong_enums_times_and_booleans_are_named(rest):
    refused(rest.get("/jobs?statuses=WALKING"), 400, "statuses[0]")
    refused(rest.get("/jobs?createdAfter=yesterday"), 400, "created_after")
    refused(rest.post("/configure/blade/m?validateOnly=1", {}), 400, "validateOnly")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/jobs?statuses=RUNING", None, "'RUNING' is none of PENDING, RUNNING, PAUSED"),
        ("/jobs?statuses=RUNING", None, "did you mean RUNNING?"),
        ("/jobs?pagesize=1", None, "is no field of this call; did you mean pageSize?"),
        ("/jobs/blade/query/start", {"batchsize": 1}, "did you mean batchSize?"),
        ("/jobs/blade/query/start", {"batch_sizes": 1}, "did you mean batch_size?"),
    ],
)
def test_a_misspelt_word_is_told_with_the_one_that_was_meant(rest, path, body, said):
    answer = rest.get(path) if body is None else rest.post(path, body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_the_path_and_the_body_must_agree(rest):
    refused(rest.post("/jobs/job-1:pause", {"jobId": "job-2"}), 400, "job_id")
    assert rest.post("/jobs/job-1:pause", {"jobId": "job-1"}).status_code == 200


def test_query_parameters_beside_a_whole_body_are_refused(rest):
    refused(rest.post("/jobs/job-1:pause?reason=x", {}), 400, "reason")
    refused(rest.post("/configure/blade/m?source.name=x", {}), 400, "source.name")


def test_a_body_where_none_belongs_is_refused(rest):
    refused(rest.post("/configure/blade/x:test", {"a": 1}), 400, "body")
    assert rest.post("/configure/blade/x:test", {}).status_code == 200


def test_a_huge_body_is_413(rest):
    answer = rest.call(
        "POST", "/jobs/blade/query/start", data=b" " * (5 << 20), headers={"content-type": "application/json"}
    )
    refused(answer, 413)


def test_a_huge_body_without_a_length_is_413(rest):
    def parts():
        for _ in range(80):
            yield b" " * 65536

    try:
        answer = rest.call(
            "POST", "/jobs/blade/query/start", data=parts(), headers={"content-type": "application/json"}
        )
    except OSError:  # refused before all of it was sent, which is just as well
        return
    refused(answer, 413)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin-1", ""]
)
def test_a_body_that_is_not_declared_as_json_is_415(rest, backend, kind):
    refused(rest.call("POST", "/jobs/job-1:pause", data="{}", headers={"content-type": kind}), 415)
    assert backend.asked == []


def test_a_compressed_body_is_415(rest):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    refused(rest.call("POST", "/jobs/job-1:pause", data=b"x", headers=headers), 415)


def test_an_unknown_accept_is_406_and_says_what_there_is(rest):
    answer = rest.get("/blade/maintenance", headers={"accept": "text/csv"})
    refused(answer, 406)
    assert "application/x-ndjson" in answer.text
    refused(rest.get("/jobs", headers={"accept": "text/event-stream"}), 406)


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "/jobs/a/b/c", "//jobs", "/static/", "/static/nothing.js"])
def test_an_unknown_path_is_404(rest, path):
    refused(rest.get(path), 404)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fapp.py",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/..\\app.py",
        "/static/%5c..%5capp.py",
        "/jobs/..",
        "/docs/../jobs",
    ],
)
def test_a_path_that_climbs_is_404(rest, backend, path):
    answer = raw(rest, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404"), answer
    assert backend.asked == []


def test_a_wrong_verb_is_405_and_says_which_there_are(rest):
    answer = rest.get("/jobs/job-1:pause")
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"
    answer = rest.call("PUT", "/configure/blade/x")
    refused(answer, 405)
    assert answer.headers["allow"] == "DELETE, GET, PATCH, POST"
    refused(rest.post("/docs", {}), 405)


def test_a_path_that_is_not_utf8_is_400(rest):
    assert raw(rest, "GET /jobs/%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 400"
    )


def test_headers_that_cannot_be_passed_on_are_400(rest):
    refused(rest.get("/jobs/job-1", headers={"blade-actor": "s\u00e4m".encode("latin-1")}), 400, "blade-actor")
    refused(rest.get("/jobs/job-1", headers={"x-request-id": "x" * 300}), 400, "x-request-id")


def test_huge_headers_are_refused(rest):
    answer = raw(rest, f"GET /jobs HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 100_000}\r\n\r\n")
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431")


def test_a_thousand_connections_left_open_are_turned_away_and_do_no_harm(rest, wait_until):
    def code():
        return raw(rest, "GET /jobs/job-1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[9:12]

    left = []
    try:
        left.extend(socket.create_connection(("127.0.0.1", rest.port), timeout=60) for _ in range(1000))
        assert code() in (b"503", b"")  # empty: closed before it could be read
    finally:
        for connection in left:
            connection.close()
    wait_until(lambda: code() == b"200")


def test_a_connection_that_says_nothing_is_closed(rest, monkeypatch):
    monkeypatch.setattr("blade_server.web.listener.IDLE_TIMEOUT_S", 0.1)
    with socket.create_connection(("127.0.0.1", rest.port), timeout=60) as connection:
        connection.sendall(b"GET /jo")
        assert connection.recv(100) == b""


def raw(rest, request):
    with socket.create_connection(("127.0.0.1", rest.port), timeout=60) as connection:
        answer = b""
        try:
            connection.sendall(request.encode("latin-1"))
            while part := connection.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer
