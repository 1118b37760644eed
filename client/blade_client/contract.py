"""The services of `blade.v1` as the contract describes them."""

from __future__ import annotations

from blade.v1 import (
    access_service_pb2,
    audit_service_pb2,
    config_service_pb2,
    destination_service_pb2,
    ingest_service_pb2,
    job_service_pb2,
    notification_service_pb2,
    query_service_pb2,
    sync_service_pb2,
)

_MODULES = (
    config_service_pb2,
    destination_service_pb2,
    query_service_pb2,
    ingest_service_pb2,
    job_service_pb2,
    access_service_pb2,
    audit_service_pb2,
    sync_service_pb2,
    notification_service_pb2,
)
SERVICES = [service for module in _MODULES for service in module.DESCRIPTOR.services_by_name.values()]
