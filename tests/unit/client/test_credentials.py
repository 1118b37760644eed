"""Where a token comes from, and where it goes: what the server is shown decides, not what the client says of itself."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.unit.client.conftest import Blade

from blade.v1.access_service_pb2 import ProveServerRequest, ProveServerResponse, WhoAmIResponse
from blade_client import BladeClient, errors, operator_token, profiles
from blade_client.operator_token import OperatorToken
from blade_client.profiles import Profile

REMOTE = "blade.example.org:1"
Shown = Callable[..., str | None]


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path) -> Path:
    """A user without a token anywhere."""
    for name in ("BLADE_TOKEN", "BLADE_TOKEN_FILE", "BLADE_PROFILE", "BLADE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def shown(server) -> Shown:
    """The `authorization` header that the server gets from a client with these options."""

    def call(**options: Any) -> str | None:
        target = options.pop("target", server.target)
        with BladeClient(target, **options) as blade:
            blade.access.who_am_i()
        return server.metadata.get("authorization")

    return call


def secret_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_first_there_is_of_four_is_shown(server, shown, home, monkeypatch) -> None:
    assert shown() is None
    profiles.save(Profile(name="here", server=server.target, token="of-profile"))
    assert shown() == "Bearer of-profile"
    monkeypatch.setenv("BLADE_TOKEN", "of-environment")
    assert shown() == "Bearer of-environment"
    monkeypatch.setenv("BLADE_TOKEN_FILE", str(secret_file(home / "env", "of-env-file\n")))
    assert shown() == "Bearer of-env-file"
    assert shown(token_file=secret_file(home / "t", "of-file")) == "Bearer of-file"
    assert shown(token="given") == "Bearer given"
    assert shown(token="") is None, "whoever says that there is none shows none"


def test_whoever_writes_the_header_himself_has_no_second_one(server, monkeypatch) -> None:
    monkeypatch.setenv("BLADE_TOKEN", "of-environment")
    seen: list[str] = []

    def who(request: Any, context: grpc.ServicerContext) -> WhoAmIResponse:
        seen.extend(str(value) for key, value in context.invocation_metadata() if key == "authorization")
        return WhoAmIResponse()

    server.on("WhoAmI", who)
    with BladeClient(server.target, metadata=[("authorization", "Bearer own")]) as blade:
        blade.access.who_am_i()
    assert seen == ["Bearer own"]


def test_token_and_token_file_are_not_both_taken(home) -> None:
    with pytest.raises(ValueError, match="not both"):
        BladeClient(token="a", token_file=secret_file(home / "t", "b"))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs rights of files")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_file_that_others_may_open_is_refused(home, mode) -> None:
    file = secret_file(home / "t", "s3cret", mode)
    with pytest.raises(ValueError, match=f"mode {mode:04o}.*chmod 600") as caught:
        BladeClient(token_file=file)
    assert "s3cret" not in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs rights of files")
def test_a_file_of_another_user_is_refused(home, monkeypatch) -> None:
    file = secret_file(home / "t", "s3cret")
    monkeypatch.setattr(os, "getuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(ValueError, match="belongs to another user"):
        BladeClient(token_file=file)


@pytest.mark.parametrize("text", ["", " \n", "two words", "line\nline", "é", "x" * 70_000])
def test_a_file_without_a_token_is_refused_by_its_name(home, text) -> None:
    file = secret_file(home / "t", text)
    with pytest.raises(ValueError, match=str(file)) as caught:
        BladeClient(token_file=file)
    assert len(str(caught.value)) < 300


def test_what_a_header_cannot_carry_is_refused_without_saying_it(monkeypatch) -> None:
    monkeypatch.setenv("BLADE_TOKEN", "s3cret\nx")
    with pytest.raises(ValueError, match="BLADE_TOKEN holds no token") as caught:
        BladeClient()
    assert "s3cret" not in str(caught.value)


def test_a_pipe_is_a_file_too(shown) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"piped\n")
    os.close(writing)
    try:
        assert shown(token_file=f"/dev/fd/{reading}") == "Bearer piped"
    finally:
        os.close(reading)


# ------------------------------------------------------------------------------------------------ not readable


@pytest.mark.parametrize("given", ["token", "token_file", "BLADE_TOKEN", "BLADE_TOKEN_FILE", "profile"])
def test_no_token_travels_readable_to_another_machine(home, monkeypatch, given) -> None:
    file = str(secret_file(home / "t", "s3cret"))
    options: dict[str, Any] = {"token": {"token": "s3cret"}, "token_file": {"token_file": file}}.get(given, {})
    if given.startswith("BLADE_"):
        monkeypatch.setenv(given, file if given.endswith("FILE") else "s3cret")
    if given == "profile":
        profiles.save(Profile(name="there", server=REMOTE, token="s3cret"))
    with pytest.raises(ValueError, match=r"--tls.*--insecure-token") as caught:
        BladeClient(REMOTE, **options)
    assert "s3cret" not in str(caught.value)
    BladeClient(REMOTE, tls=True, **options).close()
    BladeClient(REMOTE, insecure_token=True, **options).close()


def test_without_a_token_another_machine_is_called_in_plain() -> None:
    BladeClient(REMOTE).close()


def test_over_tls_a_token_goes_to_another_machine(secure_server, request) -> None:
    authority = request.path.parent / "tls" / "cert.pem"
    with BladeClient(secure_server.target, ca_file=authority, token="t") as blade:
        blade.access.who_am_i()
    assert secure_server.metadata["authorization"] == "Bearer t"


# ------------------------------------------------------------------------------------------------ profiles


def test_a_profile_by_name_says_server_and_tls(secure_server, request, shown, monkeypatch) -> None:
    authority = str(request.path.parent / "tls" / "cert.pem")
    profiles.save(Profile(name="prod", server=secure_server.target, token="p", tls=True, ca_file=authority))
    for options in ({"profile": "prod"}, {"profile": "prod", "target": secure_server.target}, {}):
        if not options:
            monkeypatch.setenv("BLADE_PROFILE", "prod")
        with BladeClient(**options) as blade:
            blade.access.who_am_i()
        assert secure_server.metadata.pop("authorization") == "Bearer p"


def test_a_profile_is_shown_to_no_other_server_than_its_own(server, shown, monkeypatch) -> None:
    profiles.save(Profile(name="there", server="127.0.0.1:9", token="s3cret"))
    assert shown() is None
    with pytest.raises(ValueError, match=r"is of 127\.0\.0\.1:9.*goes nowhere else") as caught:
        BladeClient(server.target, profile="there")
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("BLADE_PROFILE", "there")
    with pytest.raises(ValueError, match="BLADE_PROFILE"):
        BladeClient(server.target)


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "x" * 101, "é"])
def test_a_name_that_leaves_the_folder_is_none(name) -> None:
    with pytest.raises(ValueError, match="no name of a profile"):
        profiles.save(Profile(name=name, server="a:1", token="t"))


def test_a_profile_that_is_not_there_or_damaged_says_how_to_make_it() -> None:
    with pytest.raises(ValueError, match="blade login --profile gone"):
        BladeClient(profile="gone")
    for content in ("{", "[]", '{"server": "a:1"}'):
        secret_file(profiles.file_of("bad"), content)
        with pytest.raises(ValueError, match=r"'bad'.*damaged"):
            BladeClient(profile="bad")
    BladeClient().close()  # and is in nobody's way who does not mean it


def test_a_profile_is_written_for_its_owner_alone_and_one_that_is_not_is_refused(server, shown) -> None:
    file = profiles.save(Profile(name="here", server=server.target, token="s3cret"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert shown() == "Bearer s3cret"
    assert "s3cret" not in repr(profiles.load("here"))
    file.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        shown()


# ------------------------------------------------------------------------------------------------ the operator's


@pytest.fixture
def operator(server: Blade, home: Path) -> Callable[..., Path]:
    """Writes the file of a server with its operator's token; that server can prove to be it unless told otherwise."""

    def write(token: str = "operators", key: str = "key", *, proves: bool = True, **changes: Any) -> Path:
        content = {
            "server_id": "srv-1",
            "host": "127.0.0.1",
            "port": server.port,
            "http_port": 1,
            "token": token,
            "proof_key": key,
            "pid": os.getpid(),
            **changes,
        }

        def prove(request: ProveServerRequest, context: Any) -> ProveServerResponse:
            assert len(bytes.fromhex(request.nonce)) == 32
            assert "authorization" not in dict(context.invocation_metadata())
            proof = hmac.new(key.encode(), request.nonce.encode(), hashlib.sha256).hexdigest()
            return ProveServerResponse(server_id="srv-1", proof=proof)

        if proves:
            server.on("ProveServer", prove)
        name = f"{content['server_id']}.json"
        return secret_file(home / "data" / "blade" / "postgres" / "tokens" / name, json.dumps(content))

    return write


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_operators_token_is_shown_to_the_server_that_wrote_it(server, shown, operator, host) -> None:
    operator(host=host)
    assert shown() == "Bearer operators"
    assert shown(target=f"localhost:{server.port}") == "Bearer operators"


