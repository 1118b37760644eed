"""The ASGI application that turns each HTTP request into one gRPC call and its answer back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from starlette.types import Receive, Scope, Send

from blade_server.core.access.door import Shown
from blade_server.core.access.sessions import Sessions
from blade_server.errors import BladeError
from blade_server.web.transcoder import stream_forms
from blade_server.web.transcoder.conventions import EVENT_IDS, JOINED, SUCCESS_CODES
from blade_server.web.transcoder.exchange import MAX_HEADER_CHARS, REQUEST_ID, ClientGone, Exchange, served
from blade_server.web.transcoder.json_form import to_dict
from blade_server.web.transcoder.problem import Problem
from blade_server.web.transcoder.request import message_of
from blade_server.web.transcoder.rules import Rule, Rules, rules_of

_PASSED_ON = ("authorization", "blade-actor", "traceparent", "tracestate")
_MAX_CHARS = {"authorization": 16 << 10, "tracestate": 512}
_OF_TRACES = frozenset({"traceparent", "tracestate"})
"""What is wrong with these is no reason to refuse a call; it is in no trace of the caller's then."""
_SHORT_BODY_BYTES = 16 << 10
_ASKING_THREADS = 8
_NO_MESSAGE = b"\xff"
"""Whoever may call is told that it does not parse; nothing is ever done for it."""
_ABOUT_THE_CALLER = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the server of this very process decides what it sends
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]


