"""On one machine it stays two commands: serve, and any other, which signs in by what the server has left for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from tests.e2e.conftest import BLADE, Cli
from tests.support.servers import Served

from blade_client import BladeClient, errors
from blade_client.testing.server import Server


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path: Path) -> Path:
    """A user without a token of his own."""
    monkeypatch.delenv("BLADE_TOKEN")
    monkeypatch.setenv("BLADE_DATA_DIR", str(tmp_path / "blade"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def serve(postgres_url: str, home: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(**changes: str | None) -> Served:
        own = {"DATABASE_URL": postgres_url, "BLADE_DATA_DIR": str(home / "blade"), "BLADE_ADMIN_TOKEN_FILE": None}
        started.append(Served("--json", **(own | changes)))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def target_of(server: Served) -> str:
    return f"127.0.0.1:{server.said()['port']}"


def test_commands_and_library_sign_in_to_a_server_of_the_same_user(serve) -> None:
    server = serve()
    target = target_of(server)
    blade = Cli(target)
    assert blade("whoami", "--json").json["kind"] == "admin"
    with BladeClient(target) as client:
        assert list(client.list_sources()) == []
        assert client.access.who_am_i().principal == "admin"
    made = blade("token", "create", "ci", "--role", "VIEWER").out.strip()
    with BladeClient(target, token=made) as client, pytest.raises(errors.NotAllowed):
        list(client.access.list_tokens())
    assert "VIEWER" in blade("grant", "list", "--principal", "ci").out
    with BladeClient(target, token="") as nobody, pytest.raises(errors.NotSignedIn):
        list(nobody.list_sources())


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_signs_in_by_the_header_line_on_its_standard_input(serve) -> None:
    server = serve()
    url = f"http://127.0.0.1:{server.said()['http_port']}/access/whoami"
    environment = {**os.environ, "BLADE_SERVER": target_of(server)}
    with subprocess.Popen([BLADE, "auth", "header"], env=environment, stdout=subprocess.PIPE) as header:
        done = subprocess.run(["curl", "-sS", "-H", "@-", url], stdin=header.stdout, capture_output=True, check=True)
    assert b'"admin"' in done.stdout


def test_a_client_that_lives_longer_than_its_server_signs_in_to_the_next_one(serve, wait_until) -> None:
    first = serve()
    port = str(first.said()["port"])
    with BladeClient(target_of(first), attempts=1) as client:
        assert client.access.who_am_i().kind == "admin"
        first.stop(signal.SIGKILL)
        serve(BLADE_PORT=port)

        def is_back() -> bool:
            with suppress(errors.Unreachable):
                return client.access.who_am_i().kind == "admin"
            return False

        wait_until(is_back)


def test_whoever_takes_the_port_of_a_server_that_died_gets_no_token(serve) -> None:
    server = serve()
    port = server.said()["port"]
    server.stop(signal.SIGKILL)
    shown: list[dict[str, object]] = []

    def refuse(request: object, context: grpc.ServicerContext) -> None:
        shown.append(dict(context.invocation_metadata()))
        raise errors.NotSignedIn("who are you?", reason="UNAUTHENTICATED")

    thief = Server({})
    thief.port = port
    for rpc in ("ProveServer", "WhoAmI"):
        thief.on(rpc, refuse)
    thief.start()
    try:
        ended = Cli(f"127.0.0.1:{port}")("whoami", code=9)
    finally:
        thief.stop()
    assert "is for a server that is no longer there" in ended.err
    assert {rpc for rpc, _ in thief.requests} == {"ProveServer", "WhoAmI"}
    assert len(shown) == len(thief.requests)
    assert not any("authorization" in metadata for metadata in shown)
