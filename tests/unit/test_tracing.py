"""Traces: what goes through without an SDK, and what a recorded span tells."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from blade_server import tracing
from blade_server.core.engine.halt import Halt, HaltedError
from blade_server.errors import NotFound, Reason, StatementCancelled

TRACE, SPAN = "ab" * 16, "cd" * 8
GOOD = f"00-{TRACE}-{SPAN}-01"


class Recorded:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, sampler: Sampler | None = None) -> None:
        self._memory = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))

    def __call__(self) -> list[ReadableSpan]:
        return list(self._memory.get_finished_spans())


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(monkeypatch)


def test_without_an_sdk_the_callers_trace_goes_from_his_call_through_the_job_to_the_catalog() -> None:
    with tracing.called("call", {"traceparent": GOOD, "tracestate": "vendor=1"}):
        stored = tracing.headers()["traceparent"]
        assert tracing.headers()["tracestate"] == "vendor=1"
    with tracing.continued("job", stored, {}), tracing.span("part", {}), tracing.Often("upload")({}):
        assert tracing.headers() == {"traceparent": GOOD}
        assert tracing.ids() == (TRACE, SPAN)
    assert tracing.headers() == {}
    assert tracing.ids() == ("", "")


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "nonsense",
        GOOD.upper(),
        GOOD[:-1],
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{GOOD}-more",
        "x" * 10_000,
    ],
)
def test_a_malformed_traceparent_is_none(malformed: str, recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    with tracing.called("call", {"traceparent": malformed}):
        pass
    with tracing.continued("job", malformed, {}):
        pass
    call, job = recorded()
    assert call.parent is None
    assert job.parent is None
    assert not job.links
    assert not caplog.records


def test_a_malformed_tracestate_is_dropped_and_not_logged(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    for state in ("s3cret words", "a=1," * 400):
        with tracing.called("call", {"traceparent": GOOD, "tracestate": state}):
            assert tracing.headers().keys() == {"traceparent"}
    assert all(call.parent is not None and call.parent.span_id == int(SPAN, 16) for call in recorded())
    assert not caplog.records


def test_a_job_is_in_the_trace_of_the_call_that_stored_it_and_linked_to_it(recorded: Recorded) -> None:
    with tracing.called("call", {"traceparent": GOOD}):
        stored = tracing.headers()["traceparent"]
    with tracing.continued("job", stored, {"blade.job.id": "job-1", "blade.sync": ""}):
        with tracing.span("statement", {"rows": 1}, outward=True):
            pass
        inside = tracing.headers()["traceparent"]
    call, statement, job = recorded()
    assert call.parent is not None
    assert call.context is not None
    assert job.context is not None
    assert {f"{span.context.trace_id:032x}" for span in (call, statement, job) if span.context} == {TRACE}
    assert job.parent is not None
    assert job.parent.span_id == call.context.span_id
    assert [link.context.span_id for link in job.links] == [call.context.span_id]
    assert statement.parent is not None
    assert statement.parent.span_id == job.context.span_id
    assert (call.kind, job.kind, statement.kind) == (SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.CLIENT)
    assert job.attributes == {"blade.job.id": "job-1"}
    assert inside == f"00-{TRACE}-{job.context.span_id:016x}-01"


def test_what_was_not_stored_by_a_call_begins_a_trace(recorded: Recorded) -> None:
    with tracing.continued("job", "", {}):
        assert tracing.ids()[0]
    [job] = recorded()
    assert job.parent is None
    assert not job.links


def test_what_is_not_sampled_keeps_its_ids_and_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(monkeypatch, ParentBased(ALWAYS_OFF))
    with tracing.called("call", {}), tracing.span("part", {}), tracing.Often("upload")({}):
        assert not int(tracing.headers()["traceparent"][-2:], 16) & 1  # the flag of what is sampled
    assert recorded() == []


def test_of_what_is_done_often_the_first_are_recorded_and_then_each_hundredth(recorded: Recorded) -> None:
    often = tracing.Often("upload")
    with tracing.continued("job", GOOD, {}):
        parents = set()
        for number in range(1000):
            with often({"number": number}):
                parents.add(tracing.ids()[1])
    numbers = [span.attributes["number"] for span in recorded() if span.name == "upload" and span.attributes]
    assert numbers == [*range(100), *range(100, 1000, 100)]
    assert len(parents) == len(numbers) + 1  # all others are in the job's


@pytest.mark.parametrize(
    ("error", "kind", "failed"),
    [
        (NotFound("s3cret", reason=Reason.JOB_NOT_FOUND), "JOB_NOT_FOUND", True),
        (RuntimeError("s3cret"), "RuntimeError", True),
        (UnicodeDecodeError("utf-8", b"s3cret", 0, 1, "s3cret"), "UnicodeDecodeError", True),
        (StatementCancelled("s3cret"), "INTERNAL", False),
        (HaltedError(Halt.PAUSE), "HaltedError", False),
    ],
)
def test_an_error_is_told_by_its_kind_without_its_words(
    error: Exception, kind: str, failed: bool, recorded: Recorded
) -> None:
    with pytest.raises(type(error)), tracing.continued("job", GOOD, {}), tracing.span("part", {}):
        raise error
    part = recorded()[0]
    assert part.attributes == {"error.type": kind}
    assert (part.status.status_code is StatusCode.ERROR) is failed
    assert not part.events
    assert "s3cret" not in part.to_json()
