from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from tests.support.oidc import AUDIENCE, FakeProvider

from blade_server.model.policy import OidcClient, OidcPolicy
from blade_server.oidc import CodeFlow, Provider

REDIRECT = "https://blade.example.com/session/oidc/callback"


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider().running() as fake:
        yield fake


@pytest.fixture
def provider_of(fake: FakeProvider) -> Iterator[Callable[..., Provider]]:
    """Makes what knows the fake provider, and has begun to fetch its keys."""
    made = []

    def make(**policy: Any) -> Provider:
        own: dict[str, Any] = {"issuer": fake.issuer, "audience": AUDIENCE}
        made.append(Provider(OidcPolicy(**(own | policy))))
        made[-1].start()
        return made[-1]

    yield make
    for provider in made:
        provider.stop()


@pytest.fixture
def flow_of(fake: FakeProvider, provider_of: Callable[..., Provider]) -> Callable[..., CodeFlow]:
    """Signs browsers in at the fake provider; what is given goes before."""

    def make(**client: Any) -> CodeFlow:
        own: dict[str, Any] = {"client_id": "page", "redirect_uri": REDIRECT, "scopes": ("openid", "groups")}
        secret = None if fake.secret is None else SecretStr(fake.secret)
        flow = provider_of(page=OidcClient(**({"client_secret": secret} | own | client))).code_flow
        assert flow is not None
        return flow

    return make


@pytest.fixture
def provider(provider_of: Callable[..., Provider]) -> Provider:
    return provider_of()
