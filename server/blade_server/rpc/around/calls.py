"""Stands around every call of `blade.v1`: parses the request, turns errors into statuses, logs one line.

The bytes of request and answer pass through here, so that a request that does not parse is told apart from a bug, and
an answer that was serialised in a thread, or once for many watchers, goes out as it is. A handler of a stream writes
its messages itself, as bytes: `await context.write(message)`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from blade_server.errors import Invalid, ShuttingDown
from blade_server.rpc import caller
from blade_server.rpc.caller import Context
from blade_server.rpc.status import DETAILS_KEY, Failure

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class CallInterceptor(grpc.aio.ServerInterceptor):
    """The only interceptor. Calls of other packages (health, reflection) pass untouched and unlogged."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._ending = False
        self._idle = asyncio.Event()
        self._idle.set()

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

    async def idle(self) -> None:
        """Returns when no call is running."""
        await self._idle.wait()

    def end_calls(self) -> None:
        """Ends every running call with UNAVAILABLE, because the server is stopping."""
        self._ending = True
        for task in self._running:
            task.cancel()

    def _around(self, method: str, handler: Handler) -> Handler:
        async def call(raw: bytes, context: Context) -> Any:
            return await self._run(method, parse, answer, raw, context)

        parse: Any = handler.request_deserializer
        answer: Any = handler.unary_stream or handler.unary_unary
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(call)
        return grpc.unary_unary_rpc_method_handler(call)

    async def _run(
        self,
        method: str,
        parse: Callable[[bytes], Message],
        answer: Callable[[Any, Context], Awaitable[Message | bytes | None]],
        raw: bytes,
        context: Context,
    ) -> bytes | None:
        started_s = time.perf_counter()
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self._idle.clear()
        outcome = "CANCELLED"
        try:
            answered = await answer(_parsed(parse, raw), context)
            outcome = "OK"
            return answered.SerializeToString() if isinstance(answered, Message) else answered
        except asyncio.CancelledError:
            if not self._ending:
                if context.time_remaining() == 0:
                    outcome = "DEADLINE_EXCEEDED"
                raise
            task.uncancel()
            failure = Failure(ShuttingDown("this server is stopping; call again, any replica will do"))
            outcome = failure.code.name
        except Exception as exc:
            failure = Failure(exc)
            outcome = f"{failure.code.name} {failure.reason}"
            if failure.incident:
                log.exception("incident %s in %s", failure.incident, method)
        finally:
            self._running.discard(task)
            if not self._running:
                self._idle.set()
            if log.isEnabledFor(logging.INFO):  # the address costs more than the rest of the line
                took_ms = (time.perf_counter() - started_s) * 1000
                log.info("%s %s %.1f ms %s", method, outcome, took_ms, caller.peer(context))
        return await context.abort(failure.code, failure.message, ((DETAILS_KEY, failure.details),))


def _parsed(parse: Callable[[bytes], Message], raw: bytes) -> Message:
    """The request. Raises Invalid if it does not parse, or has text that PostgreSQL and SQL cannot hold."""
    try:
        request = parse(raw)
    except DecodeError as exc:
        what = "text that is not UTF-8" if "UTF-8" in str(exc) else "bytes that are not such a message"
        raise Invalid.field("request", f"has {what}; send it as blade.v1 says") from exc
    if b"\0" in raw:
        _refuse_nul(request, "")
    return request


def _refuse_nul(message: Message, path: str) -> None:
    for field, value in message.ListFields():
        name = path + field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values: Any = [part for pair in value.items() for part in pair]
        else:
            values = value if field.is_repeated else [value]
        for part in values:
            if isinstance(part, Message):
                _refuse_nul(part, name + ".")
            elif field.type != FieldDescriptor.TYPE_BYTES and isinstance(part, str) and "\0" in part:
                raise Invalid.field(name, "has a NUL character; take it out")