@pytest.mark.parametrize("host", ["::1", "[::1]", "127.0.0.7"])
def test_who_has_the_port_on_another_address_and_lets_that_server_answer_gets_nothing(
    server, shown, operator, host
) -> None:
    operator(host=host)
    assert shown() is None


@pytest.mark.parametrize(
    ("host", "dialled"), [("127.0.0.1", "127.0.0.1:7"), ("::1", "[::1]:7"), ("10.0.0.1", "localhost:7")]
)
def test_localhost_is_dialled_at_the_address_that_the_server_wrote_down(operator, host, dialled) -> None:
    operator(host=host, port=7)
    assert OperatorToken("localhost:7", secure=False).dialled == dialled
    assert OperatorToken("localhost:7", secure=True).dialled == "localhost:7"
    assert OperatorToken("127.0.0.1:7", secure=False).dialled == "127.0.0.1:7"


def test_one_proof_is_enough_for_many_calls_and_each_is_of_something_new(server, operator) -> None:
    operator()
    for _ in range(2):
        with BladeClient(server.target) as blade:
            blade.access.who_am_i()
            list(blade.list_sources())
    nonces = [request.nonce for request in server.asked("ProveServer")]
    assert len(set(nonces)) == len(nonces) == 2


@pytest.mark.parametrize("said", ["another key", "another id", "nothing", "an old proof"])
def test_a_server_that_proves_nothing_gets_no_token_and_the_caller_is_told(server, shown, operator, said) -> None:
    operator(proves=said == "another id", server_id="srv-2" if said == "another id" else "srv-1")
    if said in ("another key", "an old proof"):
        server.on("ProveServer", ProveServerResponse(server_id="srv-1", proof="0" * 64))
    assert shown() is None
    server.on("WhoAmI", server.fails(grpc.StatusCode.UNAUTHENTICATED, "sign in first", "UNAUTHENTICATED"))
    with pytest.raises(errors.NotSignedIn, match=r"sign in first \(the operator's token in .* no longer there\)"):
        shown()


