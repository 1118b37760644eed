"""The HTTP side of a whole sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from blade_sandbox.sandbox import Sandbox


@pytest.fixture
def http_url(make_world: Callable[..., Sandbox]) -> Iterator[str]:
    """The HTTP port of a sandbox of the test's own: what the customer's document says is about an empty one.

    Nobody signs in, as in `blade sandbox`.
    """
    world = make_world(settings={"BLADE_AUTH": "off"})
    yield world.http_url
    world.stop()
