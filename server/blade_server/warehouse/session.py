"""One session on a warehouse: the driver's connection, the thread that alone may touch it, and how they end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from databricks import sql
from databricks.sql.backend.thrift_backend import ThriftDatabricksClient

from blade_server.addresses import speaks_otherwise
from blade_server.errors import Precondition, Reason, StatementCancelled, WarehouseDenied
from blade_server.warehouse import reach, trust
from blade_server.warehouse.driver_thread import DriverThread
from blade_server.warehouse.failures import DRIVER_ERRORS
from blade_server.warehouse.oauth import CredentialsProvider
from blade_server.warehouse.target import Target

log = logging.getLogger(__name__)

T = TypeVar("T")

DOWNLOAD_THREADS = 2
"""CloudFetch files in flight: as fast as the default of 10 on loopback, with half the memory."""

FETCH_BUFFER_BYTES = 32 * 1024 * 1024
"""Most of an inline result in one answer; it is what a reader holds in memory."""

FETCH_ROWS = 100_000

# These two write the signed URLs of results into the log, which are as good as a password for an hour.
logging.getLogger("databricks.sql.cloudfetch.downloader").setLevel(logging.ERROR)
logging.getLogger("databricks.sql.common.unified_http_client").setLevel(logging.CRITICAL)
# It reports each failed attempt as an error; what matters comes out as one of ours.
logging.getLogger("databricks.sql.backend.thrift_backend").setLevel(logging.CRITICAL)


def connect(target: Target, tags: Mapping[str, str] | None = None) -> Any:
    """Open a session. Blocks; the driver's errors come out as they are.

    `tags`: query tags, without commas and colons; a warehouse that takes none gets none.

    Raises:
        WarehouseDenied: there are no credentials to present.
        Precondition: nobody may reach its address; the proxy is one that nobody here knows; the host is written with
            http:// and speaks TLS, or the other way round.
    """
    arguments = _arguments(target)
    if tags:
        written = ",".join(f"{name}:{value}" for name, value in tags.items())
        arguments["session_configuration"] |= {"QUERY_TAGS": written}
    try:
        proxied = target.proxy is not None
    except ValueError as exc:
        raise Precondition(str(exc), reason=Reason.WAREHOUSE_UNAVAILABLE) from exc
    try:
        with reach.bound(target), trust.shared(arguments.get("_tls_trusted_ca_file", "")):
            return sql.connect(**arguments)
    except DRIVER_ERRORS as exc:
        if tags and "QUERY_TAGS" in str(exc).upper():
            log.warning("%s takes no query tags: its history does not tell which job a statement is of", target)
            return connect(target)
        wrong = "" if proxied else speaks_otherwise(target.base_url)
        if wrong:
            raise Precondition(f"{target} {wrong}", reason=Reason.WAREHOUSE_UNAVAILABLE) from None
        raise


def _arguments(target: Target) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "server_hostname": target.hostname if target.secure else target.base_url,
        "http_path": target.http_path,
        "user_agent_entry": "blade",
        # Times cast to text, and text compared to times, are UTC as in items.
        "session_configuration": {"TIMEZONE": "UTC"},
        "enable_telemetry": False,
        "use_cloud_fetch": True,
        "max_download_threads": DOWNLOAD_THREADS,
        "_socket_timeout": target.timeout_s,
        # Few and short, for BLADE has its own retries: the defaults hang for 14 minutes on a dead server.
        "_retry_stop_after_attempts_count": 3,
        "_retry_stop_after_attempts_duration": min(20.0, target.timeout_s),
        "_retry_delay_min": 0.1,
        "_retry_delay_max": 5.0,
        "_retry_delay_default": 1.0,
    }
    if target.secure:
        arguments["_port"] = target.port
    else:
        arguments["_connection_uri"] = f"{target.base_url}/{target.http_path.lstrip('/')}"
    if target.ca_file:
        arguments["_tls_trusted_ca_file"] = str(target.ca_file)
    return arguments | _credentials(target)


def _credentials(target: Target) -> dict[str, Any]:
    if target.token is not None and target.token.get_secret_value():
        return {"access_token": target.token.get_secret_value()}
    if target.client_id and target.client_secret is not None:
        return {"credentials_provider": CredentialsProvider(target)}
    # Without any, the driver would open a browser.
    raise WarehouseDenied(
        f"there are no credentials for {target}: set DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and "
        "DATABRICKS_CLIENT_SECRET, or the source's `credentials`"
    )


class Session:
    """A connection that opens with its first use. Everything but `retire` runs on its driver thread."""

    def __init__(self, target: Target, tags: Mapping[str, str]) -> None:
        self.target = target
        self._tags = tags
        self._driver_thread = DriverThread(f"warehouse-{target.warehouse_id}")
        self._connection: Any = None
        self._retired: Future[None] | None = None
        self._lock = threading.Lock()

    def ask(self, call: Callable[[], T]) -> Future[T]:
        """Have a call made on the session's thread.

        Raises:
            StatementCancelled: the session was closed meanwhile.
        """
        with self._lock:
            if self._retired is not None:
                raise StatementCancelled("the warehouse session was closed")
            return self._driver_thread.ask(call)

    @property
    def retired(self) -> bool:
        """Whether it takes no more calls."""
        return self._retired is not None

    def retire(self) -> Future[None]:
        """Take no more calls, and close once those under way are done. Any thread; does not wait."""
        with self._lock:
            if self._retired is None:
                self._retired = self._driver_thread.ask(self._close)
                self._driver_thread.stop()
            return self._retired

    def cursor(self) -> Any:
        """A new cursor, on a connection opened if need be."""
        if self._connection is None:
            self._connection = connect(self.target, self._tags)
        cursor = self._connection.cursor(arraysize=FETCH_ROWS, buffer_size_bytes=FETCH_BUFFER_BYTES)
        # The connection would keep every cursor it ever made.
        self._connection._cursors.clear()
        return cursor

    def reset(self) -> None:
        """Forget a connection that the warehouse no longer knows."""
        self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*DRIVER_ERRORS):
                connection.close()
            # Whatever became of it: no request from a finaliser later on.
            connection.session.is_open = False


def send_cancel(connection: Any, command_id: Any, target: Target) -> None:
    """Cancel a statement over a TCP connection of its own: the session's may be busy with a fetch for long. Blocks."""
    arguments = _arguments(target) | {"_socket_timeout": 5.0, "_retry_stop_after_attempts_duration": 5.0}
    session = connection.session
    client = ThriftDatabricksClient(
        arguments.pop("server_hostname"),
        target.port,
        arguments.pop("http_path"),
        [("User-Agent", session.useragent_header), *session.get_spog_headers().items()],
        session.auth_provider,
        session.ssl_options,
        connection.http_client,
        **arguments,
    )
    try:
        client.cancel_command(command_id)
    except DRIVER_ERRORS as exc:
        log.info("%s: cancel was not delivered: %s", target, type(exc).__name__)
