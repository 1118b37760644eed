"""When traces are sent, by the variables of OpenTelemetry."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from blade_server.app import otel

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "blade", "OTEL_RESOURCE_ATTRIBUTES": "a=b"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_nothing_is_sent_unless_a_variable_says_where(environment: dict[str, str], sent: bool) -> None:
    assert otel.wanted(environment) is sent
    assert list(otel.in_vain(environment)) == []


def test_an_exporter_that_there_is_not_is_said() -> None:
    [sentence] = otel.in_vain(ENDPOINT | {"OTEL_TRACES_EXPORTER": "zipkin"})
    assert sentence.startswith("OTEL_TRACES_EXPORTER is 'zipkin': traces are sent by otlp")


def test_without_the_packages_one_sentence_tells_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "find_spec", lambda name: None)
    for name, value in ENDPOINT.items():
        monkeypatch.setenv(name, value)
    [sentence] = otel.in_vain(ENDPOINT)
    assert "pip install 'blade[otel]'" in sentence
    otel.set_up("blade")()


def test_a_protocol_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json': it is grpc or http/protobuf"):
        otel.set_up("blade")


_SENDS = """
from opentelemetry import trace
from blade_server import logs, tracing
from blade_server.app import otel
logs.set_up(logs.Levels())
end = otel.set_up("blade")
with tracing.called("x", {}):
    pass
trace.get_tracer_provider().force_flush()
end()
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_nothing_of_headers_and_addresses_is_in_the_log(protocol: str) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization Bearer s3cret",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:s3cret@127.0.0.1:1/x?key=s3cret",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.1",
    }
    ended = subprocess.run([sys.executable, "-c", _SENDS], env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr
    assert "traces: Header format invalid!" in ended.stderr
    assert "traces: Failed to export" in ended.stderr
    assert "s3cret" not in ended.stderr


def test_of_what_the_sdk_says_numbers_and_kinds_of_errors_stay(caplog: pytest.LogCaptureFixture) -> None:
    says = logging.Logger("opentelemetry.exporter")
    says.addHandler(otel._WithoutValues())
    says.error("batch code: %s, reason: %s", 401, "s3cret")
    try:
        raise ConnectionError("s3cret")
    except ConnectionError:
        says.exception("not sent")
    assert caplog.messages == ["traces: batch code: 401, reason: ...", "traces: not sent (ConnectionError)"]
    assert "s3cret" not in caplog.text
