"""The server around the services: health, reflection, listening, TLS, actors, and how it stops."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from tests.support.nouns import a_job
from tests.support.waiting import wait_until

from blade.v1 import job_service_pb2, job_service_pb2_grpc
from blade_server.model.access import Caller
from blade_server.rpc import server
from blade_server.rpc.server import SERVICES, ListenError

from .conftest import TIMEOUT_S, Details, RpcWorld, failure

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health(world: RpcWorld, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(world.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S).status


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_knows_every_service_and_says_when_the_server_is_about_to_stop(world: RpcWorld, service: str) -> None:
    assert health(world, service) == SERVING

    world.run(world.server.announce_stop())

    assert health(world, service) == NOT_SERVING


def test_who_watches_the_health_has_limits_for_strangers_may(world: RpcWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_HEALTH_WATCHERS_EACH", 2)
    stub = health_pb2_grpc.HealthStub(world.channel)

    def watch(service: str) -> Any:
        call = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        assert next(call).status in (SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        return call

    assert failure(lambda: watch("x" * 1000)).code() is grpc.StatusCode.INVALID_ARGUMENT
    calls = [watch(""), watch("nobody.knows")]
    assert failure(lambda: watch("")).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert health(world, "") == SERVING
    with grpc.insecure_channel(world.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert next(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())).status == SERVING

    calls[0].cancel()
    wait_until(lambda: world.server._health._watching.total() == 1)
    watch("").cancel()


def reflect(world: RpcWorld, version: str, **request: Any) -> Any:
    call = world.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return next(call(iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=TIMEOUT_S))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_the_services_and_gives_files_with_their_http_options(world: RpcWorld, version: str) -> None:
    names = {service.name for service in reflect(world, version, list_services="").list_services_response.service}
    assert set(SERVICES) <= names

    files = reflect(world, version, file_containing_symbol="blade.v1.JobService").file_descriptor_response
    protos = {proto.name: proto for proto in map(FileDescriptorProto.FromString, files.file_descriptor_proto)}

    [service] = protos["blade/v1/job_service.proto"].service
    assert service.method[0].options.Extensions[annotations_pb2.http].post == "/jobs/blade/query/start"
    assert "google/api/http.proto" in protos


def test_an_unknown_method_is_unimplemented(world: RpcWorld) -> None:
    call = world.channel.unary_unary("/blade.v1.JobService/Explode")

    assert failure(lambda: call(b"", timeout=TIMEOUT_S)).code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_port_that_is_taken_is_said_in_words(make_world: Callable[..., RpcWorld]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}: Address already in use"):
            make_world(port=port)


def test_two_servers_do_not_share_a_port(make_world: Callable[..., RpcWorld]) -> None:
    world = make_world()

    with pytest.raises(ListenError, match="Address already in use"):
        make_world(port=world.server.port)


def test_a_host_that_does_not_exist_is_said_in_words(make_world: Callable[..., RpcWorld]) -> None:
    with pytest.raises(ListenError, match=r"no-such-host\.invalid"):
        make_world(host="no-such-host.invalid")


def test_tls_needs_both_files_and_usable_ones(make_world: Callable[..., RpcWorld], tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")

    with pytest.raises(ListenError, match="BLADE_TLS_KEY_FILE"):
        make_world(tls_cert_file=broken)
    with pytest.raises(ListenError, match=r"broken\.pem"):
        make_world(tls_cert_file=broken, tls_key_file=broken)
    with pytest.raises(ListenError, match=r"absent\.pem"):
        make_world(tls_cert_file=tmp_path / "absent.pem", tls_key_file=broken)


def test_tls_serves_with_the_given_certificate(make_world: Callable[..., RpcWorld], tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    world = make_world(tls_cert_file=cert, tls_key_file=key)
    world.jobs.show.get = lambda job_id: a_job()

    with grpc.secure_channel(world.address, grpc.ssl_channel_credentials(cert.read_bytes())) as channel:
        answer = job_service_pb2_grpc.JobServiceStub(channel).GetJob(
            job_service_pb2.GetJobRequest(id="x"), timeout=TIMEOUT_S
        )

    assert answer.job.job_id == a_job().job_id


@pytest.mark.parametrize(
    ("sent", "actor"),
    [([("blade-actor", "ops@example.org")], "ops@example.org"), ([], None), ([("blade-actor", "x" * 201)], None)],
)
def test_the_actor_is_what_the_caller_says_or_else_its_address(
    world: RpcWorld, sent: list[tuple[str, str]], actor: str | None
) -> None:
    seen: dict[str, str] = {}

    def pause(job_id: str, *, by: Caller, reason: str) -> Any:
        seen.update(actor=by.name, reason=reason)
        return a_job()

    world.jobs.control.pause = pause
    request = job_service_pb2.PauseJobRequest(job_id="x", reason="lunch")

    job_service_pb2_grpc.JobServiceStub(world.channel).PauseJob(request, metadata=sent, timeout=TIMEOUT_S)

    assert seen["reason"] == "lunch"
    if actor is None:
        assert seen["actor"].startswith("127.0.0.1:")
    else:
        assert seen["actor"] == actor


def test_a_cancel_is_seen_through_also_when_its_caller_leaves(world: RpcWorld) -> None:
    looking, left, done = threading.Event(), threading.Event(), threading.Event()

    def looks(job_id: str) -> Iterator[float]:
        yield 0.0
        looking.set()
        assert left.wait(TIMEOUT_S)
        yield 0.0
        done.set()

    world.jobs.control.cancel = lambda job_id, **_: a_job()
    world.jobs.control.cancelling = looks
    world.jobs.show.get = lambda job_id, history: a_job()
    stub = job_service_pb2_grpc.JobServiceStub(world.channel)
    call = stub.CancelJob.future(job_service_pb2.CancelJobRequest(job_id="x"), timeout=TIMEOUT_S)
    assert looking.wait(TIMEOUT_S)
    call.cancel()
    left.set()

    assert done.wait(TIMEOUT_S)


def test_limits_that_were_forgotten_do_not_lift_the_limits(world: RpcWorld) -> None:
    request = job_service_pb2.UpdateJobLimitsRequest(job_id="x")
    stub = job_service_pb2_grpc.JobServiceStub(world.channel)

    assert failure(lambda: stub.UpdateJobLimits(request, timeout=TIMEOUT_S)).code() is grpc.StatusCode.INVALID_ARGUMENT


class Gate:
    """A call to core that is running until it is let go."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def get(self, job_id: str) -> Any:
        self.entered.set()
        assert self.open.wait(TIMEOUT_S)
        return a_job()