class Transcoder:
    """REST for the services, by their google.api.http options.

    Args:
        services: what is served.
        channel_target: the gRPC server, in gRPC's notation (`127.0.0.1:50051`, `unix:/run/blade.sock`); plaintext.
        sessions: who is known. What strangers send is not read.
        door_key: with it that server believes who calls.
        unary_timeout_s: the deadline of calls that are no streams.
    """

    def __init__(
        self,
        services: Iterable[ServiceDescriptor],
        *,
        channel_target: str,
        sessions: Sessions,
        door_key: str,
        unary_timeout_s: float,
    ) -> None:
        self.rules = rules_of(services)
        self._find = Rules(self.rules).find
        self._target = channel_target
        self._sessions = sessions
        self._asking = ThreadPoolExecutor(_ASKING_THREADS, "web-who")  # may wait for an identity provider
        self._door_key = door_key
        self._unary_timeout_s = unary_timeout_s
        self._channel: grpc.aio.Channel | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Holds the channel open. Calls outside of it fail."""
        async with grpc.aio.insecure_channel(self._target, options=_CHANNEL_OPTIONS) as self._channel:
            yield
        self._channel = None
        self._asking.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One exchange. Never raises for what a client can do."""
        exchange = Exchange(scope, receive, send)
        request_id = exchange.headers.get(REQUEST_ID) or secrets.token_hex(8)
        await served(exchange, self._serve(exchange, request_id), request_id)

    async def _serve(self, exchange: Exchange, request_id: str) -> None:
        rule, path_values = self._find(exchange.verb, exchange.raw_path)
        streaming = rule.method.server_streaming
        metadata = self._metadata(exchange, request_id)
        if not await self._is_known(exchange):
            await self._knock(rule, metadata)
        try:
            form = stream_forms.chosen(
                exchange.headers.get("accept", ""), stream_forms.FORMS if streaming else (stream_forms.Array,)
            )
            request = await _request(exchange, rule, path_values)
        except Problem:
            await self._knock(rule, metadata)
            raise
        if not streaming:
            work = self._unary(exchange, rule, request, metadata)
        elif (
            isinstance(form, stream_forms.Events)
            and exchange.headers.get("last-event-id") == stream_forms.LAST_EVENT_ID
        ):
            work = exchange.answer(204, None, {REQUEST_ID: request_id})
        else:
            work = self._stream(exchange, rule, request, metadata, form)
        await _while_there(exchange, work)

    async def _is_known(self, exchange: Exchange) -> bool:
        """Whether somebody whom the server knows asks, as far as it can tell now."""
        shown = Shown(authorization=exchange.headers.get("authorization", ""), session=exchange.sender.session)
        if self._sessions.remembers(shown):
            return True
        try:
            await asyncio.get_running_loop().run_in_executor(self._asking, self._sessions.who, shown)
        except BladeError:
            return False
        return True

    async def _knock(self, rule: Rule, metadata: grpc.aio.Metadata) -> None:
        """Raises the Problem if the server does not let this caller call the method at all, whatever he asks for.

        The server hears of him so, and logs and audits him as any other: before that nobody is told what is wrong
        with his request.
        """
        call: Any = self._connected().unary_unary(rule.path, request_serializer=None, response_deserializer=None)
        try:
            await call(_NO_MESSAGE, metadata=metadata, timeout=self._unary_timeout_s)
        except grpc.aio.AioRpcError as exc:
            problem = Problem.of_call(exc)
            if problem.status in _ABOUT_THE_CALLER:
                raise problem from exc

    async def _unary(self, exchange: Exchange, rule: Rule, request: Message, metadata: grpc.aio.Metadata) -> None:
        call = self._connected().unary_unary(
            rule.path, request_serializer=_serialised, response_deserializer=rule.response_class.FromString
        )
        try:
            response = await call(request, metadata=metadata, timeout=self._unary_timeout_s)
        except grpc.aio.AioRpcError as exc:
            raise Problem.of_call(exc) from exc
        code = SUCCESS_CODES.get(rule.method.full_name, 200)
        await exchange.answer(code, content_of(rule, response), {REQUEST_ID: str(metadata[REQUEST_ID])})

    async def _stream(
        self, exchange: Exchange, rule: Rule, request: Message, metadata: grpc.aio.Metadata, form: stream_forms.Form
    ) -> None:
        call = self._connected().unary_stream(
            rule.path, request_serializer=_serialised, response_deserializer=rule.response_class.FromString
        )(request, metadata=metadata)
        if isinstance(form, stream_forms.Array) and rule.method.full_name in JOINED:
            form = stream_forms.Joined(to_dict(rule.response_class()))
        try:
            await self._write_all(exchange, rule, call, form, str(metadata[REQUEST_ID]))
        except grpc.aio.AioRpcError as exc:
            problem = Problem.of_call(exc)
            if not exchange.started:
                raise problem from exc
            await _write_last(exchange, form.failure(problem))
        except Problem as problem:  # of the form, which takes no more
            call.cancel()
            await _write_last(exchange, form.failure(problem))
        finally:
            call.cancel()
            if isinstance(form, stream_forms.Joined):
                form.close()

    async def _write_all(
        self, exchange: Exchange, rule: Rule, call: Any, form: stream_forms.Form, request_id: str
    ) -> None:
        # Nothing is sent before the first message is there: a call that fails at once gets its proper HTTP code.
        message = await call.read()
        await exchange.start(200, {"content-type": form.content_type, REQUEST_ID: request_id})
        while message is not grpc.aio.EOF:
            # In a thread, because a chunk of wide rows takes long enough to be felt by all other calls.
            written = await asyncio.to_thread(partial(_written, rule, form, message))
            if written:
                await exchange.write(written)
            message = await call.read()
        await _write_last(exchange, form.end())

    def _metadata(self, exchange: Exchange, request_id: str) -> grpc.aio.Metadata:
        """What goes along with the call: headers that mean the same there, the caller's address and his session."""
        found = {}
        for name in (*_PASSED_ON, REQUEST_ID):
            value = request_id if name == REQUEST_ID else exchange.headers.get(name, "")
            most = _MAX_CHARS.get(name, MAX_HEADER_CHARS)
            if len(value) <= most and value.isascii() and value.isprintable():
                found[name] = value
            elif name not in _OF_TRACES:
                if name == "authorization":  # it signs in nobody, whatever else is wrong
                    raise Problem(401, "UNAUTHENTICATED", f"{name}: must be at most {most} printable ASCII characters")
                raise Problem.invalid(name, f"must be at most {most} printable ASCII characters")
        sender = exchange.sender
        ours = {"blade-door": self._door_key, "blade-peer": sender.peer, "blade-session": sender.session}
        return grpc.aio.Metadata(*((name, value) for name, value in found.items() if value), *ours.items())

    def _connected(self) -> grpc.aio.Channel:
        assert self._channel is not None, "running() holds the channel"
        return self._channel


async def _request(exchange: Exchange, rule: Rule, path_values: Mapping[str, str]) -> Message:
    body = await exchange.body()
    if len(body) <= _SHORT_BODY_BYTES:
        return message_of(rule, path_values, exchange.query_string, body)
    # Takes long enough to be felt by all other calls.
    return await asyncio.to_thread(message_of, rule, path_values, exchange.query_string, body)


def content_of(rule: Rule, response: Message) -> Any:
    """The answer as JSON values."""
    if rule.response_body:
        response = getattr(response, rule.response_body)
    return to_dict(response)


def _written(rule: Rule, form: stream_forms.Form, message: Message) -> bytes:
    event_id: Any = message if rule.method.full_name in EVENT_IDS else ""
    if event_id:
        for step in EVENT_IDS[rule.method.full_name].split("."):
            event_id = getattr(event_id, step)
    return form.message(content_of(rule, message), str(event_id))


async def _write_last(exchange: Exchange, parts: Iterable[bytes]) -> None:
    for part in parts:
        await exchange.write(part)
    await exchange.write(b"", more=False)


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


async def _while_there(exchange: Exchange, work: Any) -> None:
    """Does the work, and cancels it when the client leaves: the call ends, and with it the warehouse's statement."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(exchange.gone())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
