"""Traces to a collector: the SDK of OpenTelemetry (`pip install 'blade[otel]'`), set up by its own OTEL_* variables.

Off unless one of them says where traces go.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from importlib.metadata import version
from importlib.util import find_spec

log = logging.getLogger(__name__)

_WHERE = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOL = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
LAST_WORDS_S = 1.0


class _WithoutValues(logging.Handler):
    """Logs what the SDK says without what it quotes: headers and addresses have secrets, and answers have anything."""

    def emit(self, record: logging.LogRecord) -> None:
        values = record.args if isinstance(record.args, tuple) else ()
        known = tuple(each if isinstance(each, int | float | Enum) else "..." for each in values)
        raised = record.exc_info[0] if record.exc_info else None
        why = f" ({raised.__name__})" if raised else ""
        log.log(record.levelno, "traces: %s%s", str(record.msg) % known if known else record.msg, why)


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether traces go somewhere: an endpoint is named, or the exporter `otlp`."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    return exporter == "otlp" or (not exporter and any(environment.get(name) for name in _WHERE))


def in_vain(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for what was asked of traces and does not happen."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    if exporter not in ("", "none", "otlp"):
        yield f"OTEL_TRACES_EXPORTER is {exporter!r}: traces are sent by otlp, or not at all, as now"
    if wanted(environment) and not _installed():
        yield "OTEL_* variables ask for traces, which takes more packages: pip install 'blade[otel]'; none are sent"


def _installed() -> bool:
    return find_spec("opentelemetry.sdk") is not None and find_spec("opentelemetry.exporter") is not None


def set_up(service: str) -> Callable[[], None]:
    """Sends traces from here on, if they are wanted; returns what sends the last of them, in at most LAST_WORDS_S.

    `service`: what this process is called, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise.
    """
    return _started(service) if wanted(os.environ) and _installed() else lambda: None


def _started(service: str) -> Callable[[], None]:
    of_sdk = logging.getLogger("opentelemetry")
    of_sdk.handlers, of_sdk.propagate = [_WithoutValues()], False

    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

    protocol = next(filter(None, map(os.environ.get, _PROTOCOL)), "http/protobuf")
    exporter: SpanExporter
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

        exporter = OverGrpc()
    elif protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        exporter = OverHttp()
    else:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: it is grpc or http/protobuf")
    own = {"service.version": version("blade"), "service.instance.id": str(os.getpid())}
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        own["service.name"] = service
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    log.info("traces are sent, by %s", protocol)

    def end() -> None:
        """A collector that is away must not hold up the end."""
        sending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(LAST_WORDS_S)

    return end
