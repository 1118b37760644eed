"""The HTTP side: Thrift calls, result downloads and the control paths, as one ASGI application."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import hmac
import struct
import time
from collections.abc import Awaitable, Callable

import anyio.to_thread
import orjson
from databricks.sql.thrift_api.TCLIService import TCLIService
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer, TTransportException

from blade_sandbox.warehouse.fault_switches import Failure, FaultSwitches
from blade_sandbox.warehouse.http.connections import Connections
from blade_sandbox.warehouse.lake.volumes import Volumes
from blade_sandbox.warehouse.links import BASE_URL
from blade_sandbox.warehouse.thrift.service import GoneError, Service


class Handlers:
    """The handlers of all requests.

    Args:
        kill: stops the listener at once, called from the event loop.
    """

    def __init__(
        self,
        *,
        service: Service,
        volumes: Volumes,
        faults: FaultSwitches,
        connections: Connections,
        token: str,
        warehouse_id: str,
        kill: Callable[[], Awaitable[None]],
    ) -> None:
        self._service = service
        self._volumes = volumes
        self._faults = faults
        self._connections = connections
        self._token = token
        self._warehouse_id = warehouse_id
        self._kill = kill
        self._processor = TCLIService.Processor(service)

    def app(self) -> Starlette:
        """The application, with all routes."""
        return Starlette(
            routes=[
                Route("/sql/1.0/{kind:str}/{id:str}", self._thrift, methods=["POST"]),
                Route("/results/{operation:str}/{number:int}", self._download, methods=["GET"]),
                Route("/volumes/{key:str}", self._volume_file, methods=["GET", "PUT", "DELETE"]),
                Route("/sandbox/status", self._guarded(self._status), methods=["GET"]),
                Route("/sandbox/faults", self._guarded(self._faults_call), methods=["GET", "POST", "DELETE"]),
                Route("/{path:path}", _not_found, methods=["GET", "POST", "PUT", "DELETE", "HEAD"]),
            ],
        )

    def _denied(self, request: Request) -> Response | None:
        """The answer to a call without the right token, as Databricks gives it; None if the token is right."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return _error(401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type for this API.")
        if not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            return _error(403, "PERMISSION_DENIED", "Invalid access token.")
        return None

    def _guarded(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            return self._denied(request) or await handler(request)

        return checked

    async def _thrift(self, request: Request) -> Response:
        body = await request.body()
        denied = self._denied(request)
        if denied is not None:
            return denied
        name = request.path_params["id"]
        if request.path_params["kind"] not in ("warehouses", "endpoints") or name != self._warehouse_id:
            return _error(404, "RESOURCE_DOES_NOT_EXIST", f"SQL warehouse {name} does not exist.")
        call = _call_name(body)
        failure = self._faults.failure(call)
        if failure is not None:
            return _failed(failure)
        BASE_URL.set(f"{request.url.scheme}://{request.url.netloc}")
        try:
            reply = await anyio.to_thread.run_sync(self._process, body)
        except GoneError as exc:
            return _error(404, "RESOURCE_DOES_NOT_EXIST", str(exc))
        except (TTransportException, EOFError, struct.error, ValueError) as exc:
            return _error(400, "BAD_REQUEST", f"The body is not a Thrift call: {type(exc).__name__}")
        if self._faults.drops_reply(call):
            return await self._cut(request)
        return Response(reply, media_type="application/x-thrift")

    def _process(self, body: bytes) -> bytes:
        out = TMemoryBuffer()
        self._processor.process(_protocol(TMemoryBuffer(body)), _protocol(out))
        return bytes(out.getvalue())

    async def _cut(self, request: Request) -> Response:
        if request.client is not None:
            self._connections.cut((request.client.host, request.client.port))
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return Response(status_code=500)

    async def _download(self, request: Request) -> Response:
        failure = self._faults.failure("download")
        if failure is not None:
            return _failed(failure)
        query = request.query_params
        try:
            guid = bytes.fromhex(request.path_params["operation"])
            skip, rows, expires = int(query["skip"]), int(query["rows"]), int(query["expires"])
        except (ValueError, KeyError):
            return _error(400, "BAD_REQUEST", "The link is damaged.")
        operation = self._service.operations.get(guid)
        if operation is None or not hmac.compare_digest(query.get("key", ""), operation.secret.hex()):
            return _error(404, "RESOURCE_DOES_NOT_EXIST", "There is no such result.")
        if expires < time.time():
            return _error(403, "PERMISSION_DENIED", "The link has expired.")
        result, number = operation.result, request.path_params["number"]
        if result is None or number >= len(result.chunks):
            return _error(404, "RESOURCE_DOES_NOT_EXIST", "There is no such result.")
        body = await anyio.to_thread.run_sync(result.file, number, skip, rows)
        if self._faults.drops_reply("download"):
            return await self._cut(request)
        return Response(body, media_type="application/octet-stream")

    async def _volume_file(self, request: Request) -> Response:
        link = self._volumes.link(request.path_params["key"], request.method)
        if link is None:
            return _error(403, "PERMISSION_DENIED", "The link is unknown, has expired, or is for another method.")
        if request.method == "PUT":
            await anyio.to_thread.run_sync(self._volumes.store, link.path, await request.body())
            return Response(status_code=201)
        if request.method == "DELETE":
            # As the stores behind real volumes do it: deleting what is not there is no error.
            await anyio.to_thread.run_sync(self._volumes.remove, link.path)
            return Response(status_code=204)
        content = await anyio.to_thread.run_sync(self._volumes.content, link.path)
        if content is None:
            return _error(404, "NOT_FOUND", f"There is no file {link.path}.")
        return Response(content, media_type="application/octet-stream")

    async def _status(self, request: Request) -> Response:
        service = self._service
        return JSONResponse(
            {
                "open_sessions": len(service.sessions),
                "open_operations": len(service.operations),
                "running_operations": service.running(),
                "statements": service.statements,
                "cancelled": service.cancelled,
            }
        )

    async def _faults_call(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._faults.reset()
        elif request.method == "POST":
            try:
                switches = orjson.loads(await request.body())
                if not isinstance(switches, dict):
                    raise ValueError("the body must be a JSON object of faults")
                self._faults.set(switches)
            except ValueError as exc:
                return _error(400, "INVALID_PARAMETER_VALUE", str(exc))
            if switches.get("expire_sessions"):
                await anyio.to_thread.run_sync(self._service.expire, 0)
            if switches.get("kill"):
                return JSONResponse(self._faults.shown(), background=BackgroundTask(self._kill))
        return JSONResponse(self._faults.shown())


async def _not_found(request: Request) -> Response:
    return _error(404, "ENDPOINT_NOT_FOUND", f"No API found for '{request.method} {request.url.path}'")


def _error(code: int, name: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An HTTP error with the headers the driver reads its message from."""
    return JSONResponse(
        {"error_code": name, "message": message},
        status_code=code,
        headers={"x-databricks-error-or-redirect-message": f"{name}: {message}", **(headers or {})},
    )


def _failed(failure: Failure) -> Response:
    headers = {} if failure.retry_after is None else {"Retry-After": str(failure.retry_after)}
    name = {429: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE"}.get(failure.code, "INTERNAL_ERROR")
    return _error(failure.code, name, "The warehouse cannot serve this request at the moment.", headers)


def _protocol(buffer: TMemoryBuffer) -> TBinaryProtocol:
    return TBinaryProtocol(buffer, string_length_limit=None, container_length_limit=None)


def _call_name(body: bytes) -> str:
    """The method of a Thrift message: after 4 bytes of version come the name's length and the name."""
    length = int.from_bytes(body[4:8], "big")
    return body[8 : 8 + length].decode("ascii", "replace") if length < 100 else ""
