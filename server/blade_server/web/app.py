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

from blade.v1 import (
    access_service_pb2,
    audit_service_pb2,
    config_service_pb2,
    ingest_service_pb2,
    job_service_pb2,
    query_service_pb2,
)
from blade_server.addresses import is_loopback
from blade_server.model.policy import ListenPolicy
from blade_server.tls import Certificates
from blade_server.web import site
from blade_server.web.guard import Guard
from blade_server.web.listener import Listener
from blade_server.web.openapi import document
from blade_server.web.transcoder import Transcoder
from blade_server.web.transcoder.problem import Problem

_FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR
    for module in (
        config_service_pb2,
        query_service_pb2,
        ingest_service_pb2,
        job_service_pb2,
        access_service_pb2,
        audit_service_pb2,
    )
)
_UNARY_SPARE_S = 30.0


def build(channel_target: str, *, door_key: str, host: str, query_timeout_s: float) -> Starlette:
    """The application: the pages, /openapi.json, and the REST form of every call.

    Args:
        channel_target: the gRPC server, plaintext, in gRPC's notation (`127.0.0.1:50051`, `unix:/run/blade.sock`).
        door_key: with it that server believes who calls.
        host: where it listens; on loopback only loopback names are answered.
        query_timeout_s: the longest run of a direct query, which bounds a call.
    """
    transcoder = Transcoder(
        [service for file in _FILES for service in file.services_by_name.values()],
        channel_target=channel_target,
        door_key=door_key,
        # The server's own limit comes first, with a better message.
        unary_timeout_s=query_timeout_s + _UNARY_SPARE_S,
    )
    openapi = document(transcoder.rules)

    async def serve_openapi(_: Request) -> Response:
        return Response(openapi, media_type="application/json")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with transcoder.running():
            yield

    app = Starlette(
        routes=[Route("/openapi.json", serve_openapi), *site.routes()],
        middleware=[Middleware(Guard, loopback=is_loopback(host))],
        exception_handlers={HTTPException: _refuse},
        lifespan=lifespan,
    )
    # Not mounted: a mount does not match paths with an (encoded) newline, and an item id may have one.
    app.router.default = transcoder
    app.router.redirect_slashes = False
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself (a wrong verb for a page), in the form of all other errors."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} is not for {request.url.path}"
    problem = Problem(error.status_code, "UNIMPLEMENTED", message, headers=error.headers)
    return JSONResponse(problem.document(), status_code=problem.code, headers=problem.headers)


class Web:
    """The HTTP port. Start it after the gRPC server; stop it before."""

    def __init__(self, channel_target: str, policy: ListenPolicy, *, door_key: str, query_timeout_s: float) -> None:
        cert, key = policy.tls_cert_file, policy.tls_key_file
        tls = None if cert is None or key is None else Certificates(cert, key)
        app = build(channel_target, door_key=door_key, host=policy.host, query_timeout_s=query_timeout_s)
        self._listener = Listener(app, host=policy.host, port=policy.port, tls=tls)

    async def start(self) -> int:
        """Listens and returns the port. Raises OSError naming the address if it is taken."""
        return await self._listener.start()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Takes no new requests, gives the running ones this long, and then cuts them."""
        await self._listener.stop(grace_s)
