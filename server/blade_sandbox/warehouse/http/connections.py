"""The open client connections, so that one of them can be cut without an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connections:
    """By the address and port of the client."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], Any] = {}

    def add(self, peer: tuple[str, int], transport: Any) -> None:
        """A client has connected."""
        self._open[peer] = transport

    def remove(self, peer: tuple[str, int]) -> None:
        """A client has gone."""
        self._open.pop(peer, None)

    def cut(self, peer: tuple[str, int]) -> None:
        """Close one connection at once."""
        transport = self._open.pop(peer, None)
        if transport is not None:
            transport.abort()

    def cut_all(self) -> None:
        """Close every connection at once."""
        for peer in list(self._open):
            self.cut(peer)


def tracking(connections: Connections) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol, telling which connections are open."""

    class TrackedProtocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if self.client is not None:
                connections.add(self.client, transport)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client is not None:
                connections.remove(self.client)
            super().connection_lost(exc)

    return TrackedProtocol
