"""Signing in, tokens and grants on the command line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from blade.v1 import access_service_pb2 as access
from blade.v1.access_pb2 import ADMIN, READER, Grant
from blade_client import errors, profiles
from blade_client.cli import main
from blade_client.profiles import Profile
from blade_server.core.access.tokens import token_id_of

ANNA = access.WhoAmIResponse(
    principal="anna",
    kind="token",
    groups=["ops"],
    grants=[Grant(grant_id="g-1", role=READER, scope="source:parts", principal="anna")],
)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path) -> Path:
    """A user who has not signed in anywhere."""
    for name in ("BLADE_TOKEN", "BLADE_TOKEN_FILE", "BLADE_PROFILE", "BLADE_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def knows(server) -> Callable[[str], None]:
    """Lets the server know one token, which is Anna's."""

    def knows(token: str) -> None:
        def who(request: Any, context: grpc.ServicerContext) -> access.WhoAmIResponse:
            if dict(context.invocation_metadata()).get("authorization") != f"Bearer {token}":
                raise errors.NotSignedIn("this token is not good", reason="UNAUTHENTICATED")
            return ANNA

        server.on("WhoAmI", who)

    return knows


def plain(*arguments: str) -> Any:
    """The command without --server."""
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


# --------------------------------------------------------------------------------------------------- login


def test_login_checks_a_token_from_stdin_and_later_commands_use_it(server, run, knows) -> None:
    knows("s3cret")
    result = run("login", stdin="s3cret\n")
    assert result.exit_code == 0, result.output
    assert f"Signed in to {server.target} as anna" in result.stdout
    assert "s3cret" not in result.output
    name = f"127.0.0.1-{server.port}"
    file = profiles.file_of(name)
    assert file.stat().st_mode & 0o777 == 0o600
    assert profiles.load(name) == Profile(name=name, server=server.target, token="s3cret")
    assert run("whoami").exit_code == 0
    result = plain("whoami", "--profile", name, "--json")
    assert json.loads(result.stdout)["principal"] == "anna"


def test_login_says_what_goes_before_the_profile(run, knows, monkeypatch) -> None:
    knows("t")
    monkeypatch.setenv("BLADE_TOKEN", "other")
    result = run("login", stdin="t")
    assert result.exit_code == 0
    assert "BLADE_TOKEN is set, and goes before" in result.stderr


def test_login_keeps_nothing_of_a_token_that_is_not_good(run, knows, home) -> None:
    knows("another")
    result = run("login", stdin="s3cret")
    assert result.exit_code == 9
    assert "s3cret" not in result.output
    assert not (home / "config").exists()


@pytest.mark.parametrize("given", ["", "\n", "two words", "é"])
def test_login_without_a_token_is_wrong_usage(server, run, home, given) -> None:
    result = run("login", stdin=given)
    assert result.exit_code == 2, result.output
    assert server.requests == []
    assert not (home / "config").exists()


def test_login_at_a_server_that_lets_everybody_in_keeps_nothing(run, home) -> None:
    result = run("login", stdin="t")
    assert result.exit_code == 5
    assert "BLADE_AUTH=off" in result.stderr
    assert not (home / "config").exists()


def test_login_renews_a_profile_and_keeps_how_its_server_is_reached(secure_server, request) -> None:
    secure_server.on("WhoAmI", ANNA)
    authority = str(request.path.parent / "tls" / "cert.pem")
    options = ["login", "--profile", "prod"]
    first = CliRunner().invoke(
        main, [*options, "--server", secure_server.target, "--tls-ca", os.path.relpath(authority)], input="one"
    )
    assert first.exit_code == 0, first.output
    assert profiles.load("prod").ca_file == authority
    again = CliRunner().invoke(main, [*options, "--json"], input="two")
    assert json.loads(again.stdout)["server"] == secure_server.target, again.output
    renewed = profiles.load("prod")
    assert (renewed.token, renewed.ca_file) == ("two", authority)


def test_login_to_another_server_under_the_same_name_moves_the_profile(server, run, knows) -> None:
    profiles.save(Profile(name="mine", server="127.0.0.1:9", token="old", tls=True))
    knows("new")
    assert run("login", "--profile", "mine", stdin="new").exit_code == 0
    assert profiles.load("mine") == Profile(name="mine", server=server.target, token="new")


