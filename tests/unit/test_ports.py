"""A port that is taken is waited for a moment, and told with who has it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from blade_server import ports
from blade_server.ports import until_free


def test_a_connection_that_passes_through_the_port_is_waited_for():
    asyncio.run(_wait_for_a_connection_that_passes())


async def _wait_for_a_connection_that_passes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        passing = socket.create_connection(other.getsockname())
        taken = passing.getsockname()[1]
        waiting = asyncio.create_task(until_free("127.0.0.1", taken, "BLADE_PORT"))
        await asyncio.sleep(0)
        assert not waiting.done()
        peer, _ = other.accept()
        peer.close()  # so that the other end keeps the time to wait
        passing.close()
        await asyncio.wait_for(waiting, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="who has a port is read from /proc")
def test_a_port_that_stays_taken_is_told_with_who_has_it(monkeypatch):
    monkeypatch.setattr(ports, "PATIENCE_S", 0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"^\[Errno 98\] cannot listen on 127.0.0.1:{port}: Address already"
        ) as caught:
            asyncio.run(until_free("127.0.0.1", port, "BLADE_PORT"))
    assert f"a server of {Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})" in str(caught.value)
    assert "set BLADE_PORT to a free one" in str(caught.value)
    assert "ip_local_reserved_ports" in str(caught.value)


def test_an_address_of_another_machine_is_told_at_once():
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:1"):
        asyncio.run(until_free("192.0.2.1", 1, "BLADE_PORT"))
