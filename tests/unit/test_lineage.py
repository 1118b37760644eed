"""Lineage against a small backend: what arrives there, and that nobody waits for it or fails by it."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.waiting import wait_until
from tests.support.webhooks import Receiver

from blade_server.lineage import Dataset, Lineage, RunEvent, RunState

KEY = "key-that-nobody-may-see"
EVENT = RunEvent(
    state=RunState.COMPLETE,
    job_name="sync.keep",
    job_id="job-1",
    kind="SYNC",
    create_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    time=datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC),
    inputs=[Dataset(namespace="databricks://dbc.example.com", name="main.blade.parts", version="7")],
    outputs=[Dataset(namespace="https://catalog.example.com", name="BLADE:parts", rows=12)],
)


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver().running() as backend:
        yield backend


@pytest.fixture(autouse=True)
def _environment(backend: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator sets, in a copy: the client writes into it."""
    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://{backend.host}")
    monkeypatch.setenv("OPENLINEAGE_API_KEY", KEY)
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "a")


@pytest.fixture
def lineage() -> Iterator[Lineage]:
    lineage = Lineage.from_environment()
    yield lineage
    lineage.close()


def told(backend: Receiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in backend.received]


def test_an_event_arrives_as_the_specification_has_it(lineage: Lineage, backend: Receiver) -> None:
    lineage.tell(lambda: EVENT)
    wait_until(lambda: backend.received)
    (request,), (event,) = backend.received, told(backend)
    assert request.path == "/api/v1/lineage"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in request.body.decode()
    assert event["eventType"] == "COMPLETE"
    assert event["eventTime"] == "2026-01-02T03:05:05+00:00"
    assert (event["job"]["namespace"], event["job"]["name"]) == ("a", "sync.keep")
    assert event["job"]["facets"]["jobType"]["jobType"] == "SYNC"
    assert event["run"]["facets"]["externalQuery"]["externalQueryId"] == "job-1"
    (read,), (written,) = event["inputs"], event["outputs"]
    assert (read["namespace"], read["name"]) == ("databricks://dbc.example.com", "main.blade.parts")
    assert read["facets"]["version"]["datasetVersion"] == "7"
    assert (written["namespace"], written["name"]) == ("https://catalog.example.com", "BLADE:parts")
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 12


def test_all_events_of_a_job_are_of_one_run(lineage: Lineage, backend: Receiver) -> None:
    for job_id in ("job-1", "job-2"):
        for state in (RunState.START, RunState.FAIL):
            lineage.tell(
                lambda job_id=job_id, state=state: replace(EVENT, job_id=job_id, state=state, error="INTERNAL")
            )
    wait_until(lambda: len(backend.received) == 4)
    events = told(backend)
    assert [event["eventType"] for event in events] == ["START", "FAIL", "START", "FAIL"]
    runs = [event["run"]["runId"] for event in events]
    assert runs[0] == runs[1] != runs[2] == runs[3]
    assert events[1]["run"]["facets"]["errorMessage"]["message"] == "INTERNAL"


@pytest.mark.parametrize("variables", [{"OPENLINEAGE_URL": None}, {"OPENLINEAGE_DISABLED": "True"}])
def test_where_no_variable_says_where_to_nothing_is_made(
    variables: dict[str, str | None], monkeypatch: pytest.MonkeyPatch, backend: Receiver
) -> None:
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    made: list[RunEvent] = []
    lineage = Lineage.from_environment()
    lineage.tell(lambda: made.append(EVENT) or EVENT)
    lineage.close()
    assert made == backend.received == []


def test_variables_that_cannot_be_right_are_said_without_their_values(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", f"{KEY}, no address")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "http")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__URL", "{" + KEY)
    lineage = Lineage.from_environment()
    lineage.tell(lambda: EVENT)
    assert "no events are sent" in caplog.text
    assert KEY not in caplog.text


def test_without_the_extra_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    Lineage.from_environment().tell(lambda: EVENT)
    assert "install the extra blade[lineage]" in caplog.text


def test_a_backend_that_does_not_answer_holds_up_nobody_and_what_is_too_much_is_left_out(
    backend: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    backend.answers = lambda _: release.wait(20) and 201
    made = Lineage.from_environment()
    lineage = Lineage(made._client, max_waiting=5)
    made.close()
    try:
        began_s = time.monotonic()
        for _ in range(50):
            lineage.tell(lambda: EVENT)
        lineage.close(timeout_s=0.1)
        lineage.tell(lambda: EVENT)
        assert time.monotonic() - began_s < 1.0
        assert caplog.text.count("events are left out: 5 wait") == 1
    finally:
        release.set()
    wait_until(lambda: not lineage._thread.is_alive())
    assert 1 <= len(backend.received) <= 6


def test_an_event_that_cannot_be_made_or_is_refused_leaves_the_others(
    lineage: Lineage, backend: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [400, 201]
    backend.answers = lambda _: answers.pop(0)
    caplog.set_level(logging.WARNING)
    lineage.tell(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    lineage.tell(lambda: EVENT)
    lineage.tell(lambda: replace(EVENT, job_id="job-2"))
    wait_until(lambda: len(backend.received) == 2)
    assert caplog.text.count("could not be sent (ZeroDivisionError)") == 1
    assert KEY not in caplog.text
    assert backend.host not in caplog.text


def test_what_waits_is_sent_before_it_closes(lineage: Lineage, backend: Receiver) -> None:
    for _ in range(20):
        lineage.tell(lambda: EVENT)
    lineage.close()
    assert len(backend.received) == 20
