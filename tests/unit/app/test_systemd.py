"""What systemd is told, on real sockets."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from blade_server.app.systemd import tell


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_that_the_server_serves(tmp_path: Path, abstract: bool) -> None:
    address = f"@blade-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{address[1:]}" if abstract else address)
        systemd.settimeout(5)
        tell({"NOTIFY_SOCKET": address})
        assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens_and_a_dead_socket_is_logged(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        tell({})
        assert caplog.messages == []
        tell({"NOTIFY_SOCKET": str(tmp_path / "absent")})
    [message] = caplog.messages
    assert str(tmp_path / "absent") in message
