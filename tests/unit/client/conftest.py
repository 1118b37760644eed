"""A real gRPC server in this process whose answers a test chooses, and ways to call the client and the CLI on it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from blade.v1 import (
    config_service_pb2_grpc,
    ingest_service_pb2_grpc,
    job_service_pb2_grpc,
    query_service_pb2_grpc,
)
from blade.v1.job_pb2 import Job
from blade.v1.job_service_pb2 import WatchJobResponse
from blade_client import BladeClient
from blade_client.cli import main

Handler = Callable[[Any, grpc.ServicerContext], Any]

_SERVICES = {
    "ConfigService": config_service_pb2_grpc,
    "QueryService": query_service_pb2_grpc,
    "IngestService": ingest_service_pb2_grpc,
    "JobService": job_service_pb2_grpc,
}


class FakeBlade:
    """Answers each RPC with the handler the test gave for its name, and keeps what was asked.

    Attributes:
        requests: (name of the RPC, request) in the order of arrival.
        metadata: Metadata of the last call.
        left: Set when the client of a stream made by `until_left` has gone.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self._credentials = credentials
        self._handlers: dict[str, Handler] = {}
        self._server: grpc.Server | None = None
        self.requests: list[tuple[str, Any]] = []
        self.metadata: dict[str, str] = {}
        self.left = threading.Event()
        self.port = 0

    @property
    def target(self) -> str:
        return f"localhost:{self.port}" if self._credentials else f"127.0.0.1:{self.port}"

    def on(self, name: str, *answers: Any) -> None:
        """Answers the first call with the first answer and so on, and every later one with the last.

        An answer is a message, or a list of messages for a stream, or a function of (request, context).
        """
        left = list(answers)

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            answer = left.pop(0) if len(left) > 1 else left[0]
            if callable(answer):
                return answer(request, context)
            return iter(answer) if isinstance(answer, list) else answer

        self._handlers[name] = handle

    def asked(self, name: str) -> list[Any]:
        """The requests of one RPC."""
        return [request for each, request in self.requests if each == name]

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(16))
        for service, module in _SERVICES.items():
            base = getattr(module, f"{service}Servicer")
            rpcs = [name for name in vars(base) if name[0].isupper()]
            servicer = type(service, (base,), {name: self._method(name) for name in rpcs})()
            getattr(module, f"add_{service}Servicer_to_server")(servicer, self._server)
        address = f"127.0.0.1:{self.port}"
        if self._credentials:
            self.port = self._server.add_secure_port(address, self._credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def _method(self, name: str) -> Handler:
        def method(servicer: object, request: Any, context: grpc.ServicerContext) -> Any:
            self.requests.append((name, request))
            self.metadata = dict(context.invocation_metadata())
            return self._handlers[name](request, context)

        return method

    @staticmethod
    def fails(code: grpc.StatusCode, message: str, reason: str = "", *details: Any, **metadata: str) -> Handler:
        """A handler that ends the call as the server's table of errors does; without a reason, as a proxy does."""

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            if not reason:
                context.abort(code, message)
            status = status_pb2.Status(code=code.value[0], message=message)
            info = error_details_pb2.ErrorInfo(reason=reason, domain="blade", metadata=metadata)
            for detail in (info, *details):
                packed = AnyMessage()
                packed.Pack(detail)
                status.details.append(packed)
            context.abort_with_status(rpc_status.to_status(status))

        return handle

    def until_left(self, *messages: Any) -> Handler:
        """A stream that sends the messages and then stays open until the client goes."""

        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            context.add_callback(self.left.set)
            yield from messages
            self.left.wait(60)

        return handle

    def then_fails(self, messages: list[Any], failure: Handler) -> Handler:
        """A stream that sends the messages and then ends with the failure."""

        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield from messages
            failure(request, context)

        return handle


@pytest.fixture
def server() -> Iterator[FakeBlade]:
    fake = FakeBlade()
    fake.start()
    yield fake
    fake.left.set()
    fake.stop()


@pytest.fixture
def secure_server(request: pytest.FixtureRequest) -> Iterator[FakeBlade]:
    folder = request.path.parent / "tls"
    pair = ((folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes())
    fake = FakeBlade(grpc.ssl_server_credentials([pair]))
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def blade(server: FakeBlade) -> Iterator[BladeClient]:
    with BladeClient(server.target, timeout_s=20, actor="tester") as client:
        yield client


@pytest.fixture
def run(server: FakeBlade) -> Callable[..., Any]:
    """Runs the CLI in this process against the server and returns click's result."""

    def run_cli(*args: str, stdin: str | bytes | None = None) -> Any:
        return CliRunner().invoke(main, ["--server", server.target, *args], input=stdin, catch_exceptions=False)

    return run_cli


@pytest.fixture
def spawn(server: FakeBlade) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the CLI as a process of its own against the server."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn_cli(*args: str, columns: int | None = 120, **options: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "BLADE_SERVER": server.target, "TERM": "xterm", "COLUMNS": str(columns)}
        environment |= options.pop("env", {})
        if columns is None:  # the terminal knows
            del environment["COLUMNS"]
        process = subprocess.Popen(
            [sys.executable, "-c", "from blade_client.cli import main; main()", *args],
            env=environment,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )
        started.append(process)
        return process

    yield spawn_cli
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def job_at(revision: int, status: str = "RUNNING", **fields: Any) -> Job:
    """A job as the server shows it; `revision` items of ten are done."""
    values: dict[str, Any] = {
        "job_id": "job-00000000000000000001",
        "status": status,
        "revision": revision,
        "total_items": 10,
        "processed_items": revision,
        "success_count": revision,
        **fields,
    }
    return Job(**values)


@pytest.fixture
def make_job() -> Callable[..., Job]:
    return job_at


@pytest.fixture
def snapshot() -> Callable[..., WatchJobResponse]:
    """One message of a watch stream, with the arguments of `make_job`."""

    def make(*args: Any, heartbeat: bool = False, **fields: Any) -> WatchJobResponse:
        return WatchJobResponse(job=job_at(*args, **fields), heartbeat=heartbeat)

    return make
