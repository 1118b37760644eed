"""Asks a server of this machine for its health, over the socket that needs neither port nor TLS."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def health_of(target: str, timeout_s: float) -> str:
    """`SERVING`, another status by its name, or `not to be reached`. Blocks."""
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return "not to be reached"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
