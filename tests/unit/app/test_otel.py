"""When traces are sent, by the variables of OpenTelemetry."""

from __future__ import annotations

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
