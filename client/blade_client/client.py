"""The client: one object for one server."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from blade_client.calls import Calls
from blade_client.connection import DEFAULT_TARGET, Connection, ConnectionOptions
from blade_client.items import ItemCalls
from blade_client.jobs import JobCalls
from blade_client.sources import SourceCalls


class BladeClient(SourceCalls, ItemCalls, JobCalls):
    """A client of one BLADE server. All calls block. Threads may share a client.

    A process that is forked while no call is running may go on using it too, with a connection of its own.

    Use it in a `with` block or call close(). The connection is made by the first call. A call that may be repeated
    (reading, controlling, and creating, which carries a request_id) is tried again while the server cannot be reached.

    Args:
        target: Address of the server, `host:port`.
        tls: Encrypt, trusting the authorities that gRPC brings.
        ca_file: Encrypt, trusting the authorities in this PEM file.
        token: Sent as `authorization: Bearer ...`; needs TLS unless the server is on this machine.
        metadata: Further metadata of every call.
        timeout_s: Longest time of one call with all its retries. Queries and watching have their own.
        actor: Who calls, for the history of jobs. Default: user@host.
        attempts: How often a call that may be repeated is tried.
        channel: A channel of the caller's own, with interceptors for example; the caller closes it.

    Raises:
        ValueError: The target is no address, a number is out of range, or a token would travel readable.
        OSError: ca_file cannot be read.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = 60.0,
        attempts: int = 4,
        **connection: Unpack[ConnectionOptions],
    ) -> None:
        self._connection = Connection(target, **connection)
        self._calls = Calls(self._connection, timeout_s=timeout_s, attempts=attempts)

    @property
    def target(self) -> str:
        """The server's address."""
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