def test_login_over_plaintext_to_another_machine_is_refused_with_the_way_out(home) -> None:
    result = CliRunner().invoke(main, ["login", "--server", "blade.example.org:1"], input="s3cret")
    assert result.exit_code == 2
    assert "--tls" in result.stderr
    assert "--insecure-token" in result.stderr
    assert "s3cret" not in result.output


def test_login_asks_a_person_without_showing_what_he_types(spawn, knows, home) -> None:
    knows("typed")
    main, terminal = pty.openpty()
    process = spawn("login", stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    seen = b""
    while b"Token for" not in seen:
        seen += os.read(main, 1000)
    os.write(main, b"typed\n")
    with suppress(OSError):  # the end of a terminal
        while True:
            seen += os.read(main, 1000)
    os.close(main)
    assert process.wait(20) == 0, seen
    assert b"as anna" in seen
    assert b"typed" not in seen


def test_logout_forgets_the_token_and_says_that_it_is_still_good(server, run, knows) -> None:
    knows("t")
    run("login", stdin="t")
    result = run("logout")
    assert result.exit_code == 0
    assert "blade token revoke" in result.stdout
    assert profiles.load_for(server.target) is None
    again = run("logout")
    assert (again.exit_code, again.stdout) == (0, "")
    assert json.loads(run("logout", "--json").stdout) == {"profile": None}


def test_logout_removes_a_damaged_profile_that_is_named() -> None:
    file = profiles.save(Profile(name="bad", server="a:1", token="t"))
    file.write_text("{")
    assert plain("logout", "--profile", "bad").exit_code == 0
    assert not file.exists()


def test_whoami_shows_who_how_and_what(server, run) -> None:
    server.on("WhoAmI", ANNA)
    lines = run("whoami").stdout.splitlines()
    assert lines[0].split() == ["Signed", "in", "as", "anna"]
    assert lines[2].split() == ["Groups", "ops"]
    assert lines[4].split()[:4] == ["g-1", "READER", "source:parts", "anna"]
    server.on("WhoAmI", access.WhoAmIResponse(principal="nobody", kind="jwt"))
    assert "blade grant create" in run("whoami").stdout


def test_whoami_says_where_nobody_signs_in(run) -> None:
    assert "BLADE_AUTH=off" in run("whoami").stdout


@pytest.mark.parametrize(
    ("code", "exit_code", "way_out"),
    [(grpc.StatusCode.UNAUTHENTICATED, 9, "blade login"), (grpc.StatusCode.PERMISSION_DENIED, 10, "blade whoami")],
)
def test_who_is_not_let_in_is_told_the_way_out(server, run, code, exit_code, way_out) -> None:
    server.on("ListSources", server.fails(code, "no", "ACCESS_DENIED"))
    result = run("source", "list")
    assert result.exit_code == exit_code
    assert way_out in result.stderr
    assert json.loads(run("source", "list", "--json").stderr)["error"]["exitCode"] == exit_code


def test_a_token_is_no_option(run) -> None:
    result = run("whoami", "--token", "s3cret")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def test_a_token_file_stands_before_or_behind_the_command(server, run, home) -> None:
    file = home / "t"
    file.write_text("of-file\n")
    file.chmod(0o600)
    run("whoami", "--token-file", str(file))
    assert server.metadata.pop("authorization") == "Bearer of-file"
    run("--token-file", str(file), "whoami")
    assert server.metadata.pop("authorization") == "Bearer of-file"
    file.chmod(0o644)
    result = run("whoami", "--token-file", str(file))
    assert result.exit_code == 2
    assert "chmod 600" in result.stderr


def test_insecure_token_lets_a_token_out_and_nothing_else_does(monkeypatch) -> None:
    monkeypatch.setenv("BLADE_TOKEN", "t")
    arguments = ["whoami", "--server", "nowhere.invalid:1", "--timeout", "1"]
    assert plain(*arguments).exit_code == 2
    assert plain(*arguments, "--insecure-token").exit_code == 6


def test_the_header_line_is_what_curl_reads(server, run, spawn, monkeypatch) -> None:
    assert run("auth", "header").exit_code == 9
    monkeypatch.setenv("BLADE_TOKEN", "t0ken")
    assert run("auth", "header").stdout == "authorization: Bearer t0ken\n"
    assert json.loads(run("auth", "header", "--json").stdout) == {"authorization": "Bearer t0ken"}
    assert server.requests == []


# --------------------------------------------------------------------------------------------------- tokens


MADE = access.CreateTokenResponse(secret="blade_x_s3cret", token={"token_id": "x", "principal": "anna"})


def test_creating_a_token_writes_it_alone_to_stdout(server, run) -> None:
    server.on("CreateToken", MADE)
    options = ["--description", "ci", "--lifetime", "12h", "--role", "reader", "--role", "OPERATOR", "--on", "source:s"]
    result = run("token", "create", "anna", *options)
    assert (result.exit_code, result.stdout) == (0, "blade_x_s3cret\n")
    assert "Token x signs in anna; it does not end by itself" in result.stderr
    (asked,) = server.asked("CreateToken")
    grants = [Grant(role="READER", scope="source:s"), Grant(role="OPERATOR", scope="source:s")]
    assert asked == access.CreateTokenRequest(
        principal="anna", description="ci", lifetime=timedelta(hours=12), grants=grants
    )


def test_a_token_goes_into_a_file_of_its_owners_alone(server, run, home) -> None:
    server.on("CreateToken", MADE)
    file = home / "t"
    file.write_text("old")
    result = run("token", "create", "anna", "--output", str(file), "--json")
    assert file.read_text() == "blade_x_s3cret\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in result.output
    assert json.loads(result.stdout)["token"]["tokenId"] == "x"


def test_a_token_whose_file_cannot_be_written_is_shown_all_the_same(server, run, home) -> None:
    server.on("CreateToken", MADE)
    (home / "file").write_text("")
    result = run("token", "create", "anna", "--output", str(home / "file" / "t"))
    assert (result.exit_code, result.stdout) == (2, "blade_x_s3cret\n")


@pytest.mark.parametrize("lifetime", ["0d", "-1h", "1", "1w", "d", "1.5h", "9999999d"])
def test_a_lifetime_that_is_none_is_wrong_usage(server, run, lifetime) -> None:
    assert run("token", "create", "anna", "--lifetime", lifetime).exit_code == 2
    assert server.requests == []


@pytest.mark.parametrize(("lifetime", "seconds"), [("90d", 7_776_000), ("30m", 1800), ("never", 0)])
def test_a_lifetime_is_days_hours_minutes_or_never(server, run, lifetime, seconds) -> None:
    server.on("CreateToken", MADE)
    run("token", "create", "anna", "--lifetime", lifetime)
    assert server.asked("CreateToken")[0].lifetime.seconds == seconds
    run("token", "create", "anna")
    assert not server.asked("CreateToken")[1].HasField("lifetime")


def test_tokens_are_listed_with_what_became_of_them(server, run) -> None:
    past, future = {"seconds": 1_700_000_000}, {"seconds": 4_000_000_000}
    tokens = [
        access.Token(token_id="a", principal="anna", expire_time=future),
        access.Token(token_id="b", principal="anna", expire_time=past, last_use_time=past),
        access.Token(token_id="c", principal="bob", expire_time=past, revoke_time=past),
        access.Token(token_id="d", principal="bob"),
    ]
    server.on("ListTokens", access.ListTokensResponse(tokens=tokens))
    result = run("token", "list", "--principal", "anna")
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:]] == [
        ["a", "anna", "good"],
        ["b", "anna", "over"],
        ["c", "bob", "revoked"],
        ["d", "bob", "good"],
    ]
    assert server.asked("ListTokens")[0].principal == "anna"
    assert [one["tokenId"] for one in json.loads(run("token", "list", "--json").stdout)["tokens"]] == list("abcd")


