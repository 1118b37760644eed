"""The gRPC server: its services, limits, health, reflection, and how it stops."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from blade.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    config_service_pb2,
    config_service_pb2_grpc,
    destination_service_pb2,
    destination_service_pb2_grpc,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    notification_service_pb2,
    notification_service_pb2_grpc,
    query_service_pb2,
    query_service_pb2_grpc,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from blade_server.core.access.codes import Codes
from blade_server.core.access.door import Door
from blade_server.core.access.rights import Rights
from blade_server.core.audit.audit import Audit
from blade_server.core.destinations.destinations import Destinations
from blade_server.core.direct.ingest import Ingest
from blade_server.core.direct.queries import Queries
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.jobs.watch import Feed
from blade_server.core.notify.notifications import Notifications
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.syncs import Syncs
from blade_server.model.policy import ListenPolicy, PrincipalLimits
from blade_server.ports import until_free
from blade_server.rpc.access_service import AccessService
from blade_server.rpc.around.access import Access
from blade_server.rpc.around.chain import Chain
from blade_server.rpc.around.drain import Drain
from blade_server.rpc.around.pace import Pace
from blade_server.rpc.audit_service import AuditService
from blade_server.rpc.caller import Context, Lines
from blade_server.rpc.certificates import server_credentials
from blade_server.rpc.config_service import ConfigService
from blade_server.rpc.destination_service import DestinationService
from blade_server.rpc.ingest_service import IngestService
from blade_server.rpc.job_service import JobService
from blade_server.rpc.methods import needs_of
from blade_server.rpc.notification_service import NotificationService
from blade_server.rpc.query_service import QueryService
from blade_server.rpc.streams import Streams
from blade_server.rpc.sync_service import SyncService
from blade_server.rpc.threads import Threads
from blade_server.tls import CertificateError, Certificates

MAX_REQUEST_BYTES = 4 * 1024 * 1024
MAX_RESPONSE_BYTES = 64 * 1024 * 1024

_DESCRIPTORS = tuple(
    service
    for module in (
        config_service_pb2,
        destination_service_pb2,
        query_service_pb2,
        ingest_service_pb2,
        job_service_pb2,
        access_service_pb2,
        audit_service_pb2,
        sync_service_pb2,
        notification_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
SERVICES = tuple(service.full_name for service in _DESCRIPTORS)
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
_LAST_WORDS_S = 1.0
MAX_SERVICE_CHARS = 200
MAX_HEALTH_WATCHERS_EACH, MAX_HEALTH_WATCHERS = 100, 10_000
HANDSHAKE_MS = 10_000
"""A new connection says something in this time, or it is closed."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    # Otherwise a second server on the same port starts without a word and takes half of the calls.
    ("grpc.so_reuseport", 0),
    # A thousand clients that (re)connect at one moment and call at once; the default refuses them.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    # Finds clients that are gone without a word, and lets clients look for us every 10 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # A client whose quiet connection is closed connects again by itself, with its next call.
    ("grpc.max_connection_idle_ms", 600_000),
)


class ListenError(Exception):
    """The server cannot listen: port taken, no such address, unusable certificate. One sentence for people."""


class _Health(health.aio.HealthServicer):
    """For everybody, and so within limits: a watcher's request is kept as long as he watches."""

    def __init__(self) -> None:
        super().__init__()
        self._watching: Counter[str] = Counter()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """Refuses what no service is called, and too many watchers, of one connection or of all."""
        peer = context.peer()
        if len(request.service) > MAX_SERVICE_CHARS:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "service: is longer than the name of any service")
        if self._watching[peer] >= MAX_HEALTH_WATCHERS_EACH or self._watching.total() >= MAX_HEALTH_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch the health of this server")
        self._watching[peer] += 1
        try:
            await super().Watch(request, context)
        finally:
            self._watching[peer] -= 1
            if not self._watching[peer]:
                del self._watching[peer]


@dataclass(frozen=True, kw_only=True)
class Core:
    """What the services call."""

    rights: Rights
    codes: Codes
    sources: Sources
    destinations: Destinations
    queries: Queries
    ingest: Ingest
    jobs: Jobs
    syncs: Syncs
    feed: Feed
    audit: Audit
    notifications: Notifications


