"""Puts the HTTP side together and runs it in the loop of the gRPC server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.protobuf.descriptor import FileDescriptor
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from blade.v1 import (
    access_service_pb2,
    audit_service_pb2,
    config_service_pb2,
    destination_service_pb2,
    ingest_service_pb2,
    job_service_pb2,
    notification_service_pb2,
    query_service_pb2,
    sync_service_pb2,
)
from blade_server.addresses import is_loopback
from blade_server.core.access.sessions import Sessions
from blade_server.core.audit.refusals import Refusals
from blade_server.model.policy import CALLBACK_PATH, OIDC_PATH, WebPolicy
from blade_server.tls import Certificates
from blade_server.web import site
from blade_server.web.guard import SIGN_IN_PATH, Guard
from blade_server.web.listener import Listener
from blade_server.web.oidc import OidcSignIn
from blade_server.web.openapi import document
from blade_server.web.probes import Checks, probes
from blade_server.web.session import SessionEndpoint, SignedIn
from blade_server.web.transcoder import Transcoder
from blade_server.web.transcoder.problem import Problem

_FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR
    for module in (
        config_service_pb2,
        destination_service_pb2,
        query_service_pb2,
        ingest_service_pb2,
        job_service_pb2,
        access_service_pb2,
        audit_service_pb2,
        notification_service_pb2,
        sync_service_pb2,
    )
)
_UNARY_SPARE_S = 30.0


def build(
    channel_target: str,
    policy: WebPolicy,
    sessions: Sessions,
    refusals: Refusals,
    *,
    door_key: str,
    checks: Checks,
) -> Starlette:
    """The application: the pages, signing in, /openapi.json, and the REST form of every call.

    Args:
        channel_target: the gRPC server, plaintext, in gRPC's notation (`127.0.0.1:50051`, `unix:/run/blade.sock`).
        policy: where it listens, and by which names it is reached.
        sessions: who is signed in.
        refusals: hears of those who could not sign in.
        door_key: with it that server believes who calls.
        checks: whether it is ready.
    """
    transcoder = Transcoder(
        [service for file in _FILES for service in file.services_by_name.values()],
        channel_target=channel_target,
        sessions=sessions,
        door_key=door_key,
        # The server's own limit comes first, with a better message.
        unary_timeout_s=policy.query_timeout_s + _UNARY_SPARE_S,
    )
    oidc = OidcSignIn(sessions, refusals)
    openapi = Response(document(transcoder.rules), media_type="application/json")

    def contract(app: ASGIApp, otherwise: ASGIApp | None = None) -> ASGIApp:
        return app if policy.open_contract else SignedIn(app, sessions, otherwise)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with transcoder.running():
            yield
        oidc.close()

    app = Starlette(
        routes=[
            Route("/", site.Page("index.html"), methods=["GET"]),
            Route("/docs", contract(site.Page("docs.html"), site.Page("index.html", 401)), methods=["GET"]),
            Route("/openapi.json", contract(openapi), methods=["GET"]),
            Route(SIGN_IN_PATH, SessionEndpoint(sessions, refusals, _warnings(policy, sessions))),
            Route(OIDC_PATH, oidc),
            Route(CALLBACK_PATH, oidc),
            *probes(checks),
            *site.files(),
        ],
        middleware=[Middleware(Guard, policy=policy, sign_in=sessions.needed)],
        exception_handlers={HTTPException: _refuse},
        lifespan=lifespan,
    )
    # Not mounted: a mount does not match paths with an (encoded) newline, and an item id may have one.
    app.router.default = transcoder
    app.router.redirect_slashes = False
    return app


def _warnings(policy: WebPolicy, sessions: Sessions) -> list[str]:
    found = []
    if not sessions.needed:
        found.append("Authentication is off: whoever reaches this server may do everything.")
    if policy.listen.tls_cert_file is None and not is_loopback(policy.listen.host):
        found.append(
            "BLADE speaks no TLS here. What stands between it and you must: tokens and rows pass in plain text."
        )
    return found


async def _refuse(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself (a wrong verb for a page), in the form of all other errors."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} is not for {request.url.path}"
    problem = Problem(error.status_code, "UNIMPLEMENTED", message, headers=error.headers)
    return JSONResponse(problem.document(), status_code=problem.code, headers=problem.headers)


class Web:
    """The HTTP port. Start it after the gRPC server; stop it before."""

    def __init__(
        self,
        channel_target: str,
        policy: WebPolicy,
        sessions: Sessions,
        refusals: Refusals,
        *,
        door_key: str,
        checks: Checks,
    ) -> None:
        listen = policy.listen
        cert, key = listen.tls_cert_file, listen.tls_key_file
        tls = None if cert is None or key is None else Certificates(cert, key)
        app = build(channel_target, policy, sessions, refusals, door_key=door_key, checks=checks)
        self._listener = Listener(app, host=listen.host, port=listen.port, tls=tls)

    async def start(self) -> int:
        """Listens and returns the port. Raises OSError naming the address if it is taken."""
        return await self._listener.start()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Takes no new requests, gives the running ones this long, and then cuts them."""
        await self._listener.stop(grace_s)
