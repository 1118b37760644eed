"""The client: one object for one server."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc

from blade_client.calls import Calls
from blade_client.connection import DEFAULT_TARGET, Connection, Tls
from blade_client.items import ItemCalls
from blade_client.jobs import JobCalls
from blade_client.sources import SourceCalls


class BladeClient(SourceCalls, ItemCalls, JobCalls):
    """A client of one BLADE server. All calls block. Threads may share a client.

    A process that is forked while no call is running may go on using it too, with a connection of its own.

    Use it in a `with` block or call close(). The connection is made by the first call. A call that may be repeated
    (reading, controlling, and creating, which carries a request_id) is tried again while the server cannot be reached.

    Args:
        target: Address of the server, `host:port`; or a channel of the caller's own, with interceptors for example,
            which the caller closes, and to which `tls` does not apply.
        tls: Encrypt. True: trusting the authorities that gRPC brings; a path: trusting those in this PEM file.
        token: Sent as `authorization: Bearer ...`; needs TLS unless the server is on this machine.
        metadata: Further metadata of every call.
        timeout_s: Longest time of one call with all its retries. Queries and watching have their own.
        actor: Who calls, for the history of jobs. Default: user@host.
        attempts: How often a call that may be repeated is tried.

    Raises:
        ValueError: The target is no address, a number is out of range, or a token would travel readable.
        OSError: The PEM file cannot be read.
    """

    def __init__(
        self,
        target: str | grpc.Channel = DEFAULT_TARGET,
        *,
        tls: Tls = False,
        token: str | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float = 60.0,
        actor: str | None = None,
        attempts: int = 4,
    ) -> None:
        self._connection = Connection(target, tls=tls, token=token, metadata=metadata, actor=actor)
        self._calls = Calls(self._connection, timeout_s=timeout_s, attempts=attempts)

    @property
    def target(self) -> str:
        """The server's address, or words for the channel."""
        return self._connection.target

    def close(self) -> None:
        """Closes the connection; calls under way in other threads end as Cancelled. Closing again does nothing."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
