"""What stands around every call of `blade.v1`, in this order from the outside in: errors, log, drain, request.

Each of them is a function that takes a `Call` and gives one that does its one thing more. They are put round a handler
once for a method, in the only interceptor: an interceptor each would cost every call its look-up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio

from blade_server.rpc.around.drain import Drain
from blade_server.rpc.around.errors import with_statuses
from blade_server.rpc.around.log import with_log
from blade_server.rpc.around.request import with_request

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Chain(grpc.aio.ServerInterceptor):
    """Calls of other packages (health, reflection) pass untouched and unlogged."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
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
            if handler is None or not method.startswith("/blade."):
                return handler
            self._handlers[method] = self._around(method.removeprefix("/"), handler)
        return self._handlers[method]

    def _around(self, method: str, handler: Handler) -> Handler:
        answer: Any = handler.unary_stream or handler.unary_unary
        parse: Any = handler.request_deserializer
        call = with_statuses(method, with_log(method, self._drain.with_end(with_request(parse, answer))))
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(call)
        return grpc.unary_unary_rpc_method_handler(call)