class RpcServer:
    """Serves `blade.v1`, grpc.health.v1 and reflection. Belongs to the event loop it is made in."""

    def __init__(
        self,
        policy: ListenPolicy,
        threads: Threads,
        *,
        door: Door,
        core: Core,
        limits: PrincipalLimits,
        open_contract: bool,
    ) -> None:
        """Listens nowhere yet. `threads` are closed with it."""
        self._policy = policy
        self._threads = threads
        self._drain = Drain()
        lines = Lines(certificates=policy.client_ca_file is not None)
        access = Access(door, threads, lines, Pace(limits.calls_per_s), core.audit.refusals)
        self._streams = streams = Streams(door, threads, lines, limits)
        self.door_key = lines.door_key
        """With it the HTTP side of this process says who calls it."""
        options = (
            *_OPTIONS,
            ("grpc.max_allowed_incoming_connections", policy.max_connections),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        )
        needs = needs_of(_DESCRIPTORS)
        chain = Chain(self._drain, access, needs, open_contract=open_contract)
        self._server = grpc.aio.server(interceptors=[chain], options=options)
        add = self._server
        config_service_pb2_grpc.add_ConfigServiceServicer_to_server(ConfigService(core.sources, threads), add)
        destination_service_pb2_grpc.add_DestinationServiceServicer_to_server(
            DestinationService(core.destinations, threads), add
        )
        query_service_pb2_grpc.add_QueryServiceServicer_to_server(QueryService(core.queries, streams, threads), add)
        ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(IngestService(core.ingest, threads), add)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(JobService(core.jobs, core.feed, streams, threads), add)
        sync_service_pb2_grpc.add_SyncServiceServicer_to_server(SyncService(core.syncs, threads), add)
        access_service_pb2_grpc.add_AccessServiceServicer_to_server(
            AccessService(core.rights, door, core.codes, needs, threads), add
        )
        audit_service_pb2_grpc.add_AuditServiceServicer_to_server(AuditService(core.audit.log, streams, threads), add)
        notification_service_pb2_grpc.add_NotificationServiceServicer_to_server(
            NotificationService(core.notifications, threads), add
        )
        self._health = _Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, add)
        self._add_reflection()
        self.host = policy.host
        self.port = 0
        self.mtls_port = 0
        """Of callers who sign in by a certificate; 0: there is none."""
        self.local_target = ""
        """Address for this process itself, without TLS; from `start` to `stop`."""

    async def start(self, *, ready: bool = True) -> None:
        """Listens; from here on `port` is the real one, and health says SERVING, or not if it is not `ready` yet.

        Raises ListenError.
        """
        certificates = self._certificates()
        credentials = None if certificates is None else server_credentials(certificates)
        self.port = await self._listen(self._policy.port, "BLADE_PORT", credentials)
        if certificates is not None and self._policy.client_ca_file is not None:
            of_clients = server_credentials(certificates, of_clients=True)
            self.mtls_port = await self._listen(self._policy.mtls_port, "BLADE_MTLS_PORT", of_clients)
        self._socket_dir = tempfile.mkdtemp(prefix="blade-")  # mode 0700
        self.local_target = f"unix:{self._socket_dir}/grpc.sock"
        self._server.add_insecure_port(self.local_target)
        await self._server.start()
        await self.say_ready(ready)

    async def say_ready(self, ready: bool) -> None:
        """What health says from here on, until the stop is announced. Calls work all the same."""
        says = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *SERVICES):
            await self._health.set(service, says)

    async def announce_stop(self) -> None:
        """Health says NOT_SERVING from here on; calls still work."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls, waits for the running ones, and ends those that take longer with UNAVAILABLE."""
        # Does not wait for the grace itself: somebody's health watch never ends and would use all of it up.
        stopped = asyncio.create_task(self._server.stop(grace_s + 2 * _LAST_WORDS_S))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._drain.idle(), grace_s)
        self._drain.end_calls()
        self._streams.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._drain.idle(), _LAST_WORDS_S)
        await self._server.stop(None)
        await stopped
        self._threads.close()
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    async def _listen(self, port: int, setting: str, credentials: grpc.ServerCredentials | None) -> int:
        host = f"[{self.host}]" if ":" in self.host else self.host
        address = f"{host}:{port}"
        try:
            await until_free(self.host, port, setting)
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except OSError as exc:
            raise ListenError(exc.strerror) from exc
        except RuntimeError as exc:
            raise ListenError(f"cannot listen on {address}: gRPC refused the address") from exc

    def _certificates(self) -> Certificates | None:
        policy = self._policy
        cert, key = policy.tls_cert_file, policy.tls_key_file
        if (cert is None) is not (key is None):
            raise ListenError("TLS needs both BLADE_TLS_CERT_FILE and BLADE_TLS_KEY_FILE")
        if cert is None or key is None:
            if policy.client_ca_file is not None:
                raise ListenError("BLADE_TLS_CLIENT_CA_FILE needs BLADE_TLS_CERT_FILE and BLADE_TLS_KEY_FILE, too")
            return None
        try:
            return Certificates(cert, key, policy.client_ca_file)
        except CertificateError as exc:
            raise ListenError(str(exc)) from exc

    def _add_reflection(self) -> None:
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        # v1 is v1alpha under another name, the same on the wire; grpcio-reflection has only the latter, and so no
        # descriptor of v1 to announce it with.
        servicer = reflection.aio.ReflectionServicer(names)
        handler = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        self._server.add_registered_method_handlers(_REFLECTION_V1, {"ServerReflectionInfo": handler})
