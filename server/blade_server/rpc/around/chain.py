"""What stands around every call of `blade.v1`, from the outside in: errors, meter, span, log, drain, access, request.

Each of them is a function that takes a `Call` and gives one that does its one thing more. They are put round a handler
once for a method, in the only interceptor: an interceptor each would cost every call its look-up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc
import grpc.aio

from blade_server.core.access.method import Needs
from blade_server.errors import BladeError
from blade_server.rpc.around.access import Access
from blade_server.rpc.around.drain import Drain
from blade_server.rpc.around.errors import with_statuses
from blade_server.rpc.around.log import Sampling, with_log
from blade_server.rpc.around.meter import with_meter
from blade_server.rpc.around.request import with_request
from blade_server.rpc.around.span import with_span
from blade_server.rpc.caller import Context
from blade_server.rpc.status import DETAILS_KEY, Failure

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_FOR_EVERYBODY = "/grpc.health."
"""Probes of load balancers and of Kubernetes have no token."""


class Chain(grpc.aio.ServerInterceptor):
    """Calls of other packages pass unlogged: health for everybody, reflection for whoever is signed in."""

    def __init__(self, drain: Drain, access: Access, needs: Mapping[str, Needs], *, open_contract: bool) -> None:
        """`needs`: of every method of `blade.v1`; one that is not among them is answered to nobody."""
        self._drain = drain
        self._access = access
        self._needs = needs
        self._open_contract = open_contract
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler with everything around it; made once for a method."""
        method = handler_call_details.method
        if method not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith(_FOR_EVERYBODY):
                return handler
            if method.startswith("/blade."):
                handler = self._around(method.removeprefix("/"), handler)
            elif not self._open_contract:
                handler = self._signed_in(handler)
            self._handlers[method] = handler
        return self._handlers[method]

    def _around(self, method: str, handler: Handler) -> Handler:
        answer: Any = handler.unary_stream or handler.unary_unary
        parse: Any = handler.request_deserializer
        inner = self._access.with_access(method, self._needs[method], with_request(parse, answer))
        lines, streams = self._access.lines, bool(handler.unary_stream)
        logged = with_log(method, self._drain.with_end(inner), lines, Sampling() if streams else None)
        call = with_statuses(method, with_meter(method, with_span(method, logged, lines)))
        if streams:
            return grpc.unary_stream_rpc_method_handler(call)
        return grpc.unary_unary_rpc_method_handler(call)

    def _signed_in(self, handler: Handler) -> Handler:
        """A stream of another package, reflection, for whoever is known."""
        answer: Any = handler.stream_stream

        async def call(requests: Any, context: Context) -> AsyncIterator[Any]:
            try:
                await self._access.principal(context)
            except BladeError as exc:
                failure = Failure(exc)
                await context.abort(failure.code, failure.message, ((DETAILS_KEY, failure.details),))
            async for response in answer(requests, context):
                yield response

        return grpc.stream_stream_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)
