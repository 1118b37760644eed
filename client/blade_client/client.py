"""The client: one object for one server."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from blade_client.access import AccessCalls
from blade_client.audit import AuditCalls
from blade_client.calls import Calls
from blade_client.connection import Connection, ConnectionOptions
from blade_client.destinations import DestinationCalls
from blade_client.items import ItemCalls
from blade_client.jobs import JobCalls
from blade_client.notifications import NotificationCalls
from blade_client.sources import SourceCalls
from blade_client.syncs import SyncCalls


class BladeClient(SourceCalls, ItemCalls, JobCalls):
    """A client of one BLADE server. All calls block. Threads may share a client.

    A process that is forked while no call is running may go on using it too, with a connection of its own.

    Use it in a `with` block or call close(). The connection is made by the first call. A call that may be repeated
    (reading, controlling, and creating, which carries a request_id) is tried again while the server cannot be reached.

    Args:
        target: Address of the server, `host:port`. Default: the profile's, else 127.0.0.1:50051.
        tls: Encrypt, trusting the authorities that gRPC brings.
        ca_file: Encrypt, trusting the authorities in this PEM file.
        token: Sent as `authorization: Bearer ...`; `""`: none. Default: token_file, BLADE_TOKEN_FILE, BLADE_TOKEN, the
            profile's, or that of a server of this user on this machine, once it has proved to be that server.
        token_file: File that holds the token, which only its owner may read (0600).
        profile: Name of a profile that `blade login` made; `""`: none. Default: BLADE_PROFILE, else the one of that
            server.
        insecure_token: Send the token without TLS to another machine, too, where everybody in between can read it.
        metadata: Further metadata of every call; with an `authorization` in it no token is looked for.
        timeout_s: Longest time of one call with all its retries. Queries and watching have their own.
        actor: Who calls, for the history of jobs. Default: user@host.
        attempts: How often a call that may be repeated is tried.
        channel: A channel of the caller's own, with interceptors for example; the caller closes it.

    Raises:
        ValueError: The target is no address, a number is out of range, a token would travel readable, others may read
            the file it is in, or the profile is of another server.
        OSError: ca_file or token_file cannot be read.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        timeout_s: float = 60.0,
        attempts: int = 4,
        **connection: Unpack[ConnectionOptions],
    ) -> None:
        self._connection = Connection(target, **connection)
        self._calls = Calls(self._connection, timeout_s=timeout_s, attempts=attempts)
        self.access = AccessCalls(self._calls)
        """Who may do what: tokens and grants, and who the caller is."""
        self.audit = AuditCalls(self._calls)
        """Who did what."""
        self.destinations = DestinationCalls(self._calls)
        """The catalogs that items can be sent to."""
        self.syncs = SyncCalls(self._calls)
        """The standing orders to keep catalogs equal to tables."""
        self.notifications = NotificationCalls(self._calls)
        """The receivers that are told what happens to syncs."""

    @property
    def target(self) -> str:
        """The server's address."""
        return self._connection.target

    def authorization(self) -> str:
        """The value of the `authorization` header that calls carry, for HTTP clients; empty without a token.

        A server of this user on this machine, whose own token would be shown to it, has to answer for that.
        """
        return self._connection.authorization(self._calls.timeout_s)

    def close(self) -> None:
        """Closes the connection; calls under way in other threads end as Cancelled. Closing again does nothing."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
