"""The connection to a server: address, TLS, who is calling, and the gRPC channel."""

from __future__ import annotations

import getpass
import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias, TypedDict, Unpack

import grpc

from blade.v1.access_service_pb2_grpc import AccessServiceStub
from blade.v1.audit_service_pb2_grpc import AuditServiceStub
from blade.v1.config_service_pb2_grpc import ConfigServiceStub
from blade.v1.destination_service_pb2_grpc import DestinationServiceStub
from blade.v1.ingest_service_pb2_grpc import IngestServiceStub
from blade.v1.job_service_pb2_grpc import JobServiceStub
from blade.v1.notification_service_pb2_grpc import NotificationServiceStub
from blade.v1.query_service_pb2 import QueryArrowRequest
from blade.v1.query_service_pb2_grpc import QueryServiceStub
from blade.v1.sync_service_pb2_grpc import SyncServiceStub
from blade_client import errors
from blade_client.credentials import NONE, Token, given_token, named_profile, token_around
from blade_client.diagnosis import problem_at, proxy_words
from blade_client.operator_token import OperatorToken
from blade_client.profile_token import ProfileToken

DEFAULT_TARGET = "127.0.0.1:50051"
Metadata: TypeAlias = tuple[tuple[str, str], ...]
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
    """The services over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.config = ConfigServiceStub(channel)
        self.destination = DestinationServiceStub(channel)
        self.query = QueryServiceStub(channel)
        self.ingest = IngestServiceStub(channel)
        self.job = JobServiceStub(channel)
        self.sync = SyncServiceStub(channel)
        self.notification = NotificationServiceStub(channel)
        self.access = AccessServiceStub(channel)
        self.audit = AuditServiceStub(channel)
        self.arrow: grpc.UnaryStreamMultiCallable[QueryArrowRequest, bytes] = channel.unary_stream(
            "/blade.v1.QueryService/QueryArrow", request_serializer=QueryArrowRequest.SerializeToString
        )
        """QueryArrow with its answers as bytes; see arrow_answer.py."""


class ConnectionOptions(TypedDict, total=False):
    """How a server is reached; see BladeClient for what each means."""

    tls: bool
    ca_file: str | os.PathLike[str] | None
    token: str | None
    token_file: str | os.PathLike[str] | None
    profile: str | None
    insecure_token: bool
    metadata: Sequence[tuple[str, str]]
    actor: str | None
    channel: grpc.Channel | None


class Connection:
    """One server, reached over one channel that threads share; the first call connects it."""

    def __init__(self, target: str | None, **options: Unpack[ConnectionOptions]) -> None:
        channel = options.get("channel")
        profile = None if channel else named_profile(options.get("profile"), target, DEFAULT_TARGET)
        default = profile.server if profile is not None else DEFAULT_TARGET
        self.target = check_target(default if target is None else target)
        self._ca_file = options.get("ca_file") or (profile.ca_file if profile else None) or None
        self._secure = options.get("tls", False) or self._ca_file is not None or (profile is not None and profile.tls)
        given = _given(options)
        token = given or (NONE if channel else token_around(profile))
        is_safe = self._secure or channel is not None or is_local(self.target) or options.get("insecure_token")
        if token.text and not is_safe:
            raise ValueError(_readable(self.target, token.source))
        may_look = given is None and not token.text and channel is None and is_local(self.target)
        self._operator = OperatorToken(self.target, secure=self._secure) if may_look else None
        self._renewed = ProfileToken(token.profile) if token.profile is not None else None
        actor = header_value(options.get("actor") or default_actor())
        stays = "" if self._renewed else token.text
        self._metadata = _with_token([("blade-actor", actor), *options.get("metadata", ())], stays)
        dialled = self._operator.dialled if self._operator else self.target
        self._channel = channel or _open(dialled, secure=self._secure, ca_file=self._ca_file)
        self._is_ours = channel is None
        self._stubs = Stubs(self._channel)
        self._closed = False

    def metadata(self, timeout_s: float | None) -> Metadata:
        """What a call carries. The server is asked first, for at most `timeout_s`, if its operator's token is there.

        The identity provider is asked if a profile's token is at its end; raises NotSignedIn, Unavailable.
        """
        if self._renewed is not None:
            return _with_token(self._metadata, self._renewed.text())
        if self._operator is None:
            return self._metadata
        return _with_token(self._metadata, self._operator.token(self.stubs().access, timeout_s=timeout_s))

    def authorization(self, timeout_s: float | None) -> str:
        """The value of the `authorization` header that calls carry; empty without one."""
        return dict(self.metadata(timeout_s)).get("authorization", "")

    def knows_better(self, error: errors.BladeClientError, shown: Metadata) -> bool:
        """Whether a call that failed so, with this metadata, is worth making at once with other metadata.

        A server that was started anew has another token for its operator; one that was lost may be another by now. A
        token of an identity provider can be renewed, where its server says before this machine does that it is over.
        """
        if self._renewed is not None and isinstance(error, errors.NotSignedIn):
            return self._renewed.renewed(dict(shown).get("authorization", "").removeprefix("Bearer "))
        if self._operator is None or not isinstance(error, (errors.Unreachable, errors.NotSignedIn)):
            return False
        self._operator.forget()
        return isinstance(error, errors.NotSignedIn) and self.metadata(None) != shown

    def stubs(self) -> Stubs:
        """The services. Raises RuntimeError if the connection was closed."""
        if self._closed:
            raise RuntimeError("This BladeClient is closed; make a new one.")
        return self._stubs

    def explained(self, error: errors.BladeClientError) -> errors.BladeClientError:
        """The error, or a better one for a server that cannot be reached: the port is asked what it is."""
        if isinstance(error, errors.NotSignedIn) and self._operator is not None and self._operator.problem:
            message = f"{error.message} ({self._operator.problem})"
            return errors.NotSignedIn(message, reason=error.reason, metadata=error.metadata, code=error.code)
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


def _given(options: ConnectionOptions) -> Token | None:
    """What the caller hands over; whoever writes the header himself needs no other."""
    if any(key.lower() == "authorization" for key, _ in options.get("metadata", ())):
        return NONE
    return given_token(options.get("token"), options.get("token_file"))


def _with_token(metadata: Iterable[tuple[str, str]], token: str) -> Metadata:
    return (*metadata, ("authorization", f"Bearer {token}")) if token else tuple(metadata)


def _readable(target: str, source: str) -> str:
    """Why a token is not sent."""
    return (
        f"The token for {target} (from {source}) would travel readable: encrypt with TLS, tls=True or ca_file (--tls, "
        "--tls-ca), or say that the network is safe with insecure_token=True (--insecure-token)."
    )


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
