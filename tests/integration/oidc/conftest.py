from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.oidc import AUDIENCE, FakeProvider

from blade_server.model.policy import OidcPolicy
from blade_server.oidc import Provider


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
def provider(provider_of: Callable[..., Provider]) -> Provider:
    return provider_of()
