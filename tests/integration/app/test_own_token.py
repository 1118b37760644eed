"""On loopback a server leaves a token for its own user, proves that it is the one who did, and takes it back."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy
from tests.support.access import SERVER_ENVIRONMENT
from tests.support.servers import TIMEOUT_S, Served, run

from blade.v1 import access_pb2, access_service_pb2_grpc
from blade.v1 import access_service_pb2 as pb
from blade_server.app.operator import LIFETIME_S

NONCE = "0123456789abcdef" * 4


@pytest.fixture
def serve(postgres_url: str, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts a server without a token of its operator's making."""
    servers = []

    def start(**changes: str | None) -> Served:
        own = {"DATABASE_URL": postgres_url, "BLADE_DATA_DIR": str(tmp_path), "BLADE_ADMIN_TOKEN_FILE": None}
        servers.append(Served("--json", **(own | changes)))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@pytest.fixture
def rows(postgres_url: str) -> Iterator[Callable[[], list[Any]]]:
    """The tokens that PostgreSQL has, with how many seconds each has left."""
    engine = sqlalchemy.create_engine(postgres_url, poolclass=sqlalchemy.NullPool)

    def read() -> list[Any]:
        with engine.connect() as connection:
            query = "SELECT kind, hash, extract(epoch FROM expire_time - now()) AS left_s FROM access_token"
            return list(connection.exec_driver_sql(query))

    yield read
    engine.dispose()


def files(folder: Path) -> list[Path]:
    return sorted((folder / "tokens").iterdir())


def written(folder: Path) -> dict[str, Any]:
    [file] = files(folder)
    found: dict[str, Any] = json.loads(file.read_text())
    assert file.name == f"{found['server_id']}.json"
    return found


def stub(port: int) -> tuple[grpc.Channel, access_service_pb2_grpc.AccessServiceStub]:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    return channel, access_service_pb2_grpc.AccessServiceStub(channel)


def who(port: int, token: str) -> pb.WhoAmIResponse:
    channel, access = stub(port)
    with channel:
        return access.WhoAmI(pb.WhoAmIRequest(), metadata=[("authorization", f"Bearer {token}")], timeout=TIMEOUT_S)


def test_it_lets_its_own_user_in_as_admin_and_nobody_when_it_has_stopped(
    serve: Callable[..., Served], tmp_path: Path, rows: Callable[[], list[Any]]
) -> None:
    server = serve()
    said, found = server.said(), written(tmp_path)

    answer = who(said["port"], found["token"])
    [row] = rows()
    errors = server.stop()[1]

    assert (answer.principal, answer.kind) == ("admin", "admin")
    assert {grant.role for grant in answer.grants} == {access_pb2.ADMIN, access_pb2.AUDITOR}
    assert {key: found[key] for key in ("host", "port", "http_port", "pid")} == {
        "host": "127.0.0.1",
        "port": said["port"],
        "http_port": said["http_port"],
        "pid": server.process.pid,
    }
    assert bytes(row.hash) == hashlib.sha256(found["token"].encode()).digest()
    assert 0 < row.left_s <= LIFETIME_S
    assert (files(tmp_path), rows()) == ([], [])
    assert found["token"] not in errors
    assert found["proof_key"] not in errors


def test_nobody_else_can_read_it(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir(mode=0o755)
    serve()
    [file] = files(tmp_path)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_it_proves_that_it_wrote_the_file_to_whoever_asks(serve: Callable[..., Served], tmp_path: Path) -> None:
    port = serve().said()["port"]
    found = written(tmp_path)
    channel, access = stub(port)
    with channel:
        answer = access.ProveServer(pb.ProveServerRequest(nonce=NONCE), timeout=TIMEOUT_S)
        with pytest.raises(grpc.RpcError) as short:
            access.ProveServer(pb.ProveServerRequest(nonce="x" * 31), timeout=TIMEOUT_S)
        with pytest.raises(grpc.RpcError) as other:  # what is not public stays so
            access.WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT_S)

    assert answer.server_id == found["server_id"]
    assert answer.proof == hmac.new(found["proof_key"].encode(), NONCE.encode(), hashlib.sha256).hexdigest()
    assert short.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert other.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.slow
def test_what_a_killed_server_left_goes_at_the_next_start_and_that_of_a_living_one_stays(
    serve: Callable[..., Served], tmp_path: Path, postgres_url: str, rows: Callable[[], list[Any]]
) -> None:
    killed = serve()
    assert killed.line
    left = written(tmp_path)["server_id"]
    killed.stop(signal.SIGKILL)
    engine = sqlalchemy.create_engine(postgres_url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:  # the minutes that it takes
        connection.exec_driver_sql("UPDATE access_token SET expire_time = now() - interval '1 s'")
    engine.dispose()

    living, other = serve(), serve()
    assert living.line
    assert other.line
    ids = {json.loads(file.read_text())["server_id"] for file in files(tmp_path)}

    assert len(ids) == len(rows()) == 2
    assert left not in ids


def test_each_token_is_good_on_every_server_of_the_database(serve: Callable[..., Served], tmp_path: Path) -> None:
    """As all tokens: a server of the same database knows it, and the file's address says for which it is meant."""
    first = serve()
    token = written(tmp_path)["token"]
    assert who(serve().said()["port"], token).principal == "admin"
    assert first.process.poll() is None


@pytest.mark.parametrize(
    "changes",
    [{"BLADE_AUTH": "off"}, SERVER_ENVIRONMENT, {"BLADE_HOST": "0.0.0.0", "BLADE_PLAINTEXT": "behind-proxy"}],
    ids=["open", "his own", "off loopback"],
)
def test_none_is_made(serve: Callable[..., Served], tmp_path: Path, changes: dict[str, str]) -> None:
    server = serve(**changes)
    assert server.said()["port"]
    assert not (tmp_path / "tokens").exists()


def test_a_folder_that_is_a_link_is_not_followed_and_the_server_serves(
    serve: Callable[..., Served], tmp_path: Path, rows: Callable[[], list[Any]]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tokens").symlink_to(tmp_path / "elsewhere")
    server = serve()
    assert server.said()["port"]
    assert rows() == []
    assert "no token for this machine's operator" in server.stop()[1]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_it_stands_beside_an_embedded_database_too(serve: Callable[..., Served], tmp_path: Path) -> None:
    for _ in range(2):
        server = serve(DATABASE_URL=None)
        assert who(server.said()["port"], written(tmp_path)["token"]).principal == "admin"
        assert server.stop()[0] == 0
    assert run("migrate", BLADE_DATA_DIR=str(tmp_path))[0] == 0
