"""An empty gRPC call in grpc.aio, the least a call can cost: takes bytes and gives none. Ends with its input."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio


async def echo(request: bytes, context: Any) -> bytes:
    return b""


async def serve() -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler})])
    print(f"port {server.add_insecure_port('127.0.0.1:0')}", flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
