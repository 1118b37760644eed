"""Destinations and what their catalogs can do."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from blade.v1 import destination_pb2 as pb
from blade_server.catalog import Capabilities
from blade_server.model.destination import DEFAULT_DESTINATION, Destination
from blade_server.rpc.convert.fields import seconds

_GIVEN = ("display_name", "url", "credentials", "ca_file", "items_per_second", "timeout", "ceiling")


def destination_from(destination: pb.Destination) -> Destination:
    """What the caller sent; the output-only fields are left behind."""
    return Destination(
        name=destination.name,
        display_name=destination.display_name,
        url=destination.url,
        credentials=destination.credentials,
        ca_file=destination.ca_file,
        items_per_second=destination.items_per_second,
        timeout_s=seconds(destination, "timeout") or 0.0,
        ceiling=destination.ceiling,
        etag=destination.etag,
    )


def destination_message(destination: Destination) -> pb.Destination:
    """A destination as stored, or the server's own."""
    timeout = Duration(nanos=round(destination.timeout_s % 1 * 1e9), seconds=int(destination.timeout_s))
    return pb.Destination(
        name=destination.name,
        display_name=destination.display_name,
        url=destination.url,
        credentials=destination.credentials,
        ca_file=destination.ca_file,
        items_per_second=destination.items_per_second,
        timeout=timeout if destination.timeout_s else None,
        ceiling=destination.ceiling,
        etag=destination.etag,
        catalog_id=destination.catalog_id,
        read_only=destination.name == DEFAULT_DESTINATION,
        create_time=destination.create_time,
        update_time=destination.update_time,
    )


def capabilities_message(can: Capabilities | None) -> pb.DestinationCapabilities | None:
    """What the catalog can do, if it was asked."""
    if can is None:
        return None
    return pb.DestinationCapabilities(
        max_batch_items=min(can.max_batch_items, 2**63 - 1),
        lookup=can.can_look_up,
        replaces_by_id=can.replaces,
        idempotency_keys=can.honours_keys,
        deletes=can.deletes,
        list=can.lists,
    )


def set_fields(destination: pb.Destination) -> set[str]:
    """The paths of all fields that are set in an update and can be updated: what an absent mask stands for."""
    return {field.name for field, _ in destination.ListFields() if field.name in _GIVEN}
