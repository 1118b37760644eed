"""The HTTP side of a whole sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from blade_sandbox.sandbox import Sandbox


@pytest.fixture
def http_url(make_world: Callable[..., Sandbox]) -> Iterator[str]:
    """The HTTP port of a sandbox of the test's own: what the customer's document says is about an empty one."""
    world = make_world()
    yield world.http_url
    world.stop()
