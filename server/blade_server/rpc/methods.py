"""What each method of `blade.v1` asks of its caller, as the contract says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from blade.v1 import access_pb2
from blade_server.core.access.method import Needs
from blade_server.model.access import Role


def needs_of(services: Iterable[ServiceDescriptor]) -> Mapping[str, Needs]:
    """By full name, `blade.v1.JobService/GetJob`. Raises RuntimeError for a method without the option."""
    return {f"{service.full_name}/{method.name}": _needs(method) for service in services for method in service.methods}


def _needs(method: MethodDescriptor) -> Needs:
    options: Any = method.GetOptions()
    if not options.HasExtension(access_pb2.access):
        raise RuntimeError(f"{method.full_name} does not say who may call it: it lacks the option (blade.v1.access)")
    access: access_pb2.Access = options.Extensions[access_pb2.access]
    role = Role(access.role) if access.role else None
    return Needs(role=role, anywhere=access.object != access_pb2.Access.OBJECT_UNSPECIFIED)