def test_a_stop_lets_running_calls_finish_although_a_health_watch_never_ends(world: RpcWorld) -> None:
    gate = Gate()
    world.jobs.show.get = gate.get
    watch = health_pb2_grpc.HealthStub(world.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == SERVING
    call = job_service_pb2_grpc.JobServiceStub(world.channel).GetJob.future(
        job_service_pb2.GetJobRequest(id="x"), timeout=TIMEOUT_S
    )
    assert gate.entered.wait(TIMEOUT_S)

    stopping = world.submit(world.server.stop(grace_s=60))
    gate.open.set()

    assert call.result(TIMEOUT_S).job.job_id == a_job().job_id
    stopping.result(TIMEOUT_S)


def test_a_stop_ends_calls_that_take_too_long_with_unavailable(world: RpcWorld) -> None:
    gate = Gate()
    world.jobs.show.get = gate.get
    call = job_service_pb2_grpc.JobServiceStub(world.channel).GetJob.future(
        job_service_pb2.GetJobRequest(id="x"), timeout=TIMEOUT_S
    )
    assert gate.entered.wait(TIMEOUT_S)

    world.run(world.server.stop(grace_s=0.1))
    seen = failure(lambda: call.result(TIMEOUT_S))
    gate.open.set()

    assert seen.code() is grpc.StatusCode.UNAVAILABLE
    assert Details(seen).info.reason == "SHUTTING_DOWN"


@contextmanager
def silent(world: RpcWorld, number: int) -> Iterator[list[socket.socket]]:
    """Connections on which nothing is said."""
    with ExitStack() as stack:
        connections = []
        for _ in range(number):
            connections.append(stack.enter_context(socket.create_connection(("127.0.0.1", world.server.port))))
            connections[-1].setblocking(False)
        yield connections


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed it."""
    try:
        while connection.recv(4096):  # the server speaks first
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def test_connections_that_are_too_many_are_closed_and_the_others_go_on(
    make_world: Callable[..., RpcWorld],
) -> None:
    world = make_world(max_connections=20)
    assert health(world, "") == SERVING
    with silent(world, 30) as connections:
        wait_until(lambda: sum(map(ended, connections)) >= 11, say=lambda: "too many are open")
        assert health(world, "") == SERVING


def test_connections_on_which_nothing_is_said_are_closed(
    make_world: Callable[..., RpcWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_MS", 300)
    with silent(make_world(), 5) as connections:
        wait_until(lambda: all(map(ended, connections)), say=lambda: "they stay open")
