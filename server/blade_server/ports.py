"""A port that is taken: waited for a moment, then told with who has it and the way out."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 2.0
"""A connection of another program that passes through the port, or the end of the server before, is over by then."""
_BETWEEN_S = 0.1
_PROC = Path("/proc")
_LISTENS = "0A"


async def until_free(host: str, port: int, setting: str, *, zero: str = "any") -> None:
    """Returns once somebody can listen there. Raises OSError, one sentence, if that takes longer than `PATIENCE_S`.

    `setting` is the variable that names another port, `zero` what 0 means there.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while (exc := _refusal(host, port)) is not None:
        late = asyncio.get_running_loop().time() > deadline
        if exc.errno != errno.EADDRINUSE or late:
            reason = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)
            why = _words(port, setting, zero) if exc.errno == errno.EADDRINUSE else ""
            raise OSError(exc.errno, f"cannot listen on {_shown(host)}:{port}: {reason}{why}")
        await asyncio.sleep(_BETWEEN_S)


def _refusal(host: str, port: int) -> OSError | None:
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        socket.create_server((host, port), family=family).close()
    except OSError as exc:
        return exc
    return None


def _words(port: int, setting: str, zero: str) -> str:
    words = f" by {_owner(port)}; set {setting} to a free one (0: {zero})"
    low, high = _ephemeral()
    if low <= port <= high:
        words += (
            f", or keep it from outgoing connections, which get {low} to {high} here "
            f"(sysctl net.ipv4.ip_local_reserved_ports={port})"
        )
    return words


def _owner(port: int) -> str:
    """Who has the port, as far as this user may see it."""
    entries = list(_entries(port))
    what = "a server" if any(state == _LISTENS for state, _ in entries) else "a connection"
    sockets = {f"socket:[{inode}]" for _, inode in entries}
    for handle in _PROC.glob("[0-9]*/fd/*") if sockets else ():
        with suppress(OSError):
            if str(handle.readlink()) in sockets:
                process = handle.parent.parent
                return f"{what} of {(process / 'comm').read_text().strip()} (process {process.name})"
    return f"{what} of another program" if entries else "another program"


def _entries(port: int) -> Iterator[tuple[str, str]]:
    """State and inode of the sockets that have the port at their end (Linux)."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[3], fields[9]


def _ephemeral() -> tuple[int, int]:
    with suppress(OSError, ValueError):
        low, high = (_PROC / "sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(low), int(high)
    return sys.maxsize, 0


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
