from __future__ import annotations

import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import grpc
import pytest

from blade.v1 import job_service_pb2 as jobs
from blade.v1.job_pb2 import Job
from blade_client import BladeClient, errors
from blade_client.connection import check_target, is_local
from blade_client.diagnosis import problem_at


@pytest.mark.parametrize(
    "target", ["127.0.0.1:1", "localhost:50051", "blade.example.org:443", "[::1]:1", "unix:/tmp/x", "dns:///a:1"]
)
def test_an_address_with_a_port_is_taken(target: str) -> None:
    assert check_target(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "localhost",
        "http://localhost:1",
        "https://x",
        "a b:1",
        "::1:1",
        "x:",
        "a..b:1",
        "x:0",
        "x:65536",
        "300.1.1.1:1",
        "[:::]:1",
        "u@x:1",
    ],
)
def test_anything_else_is_refused_by_name(target: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        BladeClient(target)


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/tmp/x", True),
        ("10.0.0.1:1", False),
        ("blade:1", False),
        ("127.0.0.1.example.org:1", False),
    ],
)
def test_loopback_is_known(target: str, local: bool) -> None:
    assert is_local(target) is local


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"timeout_s": float("nan")}, {"attempts": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BladeClient("127.0.0.1:1", **wrong)


def test_tls_trusts_the_given_authority(secure_server, request) -> None:
    secure_server.on("GetJob", jobs.GetJobResponse(job=Job(job_id="job-1")))
    with BladeClient(secure_server.target, ca_file=request.path.parent / "tls" / "cert.pem") as blade:
        assert blade.get_job("job-1").job_id == "job-1"


@pytest.fixture
def http_port() -> Iterator[int]:
    """Of a server that speaks HTTP/1.1 alone."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("options", "at", "problem", "says"),
    [
        (["--tls"], "plain", "no TLS", "speaks no TLS.\nCall it without --tls"),
        ([], "secure", "TLS", "speaks TLS.\nCall it with --tls"),
        (["--tls"], "secure", "untrusted", "is not trusted: self-signed certificate.\nName the file"),
        ([], "http", "HTTP", "is not one for gRPC; is it the HTTP port?\nName the port for gRPC"),
        (["--tls"], "http", "no TLS", "speaks no TLS"),
    ],
)
def test_what_answers_in_another_way_is_told_in_one_sentence(
    server, secure_server, http_port, spawn, options, at, problem, says
) -> None:
    target = {"plain": server.target, "secure": secure_server.target, "http": f"127.0.0.1:{http_port}"}[at]
    process = spawn("job", "list", "--server", target, *options)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (6, b"")
    assert says in stderr.decode()
    assert len(stderr.splitlines()) == 2, "nothing but ours"

    with (
        BladeClient(target, tls=bool(options), attempts=1) as blade,
        pytest.raises(errors.WrongAddress) as caught,
    ):
        next(blade.watch_job("job-1"))
    assert caught.value.problem == problem


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
def test_a_certificate_for_another_name_is_told(request) -> None:
    folder = request.path.parent / "tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    def refused(listener: socket.socket) -> None:
        with listener.accept()[0] as plain, suppress(OSError):
            context.wrap_socket(plain, server_side=True)

    with socket.create_server(("127.0.0.2", 0)) as listener:
        thread = threading.Thread(target=refused, args=(listener,))
        thread.start()
        target = f"127.0.0.2:{listener.getsockname()[1]}"
        problem, words = problem_at(target, secure=True, ca_file=folder / "cert.pem")
        thread.join()
    assert (problem, words) == (
        "wrong name",
        f"The certificate of the server at {target} is for another name than 127.0.0.2.",
    )


def test_a_server_that_is_away_is_no_wrong_address(server) -> None:
    server.stop()
    with BladeClient(server.target, attempts=1) as blade, pytest.raises(errors.Unreachable) as caught:
        blade.get_job("job-1")
    assert type(caught.value) is errors.Unreachable


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        (
            "https_proxy",
            "socks5://u:s3cret@127.0.0.1:1",
            "https_proxy is 'socks5://***@127.0.0.1:1', a proxy that gRPC",
        ),
        ("http_proxy", "http://u:s3cret@127.0.0.1:1", "through the proxy http://***@127.0.0.1:1 of http_proxy"),
        ("http_proxy", "u:s3cret@127.0.0.1:1", "http_proxy is '***@127.0.0.1:1', a proxy that gRPC"),
    ],
)
def test_a_proxy_in_between_is_named(spawn, variable, value, says) -> None:
    process = spawn(
        "job", "list", "--server", "nowhere.invalid:1", env={variable: value, "no_proxy": "", "BLADE_TOKEN": ""}
    )
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 6
    assert says in stderr.decode()
    assert b"s3cret" not in stderr


def test_tls_trusts_no_other(secure_server) -> None:
    secure_server.on("GetJob", jobs.GetJobResponse())
    with BladeClient(secure_server.target, tls=True, attempts=1) as blade, pytest.raises(errors.Unreachable):
        blade.get_job("job-1")


def test_a_channel_of_the_callers_own_is_used_and_left_open(server) -> None:
    server.on("GetJob", jobs.GetJobResponse(job=Job(job_id="job-1")))
    with grpc.insecure_channel(server.target) as channel:
        for _ in range(2):
            with BladeClient(channel=channel) as blade:
                assert blade.get_job("job-1").job_id == "job-1"


def test_a_proxy_for_the_network_is_not_used_for_this_machine(server, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    server.on("GetJob", jobs.GetJobResponse(job=Job(job_id="job-1")))
    with BladeClient(server.target, attempts=1) as blade:
        assert blade.get_job("job-1").job_id == "job-1"


FORK = """
import os, sys
from blade_client import BladeClient
blade = BladeClient(sys.argv[1])
assert blade.get_job("parent").job_id == "parent"
child = os.fork()
if child == 0:
    print(blade.get_job("child").job_id, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert blade.get_job("parent").job_id == "parent"
blade.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_goes_on_with_a_client_that_was_in_use(server) -> None:
    peers: list[str] = []

    def get_job(request, context):
        peers.append(context.peer())
        return jobs.GetJobResponse(job=Job(job_id=request.id))

    server.on("GetJob", get_job)
    done = subprocess.run(
        [sys.executable, "-c", FORK, server.target], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "child\n"), done.stderr
    parent, child, parent_again = peers
    assert parent == parent_again != child, "two processes on one connection would garble it"


def test_importing_the_package_alone_loads_no_grpc() -> None:
    code = (
        "import sys, blade_client, blade_client.cli; print([m for m in ('grpc','google','rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_the_client_imports_neither_server_nor_sandbox_nor_their_packages() -> None:
    code = (
        "import sys, pkgutil, importlib, blade_client\n"
        "for m in pkgutil.walk_packages(blade_client.__path__, 'blade_client.'): importlib.import_module(m.name)\n"
        "heavy = ('blade_server','blade_sandbox','pyarrow','pandas','sqlalchemy','databricks','numpy','requests')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
