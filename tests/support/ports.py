"""Ports that nobody listens on."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

import pytest

_CHANCE = random.SystemRandom()
"""Not the generator that every process of a run seeds alike."""


def free_port() -> int:
    """A port of 127.0.0.1 to come back to: one that no outgoing connection gets in the meantime."""
    while True:
        port = _CHANCE.randrange(15_000, 30_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


def own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address: str = sock.getsockname()[0]
        return address
