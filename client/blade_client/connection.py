"""The connection to a server: address, TLS, who is calling, and the gRPC channel."""

from __future__ import annotations

import getpass
import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import grpc

from blade.v1.config_service_pb2_grpc import ConfigServiceStub
from blade.v1.ingest_service_pb2_grpc import IngestServiceStub
from blade.v1.job_service_pb2_grpc import JobServiceStub
from blade.v1.query_service_pb2 import QueryArrowRequest
from blade.v1.query_service_pb2_grpc import QueryServiceStub
from blade_client import errors
from blade_client.diagnosis import problem_at, proxy_words

DEFAULT_TARGET = "127.0.0.1:50051"
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # Error details travel in trailers, which gRPC cuts off at 8 KiB unless told otherwise.
    ("grpc.absolute_max_metadata_size", 256 * 1024),
    # Finds a dead peer under a silent stream. Never pings an idle connection, which servers punish.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Quick to notice that a restarted server is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


class Stubs:
    """The four services over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.config = ConfigServiceStub(channel)
        self.query = QueryServiceStub(channel)
        self.ingest = IngestServiceStub(channel)
        self.job = JobServiceStub(channel)
        self.arrow: grpc.UnaryStreamMultiCallable[QueryArrowRequest, bytes] = channel.unary_stream(
            "/blade.v1.QueryService/QueryArrow", request_serializer=QueryArrowRequest.SerializeToString
        )
        """QueryArrow with its answers as bytes; see arrow_answer.py."""


class ConnectionOptions(TypedDict, total=False):
    """How a server is reached; see BladeClient for what each means."""

    tls: bool
    ca_file: str | os.PathLike[str] | None
    token: str | None
    metadata: Sequence[tuple[str, str]]
    actor: str | None
    channel: grpc.Channel | None


class Connection:
    """One server, reached over one channel that threads share; the first call connects it."""

    def __init__(
        self,
        target: str,
        *,
        tls: bool = False,
        ca_file: str | os.PathLike[str] | None = None,
        token: str | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        actor: str | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        self.target = check_target(target)
        secure = tls or ca_file is not None
        if token is None and channel is None and (secure or is_local(target)):
            token = os.environ.get("BLADE_TOKEN")
        if token and not secure and channel is None and not is_local(target):
            raise ValueError(f"A token for {target} needs TLS: pass tls=True or ca_file, or it travels readable.")
        self.metadata = [("blade-actor", header_value(actor or default_actor())), *metadata]
        if token:
            self.metadata.append(("authorization", f"Bearer {token}"))
        self._channel = channel if channel is not None else _open(target, secure=secure, ca_file=ca_file)
        self._is_ours = channel is None
        self._secure, self._ca_file = secure, ca_file
        self._stubs = Stubs(self._channel)
        self._closed = False

    def stubs(self) -> Stubs:
        """The services. Raises RuntimeError if the connection was closed."""
        if self._closed:
            raise RuntimeError("This BladeClient is closed; make a new one.")
        return self._stubs

    def explained(self, error: errors.BladeClientError) -> errors.BladeClientError:
        """The error, or a better one for a server that cannot be reached: the port is asked what it is."""
        if not isinstance(error, errors.Unreachable) or not self._is_ours:
            return error
        proxy = "" if is_local(self.target) else proxy_words(self.target)
        if proxy:
            return errors.Unreachable(error.message + proxy, code=error.code)
        problem, words = problem_at(self.target, secure=self._secure, ca_file=self._ca_file)
        if not problem:
            return error
        wrong = errors.WrongAddress(words, code=error.code)
        wrong.problem = problem
        return wrong

    def close(self) -> None:
        """Closes the channel, unless it is the caller's own; calls under way end as Cancelled."""
        self._closed = True
        if self._is_ours:
            self._channel.close()


def _open(target: str, *, secure: bool, ca_file: str | os.PathLike[str] | None) -> grpc.Channel:
    options = list(_OPTIONS)
    if is_local(target):
        options.append(("grpc.enable_http_proxy", 0))  # http_proxy is never meant for the own machine
    if not secure:
        return grpc.insecure_channel(target, options=options)
    roots = Path(ca_file).read_bytes() if ca_file is not None else None
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options=options)


def check_target(target: str) -> str:
    """Returns the target. Raises ValueError if it is not `host:port`, `[ipv6]:port` or a gRPC name such as `unix:`."""
    if re.fullmatch(r"(unix|unix-abstract|dns|ipv4|ipv6|xds):.+", target):
        return target
    place = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\]]+):(\d{1,5})", target)
    if not place or not 0 < int(place[2]) < 65536 or not _can_be_host(place[1].strip("[]")):
        shown = re.sub(r"//.*@", "//***@", target)
        raise ValueError(f"{shown!r} is not a server address; write host:port, for example {DEFAULT_TARGET}.")
    return target


def _can_be_host(host: str) -> bool:
    """False for what is neither a name that DNS can have nor an address."""
    try:
        if ":" in host:
            ipaddress.IPv6Address(host)
        elif re.fullmatch(r"[\d.]+", host):
            socket.inet_aton(host)
        else:
            host.removesuffix(".").encode("idna")
    except (ValueError, OSError):
        return False
    return True


def is_local(target: str) -> bool:
    """True if the target is on this machine: loopback or a unix socket."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = target.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def default_actor() -> str:
    """The user and host, for the history of jobs: `anna@workstation`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user id often has no name
        user = f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"


def header_value(text: str) -> str:
    """The text as gRPC metadata can carry it: printable ASCII; anything else becomes `?`."""
    return re.sub(r"[^\x20-\x7e]", "?", text).strip() or "?"
