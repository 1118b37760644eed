"""The HTTP side of a whole world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.loops import LoopThread

from blade_sandbox.sandbox import Sandbox
from blade_server.model.policy import ListenPolicy
from blade_server.web.app import Web


@pytest.fixture(scope="session")
def http_url(world: Sandbox) -> Iterator[str]:
    """The HTTP port of the world's server; of one in front of it where the server has none (BLADE_HTTP_PORT unset)."""
    if world.http_url:
        yield world.http_url
        return
    loop = LoopThread()

    async def start() -> tuple[Web, int]:
        web = Web(world.target, ListenPolicy(port=0), query_timeout_s=300.0)
        return web, await web.start()

    web, port = loop.run(start())
    yield f"http://127.0.0.1:{port}"
    loop.run(web.stop(0))
    loop.close()
