"""The real HTTP side in front of a real gRPC server whose answers the test writes down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc.aio
import pytest
import requests
from google.protobuf import message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import status_pb2
from tests.support.loops import LoopThread

from blade.v1 import config_service_pb2, ingest_service_pb2, job_service_pb2, query_service_pb2
from blade_server.model.policy import ListenPolicy
from blade_server.web.app import Web


class Failing:
    """An answer that is an error, with its details."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: Message) -> None:
        self.code = code
        self.message = message
        status = status_pb2.Status(code=code.value[0], message=message)
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        self.trailers = (("grpc-status-details-bin", status.SerializeToString()),)

    async def raise_in(self, context: Any) -> None:
        await context.abort(self.code, self.message, self.trailers)


class Backend(grpc.GenericRpcHandler):
    """Answers every method of blade.v1 with what `answers` has for its name, empty messages else; keeps what was asked.

    An answer is a message or Failing; for streams a list of them, or an async generator function.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Message, dict[str, str]]] = []
        self.ended: list[str] = []
        self._methods = {
            f"/{service.full_name}/{method.name}": method
            for module in (config_service_pb2, query_service_pb2, ingest_service_pb2, job_service_pb2)
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    @property
    def last(self) -> Any:
        """The request asked last."""
        return self.asked[-1][1]

    def service(self, details: Any) -> Any:
        method = self._methods[details.method]
        parse = message_factory.GetMessageClass(method.input_type).FromString
        empty = message_factory.GetMessageClass(method.output_type)

        async def unary(request: Message, context: Any) -> Message:
            self._note(method.name, request, context)
            answer = self.answers.get(method.name, empty())
            if isinstance(answer, Failing):
                await answer.raise_in(context)
            try:
                return await answer() if callable(answer) else answer
            finally:
                self.ended.append(method.name)

        async def stream(request: Message, context: Any) -> Any:
            self._note(method.name, request, context)
            answer = self.answers.get(method.name, [])
            try:
                if callable(answer):
                    async for message in answer():
                        yield message
                    return
                for message in answer:
                    if isinstance(message, Failing):
                        await message.raise_in(context)
                    yield message
            finally:
                self.ended.append(method.name)

        codecs: Any = {"request_deserializer": parse, "response_serializer": empty.SerializeToString}
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, **codecs)
        return grpc.unary_unary_rpc_method_handler(unary, **codecs)

    def _note(self, name: str, request: Message, context: Any) -> None:
        self.asked.append((name, request, dict(context.invocation_metadata())))


class Rest:
    """Both servers in a loop of their own, and calls to the HTTP one."""

    def __init__(self) -> None:
        self.backend = Backend()
        self._loop = LoopThread()
        self.do, self.loop = self._loop.run, self._loop.loop
        self.session = requests.Session()
        self.session.trust_env = False
        self.do(self._open())
        self.url = f"http://127.0.0.1:{self.port}"

    async def _open(self) -> None:
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self.backend,))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        self.web = Web(self.target, ListenPolicy(port=0), door_key="", query_timeout_s=300.0)
        self.port = await self.web.start()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.call("POST", path, json=body, **options)

    async def _shut(self) -> None:
        await self.web.stop(0)
        await self._server.stop(0)

    def close(self) -> None:
        self.session.close()
        self.do(self._shut())
        self._loop.close()


@pytest.fixture
def rest() -> Iterator[Rest]:
    rest = Rest()
    yield rest
    rest.close()


@pytest.fixture
def backend(rest: Rest) -> Backend:
    return rest.backend


@pytest.fixture
def failing() -> type[Failing]:
    return Failing
