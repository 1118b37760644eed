"""Ports that nobody listens on."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

_CHANCE = random.SystemRandom()
"""Not the generator that every process of a run seeds alike."""


def free_port() -> int:
    """A port of 127.0.0.1 to come back to: one that no outgoing connection gets in the meantime."""
    while True:
        port = _CHANCE.randrange(15_000, 30_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