@pytest.mark.parametrize(
    "changes", [{"port": 1}, {"host": "10.0.0.1"}, {"token": "two words"}, {"proof_key": None, "token": ""}]
)
def test_a_file_for_another_address_or_without_a_token_is_left_alone(server, shown, operator, changes) -> None:
    operator(**changes)
    assert shown() is None


def test_a_file_that_others_may_read_or_that_is_damaged_is_left_alone(shown, operator) -> None:
    file = operator()
    file.chmod(0o644)
    assert shown() is None
    secret_file(file, "{")
    assert shown() is None


def test_any_other_token_goes_first_and_then_nobody_is_asked_for_a_proof(server, shown, operator) -> None:
    operator()
    assert shown(token="given") == "Bearer given"
    assert shown(token="") is None
    assert server.asked("ProveServer") == []


def test_the_folder_is_that_of_blade_data_dir(server, shown, operator, home, monkeypatch) -> None:
    file = operator()
    monkeypatch.setenv("BLADE_DATA_DIR", str(home / "own"))
    assert shown() is None
    secret_file(home / "own" / "tokens" / file.name, file.read_text())
    assert shown() == "Bearer operators"


def only(token: str) -> Callable[[Any, grpc.ServicerContext], WhoAmIResponse]:
    """A server that knows one token alone."""

    def who(request: Any, context: grpc.ServicerContext) -> WhoAmIResponse:
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {token}":
            raise errors.NotSignedIn("not good", reason="UNAUTHENTICATED")
        return WhoAmIResponse(principal="admin")

    return who


def test_a_server_that_was_started_anew_is_shown_its_new_token(server, operator) -> None:
    operator("first", "key-1")
    server.on("WhoAmI", only("first"))
    with BladeClient(server.target, attempts=1) as blade:
        assert blade.access.who_am_i().principal == "admin"
        operator("second", "key-2")
        server.on("WhoAmI", only("second"))
        assert blade.access.who_am_i().principal == "admin"
        server.on("WhoAmI", only("nobody's"))
        with pytest.raises(errors.NotSignedIn):
            blade.access.who_am_i()


def test_a_stream_goes_on_with_the_new_token_as_well(server, operator, snapshot) -> None:
    def watch(request: Any, context: grpc.ServicerContext) -> Any:
        if dict(context.invocation_metadata()).get("authorization") != "Bearer second":
            raise errors.NotSignedIn("not good", reason="UNAUTHENTICATED")
        return [snapshot(3, "COMPLETED")]

    operator("first", "key-1")
    with BladeClient(server.target, attempts=1) as blade:
        blade.access.who_am_i()
        operator("second", "key-2")
        server.on("WatchJob", watch)
        assert [job.revision for job in blade.watch_job("job-1")] == [3]


def test_after_a_lost_connection_the_server_proves_itself_before_it_sees_the_token_again(
    server, operator, wait_until
) -> None:
    operator()
    with BladeClient(server.target, attempts=1) as blade:
        blade.access.who_am_i()
        server.stop()
        with pytest.raises(errors.Unreachable):
            blade.access.who_am_i()
        server.on("ProveServer", ProveServerResponse(server_id="srv-1", proof="0" * 64))
        server.start()
        server.metadata.clear()

        def is_back() -> bool:
            with suppress(errors.Unreachable):
                blade.access.who_am_i()
                return True
            return False

        wait_until(is_back)
    assert "authorization" not in server.metadata


def test_who_takes_the_port_between_two_calls_is_not_shown_the_token(server, operator, monkeypatch) -> None:
    monkeypatch.setattr(operator_token, "_PROVEN_S", 0.0)
    operator()
    with BladeClient(server.target) as blade:
        blade.access.who_am_i()
        assert server.metadata["authorization"]
        server.stop()
        server.on("ProveServer", ProveServerResponse(server_id="srv-1", proof="0" * 64))
        server.start()
        server.metadata.clear()

        blade.access.who_am_i()
    assert "authorization" not in server.metadata
