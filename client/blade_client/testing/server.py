"""A gRPC server of `blade.v1` in this process: it keeps what was asked, and answers as it was told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from blade_client.contract import SERVICES
from blade_client.errors import BladeClientError
from blade_client.testing.statuses import status_of

Answer = Callable[[Any, grpc.ServicerContext], Any]
"""Makes the answer of one call: a message, for a stream an iterable of messages; or raises an error of the client."""

_THREADS = 64


class Server:
    """Serves plaintext on a free port of this machine, or TLS.

    Args:
        answers: By name of the RPC.
        credentials: Serve TLS with these, as `localhost`.

    Attributes:
        requests: Name of the RPC and request, in the order of arrival.
        metadata: The metadata of the last call.
        port: The port; the same again after `stop` and `start`.
    """

    def __init__(self, answers: dict[str, Answer], credentials: grpc.ServerCredentials | None = None) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.metadata: dict[str, str | bytes] = {}
        self.port = 0
        self._answers = dict(answers)
        self._own = answers
        self._credentials = credentials
        self._server: grpc.Server | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def target(self) -> str:
        """Its address."""
        return f"localhost:{self.port}" if self._credentials else f"127.0.0.1:{self.port}"

    def on(self, rpc: str, *answers: Any) -> None:
        """Answers the first call of an RPC with the first answer and so on, and every later one with the last.

        Args:
            rpc: Its name, as in `GetJob`.
            answers: Each a message, for a stream a list of them, an error of the client, or a function of (request,
                context) that returns or raises one of these.
        """
        if rpc not in {method.name for service in SERVICES for method in service.methods}:
            raise ValueError(f"blade.v1 has no RPC {rpc!r}.")
        left = list(answers)

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            chosen = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(chosen, BladeClientError):
                raise chosen
            return chosen(request, context) if callable(chosen) else chosen

        self._answers[rpc] = answer

    def service(self, rpc: str) -> Answer:
        """What it answers by itself: the last answer for `on` of an RPC that goes wrong only at first."""
        return self._own[rpc]

    def asked(self, rpc: str) -> list[Any]:
        """The requests of one RPC so far."""
        return [request for name, request in self.requests if name == rpc]

    def start(self) -> None:
        """Listens."""
        self._pool = ThreadPoolExecutor(_THREADS)
        self._server = grpc.server(self._pool)
        for service in SERVICES:
            methods = {method.name: self._handler(method) for method in service.methods}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, methods),))
        address = f"127.0.0.1:{self.port}"
        if self._credentials:
            self.port = self._server.add_secure_port(address, self._credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self._server.start()

    def stop(self) -> None:
        """Breaks every connection; calls fail until `start`. Stopping again does nothing."""
        if self._server is not None and self._pool is not None:
            self._server.stop(None).wait()
            self._pool.shutdown()
            self._server = self._pool = None

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        codecs: dict[str, Any] = {
            "request_deserializer": GetMessageClass(method.input_type).FromString,
            "response_serializer": _serialised,
        }
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(partial(self._stream, method.name), **codecs)
        return grpc.unary_unary_rpc_method_handler(partial(self._unary, method.name), **codecs)

    def _unary(self, rpc: str, request: Message, context: grpc.ServicerContext) -> Any:
        try:
            return self._answer(rpc, request, context)
        except BladeClientError as error:
            context.abort_with_status(status_of(error))

    def _stream(self, rpc: str, request: Message, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from self._answer(rpc, request, context)
        except BladeClientError as error:
            context.abort_with_status(status_of(error))

    def _answer(self, rpc: str, request: Message, context: grpc.ServicerContext) -> Any:
        self.requests.append((rpc, request))
        self.metadata = dict(context.invocation_metadata())
        if rpc not in self._answers:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"The fake answers no {rpc}; say what it answers with on().")
        return self._answers[rpc](request, context)


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()
