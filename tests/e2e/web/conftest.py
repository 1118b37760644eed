"""The HTTP side of a whole world."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from blade_sandbox.sandbox import Sandbox
from blade_server.settings import Settings
from blade_server.web.app import Web


@pytest.fixture(scope="session")
def http_url(world: Sandbox) -> Iterator[str]:
    """The HTTP port of the world's server; of one in front of it where the server has none (BLADE_HTTP_PORT unset)."""
    if world.http_url:
        yield world.http_url
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Web, int]:
        web = Web(world.target, Settings(http_port=0))
        return web, await web.start()

    web, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield f"http://127.0.0.1:{port}"
    asyncio.run_coroutine_threadsafe(web.stop(0), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
