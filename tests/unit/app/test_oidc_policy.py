"""What the settings of an identity provider must have, and what each refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from blade_server.app.oidc_policy import oidc_policy, public_url
from blade_server.app.policies import web_policy
from blade_server.model.policy import OidcCli
from blade_server.settings import Settings

PROVIDER = {"oidc_issuer": "https://id.example.com/realms/ops", "oidc_audience": "blade"}
PAGE = PROVIDER | {"oidc_client_id": "page", "public_url": "https://Blade.example.com:8443/"}


def test_a_page_has_a_client_and_where_the_provider_sends_people_back() -> None:
    policy = oidc_policy(Settings(**PAGE, oidc_client_secret="s3cret", oidc_scopes="openid, groups"))
    assert policy is not None
    assert policy.page is not None
    assert policy.page.redirect_uri == "https://blade.example.com:8443/session/oidc/callback"
    assert policy.page.scopes == ("openid", "groups")
    assert policy.name == "id.example.com"
    assert "s3cret" not in repr(policy)


def test_without_a_client_people_sign_in_by_tokens_alone() -> None:
    policy = oidc_policy(Settings(**PROVIDER))
    assert policy is not None
    assert (policy.page, policy.cli) == (None, None)
    assert oidc_policy(Settings()) is None


def test_commands_have_a_client_of_their_own() -> None:
    policy = oidc_policy(Settings(**PROVIDER, oidc_cli_client_id="cli", oidc_name="Ops"))
    assert policy is not None
    assert (policy.cli, policy.name) == (OidcCli(client_id="cli", scopes=("openid", "offline_access")), "Ops")


def test_the_page_is_reached_by_its_public_name() -> None:
    policy = web_policy(Settings(public_url="https://Blade.example.com:8443/", allowed_hosts="other.example"))
    assert policy.public_url == "https://blade.example.com:8443"
    assert policy.allowed_hosts == {"blade.example.com", "other.example"}
    assert web_policy(Settings()).allowed_hosts == frozenset()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"oidc_client_id": "page"}, "BLADE_OIDC_CLIENT_ID is set, and of which provider is not"),
        ({"oidc_cli_client_id": "cli"}, "BLADE_OIDC_CLI_CLIENT_ID is set, and of which provider is not"),
        ({"oidc_client_secret": "s3cret"}, "BLADE_OIDC_CLIENT_SECRET is set, and of which provider is not"),
        (PROVIDER | {"oidc_client_secret": "s3cret"}, "BLADE_OIDC_CLIENT_ID, whose it is, is not"),
        (PROVIDER | {"oidc_client_id": "page"}, "BLADE_PUBLIC_URL, to which the provider sends them back, is not set"),
        (PAGE | {"oidc_scopes": "groups"}, "BLADE_OIDC_SCOPES is 'groups': without openid"),
        (PROVIDER | {"oidc_cli_client_id": "c", "oidc_cli_scopes": ""}, "BLADE_OIDC_CLI_SCOPES is '': without openid"),
        (PAGE | {"public_url": "blade.example.com"}, "BLADE_PUBLIC_URL is 'blade.example.com': it must begin with"),
        (PAGE | {"public_url": "http://blade.example.com"}, "off this machine it must begin with https://"),
        (PAGE | {"public_url": "https://blade.example.com/blade"}, "and nothing else"),
        (PAGE | {"public_url": "https://blade.example.com/?a"}, "and nothing else"),
        (PAGE | {"public_url": "https://u:s3cret@blade.example.com"}, "and nothing else"),
        (PAGE | {"public_url": "https://blade.example.com:x"}, "is not a port"),
    ],
)
def test_what_is_missing_or_cannot_be_right_is_one_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match="BLADE_") as caught:
        oidc_policy(Settings(**settings))
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1:8080/", "https://b.example"])
def test_on_this_machine_it_needs_no_tls(url: str) -> None:
    assert public_url(Settings(public_url=url)) == url.rstrip("/")