def test_a_token_is_revoked_with_a_reason(server, run) -> None:
    server.on("RevokeToken", access.RevokeTokenResponse(token={"token_id": "x", "principal": "anna"}))
    assert run("token", "revoke", "x", "--reason", "lost").stdout == "Token x of anna was revoked.\n"
    assert server.asked("RevokeToken") == [access.RevokeTokenRequest(token_id="x", reason="lost")]


def test_a_generated_token_is_one_that_a_server_takes(server, run, home) -> None:
    made = {run("token", "generate").stdout.strip() for _ in range(3)}
    assert len(made) == 3
    assert all(token_id_of(one) for one in made)
    assert run("token", "generate", "--output", str(home / "t")).stdout == ""
    assert token_id_of((home / "t").read_text().strip())
    assert (home / "t").stat().st_mode & 0o777 == 0o600
    assert server.requests == []


def test_generating_a_token_needs_no_grpc() -> None:
    code = (
        "import sys\nfrom blade_client.cli import main\n"
        "try: main(['token', 'generate'])\nexcept SystemExit: pass\n"
        "print([m for m in ('grpc', 'google', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.endswith("\n[]\n")


# --------------------------------------------------------------------------------------------------- grants


def test_a_grant_is_made_for_a_principal_or_a_group(server, run) -> None:
    made = Grant(grant_id="g-1", role=ADMIN, group="ops", scope="*")
    server.on("CreateGrant", access.CreateGrantResponse(grant=made))
    result = run("grant", "create", "admin", "--group", "ops", "--reason", "new")
    assert result.stdout.splitlines()[1].split() == ["g-1", "ADMIN", "*", "group", "ops"]
    wanted = Grant(role=ADMIN, group="ops", scope="*")
    assert server.asked("CreateGrant") == [access.CreateGrantRequest(grant=wanted, reason="new")]


def test_a_grant_goes_up_to_a_ceiling(server, run) -> None:
    made = Grant(grant_id="g-1", role=READER, group="ops", scope="*", ceiling="CUI")
    server.on("CreateGrant", access.CreateGrantResponse(grant=made))
    result = run("grant", "create", "reader", "--group", "ops", "--ceiling", "CUI")
    assert result.stdout.splitlines()[1].split() == ["g-1", "READER", "*", "CUI", "group", "ops"]
    assert server.asked("CreateGrant")[0].grant.ceiling == "CUI"
    server.on("CreateToken", access.CreateTokenResponse(secret="blade_x_y"))
    run("token", "create", "ci", "--role", "READER", "--ceiling", "CUI")
    assert [grant.ceiling for grant in server.asked("CreateToken")[0].grants] == ["CUI"]


@pytest.mark.parametrize(
    "options",
    [["READER"], ["READER", "--principal", "a", "--group", "b"], ["BOSS", "--principal", "a"], ["--principal", "a"]],
)
def test_a_grant_for_nobody_or_of_no_role_is_wrong_usage(server, run, options) -> None:
    assert run("grant", "create", *options).exit_code == 2
    assert server.requests == []


def test_grants_are_listed_and_revoked(server, run) -> None:
    grants = [Grant(grant_id="g-1", role=READER, principal="anna", scope="source:s", created_by="admin")]
    server.on("ListGrants", access.ListGrantsResponse(grants=grants))
    result = run("grant", "list", "--group", "ops")
    assert result.stdout.splitlines()[1].split() == ["g-1", "READER", "source:s", "anna", "admin"]
    assert server.asked("ListGrants")[0].group == "ops"
    assert json.loads(run("grant", "list", "--json").stdout)["grants"][0]["role"] == "READER"
    server.on("RevokeGrant", access.RevokeGrantResponse())
    assert run("grant", "revoke", "g-1", "--reason", "gone").stdout == "Grant g-1 is gone.\n"
    assert server.asked("RevokeGrant") == [access.RevokeGrantRequest(grant_id="g-1", reason="gone")]


def test_a_check_takes_the_short_name_and_ends_with_10_for_a_refusal(server, run) -> None:
    server.on("CheckAccess", access.CheckAccessResponse(allowed=False, refusal="'bob' needs the role OPERATOR"))
    result = run("access", "check", "StartQueryJob", "--source", "s", "--principal", "bob", "--group", "ops")
    assert result.exit_code == 10
    assert "blade.v1.JobService/StartQueryJob is refused: 'bob' needs the role OPERATOR" in result.stdout
    wanted = {"method": "blade.v1.JobService/StartQueryJob", "source": "s", "principal": "bob", "groups": ["ops"]}
    assert server.asked("CheckAccess") == [access.CheckAccessRequest(**wanted)]
    server.on("CheckAccess", access.CheckAccessResponse(allowed=True, grants=ANNA.grants))
    result = run("access", "check", "blade.v1.JobService/GetJob")
    assert result.exit_code == 0
    assert "g-1" in result.stdout


def test_a_check_of_a_method_that_is_none_says_which_was_meant(server, run) -> None:
    result = run("access", "check", "StartJob")
    assert result.exit_code == 2
    assert "Did you mean StartQueryJob?" in result.stderr
    assert server.requests == []
