"""`blade login --oidc` and `blade open`: a browser has its part in both."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc
import pytest
from click.testing import CliRunner
from tests.support.oidc import AUDIENCE, FakeProvider

from blade.v1 import access_service_pb2 as access
from blade_client import device_flow, errors, profiles
from blade_client.cli import main
from blade_client.profiles import Profile, Renewal

CODE = "c" * 43


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("BLADE_TOKEN", "BLADE_TOKEN_FILE", "BLADE_PROFILE", "BLADE_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


class TestLogin:
    @pytest.fixture
    def fake(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
        monkeypatch.setattr(device_flow.time, "sleep", lambda seconds: None)
        with FakeProvider().running() as fake:
            fake.device = [(400, {"error": "authorization_pending"}), (200, fake.given(refresh=True))]
            yield fake

    @pytest.fixture
    def offers(self, server: Any, fake: FakeProvider) -> access.IdentityProvider:
        """What the server says of its provider; it lets in whoever has a token of it."""
        provider = access.IdentityProvider(
            issuer=fake.issuer, name="Ops", client_id="cli", scopes=["openid"], audience=AUDIENCE
        )

        def who(request: Any, context: grpc.ServicerContext) -> access.WhoAmIResponse:
            if not str(dict(context.invocation_metadata()).get("authorization", "")).startswith("Bearer ey"):
                raise errors.NotSignedIn("sign in first", reason="UNAUTHENTICATED")
            return access.WhoAmIResponse(principal="ann", kind="jwt")

        server.on("GetSignIn", lambda request, context: access.GetSignInResponse(provider=provider))
        server.on("WhoAmI", who)
        return provider

    def test_it_says_what_to_do_and_keeps_what_the_provider_gives(self, server, run, fake, offers) -> None:
        result = run("login", "--oidc")
        assert result.exit_code == 0, result.output
        assert f"Open {fake.issuer}/enter in a browser" in result.stderr
        assert "enter the code WDJB-MJHT there" in result.stderr
        assert "It is good for 10 min" in result.stderr
        assert f"Signed in to {server.target} as ann" in result.stdout
        kept = profiles.load_for(server.target)
        assert kept is not None
        assert kept.renewal is not None
        assert (kept.renewal.issuer, kept.renewal.client_id) == (fake.issuer, "cli")
        assert kept.renewal.refresh_token in fake.refresh_tokens
        assert not [secret for secret in (kept.token, kept.renewal.refresh_token) if secret in result.output]
        assert run("whoami").stdout.split()[3] == "ann"
        assert "until it ends" in run("logout").stdout
        assert profiles.load_for(server.target) is None

    def test_what_is_said_on_the_command_line_goes_before(self, run, fake, offers) -> None:
        offers.client_id, offers.audience = "", "nobody"
        result = run("login", "--oidc", "--client-id", "mine", "--scope", "a", "--scope", "b", "--audience", AUDIENCE)
        assert result.exit_code == 0, result.output
        assert fake.posted[0][1] == {"client_id": "mine", "scope": "a b", "audience": AUDIENCE}

    @pytest.mark.parametrize(
        ("offer", "arguments", "says"),
        [
            ({}, (), "names no identity provider"),
            ({"issuer": "https://id.example"}, (), "BLADE_OIDC_CLI_CLIENT_ID"),
            (
                {"issuer": "https://id.example", "client_id": "cli"},
                ("--issuer", "https://other.example"),
                "--client-id",
            ),
            ({"issuer": "http://id.example", "client_id": "cli"}, (), "it must begin with https://"),
        ],
    )
    def test_where_it_is_not_known_how_the_way_out_is_said(self, server, run, home, offer, arguments, says) -> None:
        answer = access.GetSignInResponse(provider=access.IdentityProvider(**offer) if offer else None)
        server.on("GetSignIn", answer)
        result = run("login", "--oidc", *arguments)
        assert result.exit_code == 2
        assert says in result.stderr
        assert not (home / "config").exists()

    def test_its_options_are_for_it_alone(self, run) -> None:
        result = run("login", "--client-id", "x", stdin="token")
        assert (result.exit_code, "are for --oidc" in result.stderr) == (2, True)

    def test_nobody_signs_in_for_a_token_that_may_not_travel(self) -> None:
        result = CliRunner().invoke(main, ["login", "--oidc", "--server", "blade.example.org:1"])
        assert result.exit_code == 2
        assert "would travel readable" in result.stderr

    def test_a_token_that_the_server_does_not_take_is_not_kept(self, run, fake, offers, server, home) -> None:
        server.on("WhoAmI", server.fails(grpc.StatusCode.UNAUTHENTICATED, "this token is not good", "UNAUTHENTICATED"))
        assert run("login", "--oidc").exit_code == 9
        assert not (home / "config").exists()

    def test_a_refusal_ends_it(self, run, fake, offers, home) -> None:
        fake.device = [(400, {"error": "access_denied"})]
        result = run("login", "--oidc")
        assert (result.exit_code, "refused at the identity provider" in result.stderr) == (9, True)
        assert not (home / "config").exists()

    def test_what_the_provider_says_cannot_write_on_the_terminal(self, run, fake, offers) -> None:
        begun = {"verification_uri": "https://x/\x1b[2J", "user_code": "A\x1b]0;x\x07", "device_code": "d"}
        fake.answer_to = lambda *_: (200, begun) if len(fake.posted) == 1 else (400, {"error": "\x1b[31m"})  # type: ignore[method-assign]
        result = run("login", "--oidc")
        assert result.exit_code == 9
        assert "\x1b" not in result.output


class TestOpen:
    @pytest.fixture
    def opened(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        opened: list[str] = []
        monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
        return opened

    def test_it_opens_a_file_that_leads_there_and_is_for_its_owner_alone(self, server, run, opened) -> None:
        server.on("CreateSignInCode", access.CreateSignInCodeResponse(code=CODE, http_port=8080))
        result = run("open")
        assert result.exit_code == 0, result.output
        (url,) = opened
        assert CODE not in url + result.output, "what a browser is started with, others on the machine can read"
        file = Path(unquote(urlsplit(url).path))
        assert file.stat().st_mode & 0o777 == 0o600
        assert f"0; url=http://127.0.0.1:8080/#/sign-in/{CODE}" in file.read_text()

    @pytest.mark.parametrize(
        ("made", "address"),
        [
            ({"http_port": 8080}, f"http://127.0.0.1:8080/#/sign-in/{CODE}"),
            ({"http_port": 8443, "http_tls": True}, f"https://127.0.0.1:8443/#/sign-in/{CODE}"),
            ({"http_port": 1, "page_url": "https://b.example"}, f"https://b.example/#/sign-in/{CODE}"),
        ],
    )
    def test_it_prints_the_address_and_opens_nothing(self, server, run, opened, made, address) -> None:
        server.on("CreateSignInCode", access.CreateSignInCodeResponse(code=CODE, **made))
        assert run("open", "--print").stdout == address + "\n"
        assert json.loads(run("open", "--print", "--json").stdout) == {"url": address}
        assert opened == []

    def test_where_nobody_signs_in_the_page_alone_is_opened(self, run, opened) -> None:
        assert run("open", "--print").stdout == "http://127.0.0.1:8080/\n"

    def test_where_there_is_no_browser_it_says_what_to_do(self, server, run, monkeypatch) -> None:
        monkeypatch.setattr(webbrowser, "open", lambda url: False)
        result = run("open")
        assert (result.exit_code, "blade open --print" in result.stderr) == (5, True)

    def test_a_page_that_is_not_there_yet_is_said_to_be(self, server, run) -> None:
        server.on("CreateSignInCode", access.CreateSignInCodeResponse(code=CODE))
        result = run("open")
        assert result.exit_code == 6
        assert "not open yet" in result.stderr
        assert CODE not in result.output

    def test_it_uses_the_profile_that_later_commands_use(self, server, run) -> None:
        renewal = Renewal(issuer="https://id.example", client_id="cli", audience="blade")
        profiles.save(Profile(name="mine", server=server.target, token="t", renewal=renewal))
        assert CliRunner().invoke(main, ["open", "--print", "--profile", "mine"]).exit_code == 0
        assert server.metadata["authorization"] == "Bearer t"
