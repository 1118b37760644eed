"""The HTTP side of a whole world."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from blade_sandbox.world import World


@pytest.fixture
def http_url(make_world: Callable[..., World]) -> Iterator[str]:
    """The HTTP port of a world of the test's own: what the customer's document says is about an empty one."""
    world = make_world()
    yield world.http_url
    world.stop()
