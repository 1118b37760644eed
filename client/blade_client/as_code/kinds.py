"""What can stand in a file: the four kinds, what is said of each, and how the server keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message

from blade.v1.destination_pb2 import Destination
from blade.v1.notification_pb2 import Notification
from blade.v1.source_pb2 import Source
from blade.v1.sync_pb2 import Sync, SyncSpec
from blade_client import errors
from blade_client.client import BladeClient


class Calls(Protocol):
    """What is done with things of one kind, each with its name and etag."""

    def all(self, blade: BladeClient) -> Iterable[Any]:
        """All that there are and that a file may say."""

    def create(self, blade: BladeClient, name: str, spec: Any) -> None:
        """Stores a new one."""

    def update(self, blade: BladeClient, stored: Any, spec: Any, paths: list[str], *, keep_old: bool) -> None:
        """Changes the fields at these paths, if it still is as `stored`."""

    def remove(self, blade: BladeClient, stored: Any) -> None:
        """Removes it, if it still is as `stored`."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind.

    Attributes:
        name: `source`, as it stands in files.
        spec: The message whose fields a file says.
        hidden: Fields of it that no file says: the name, and what is output only.
        required: Fields that a file has to say.
        defaults: What an unset field means, by its path; durations in seconds.
        chosen: Fields that the server chooses where a file does not say them, and that then stay as they are.
        references: Fields that hold a reference to a secret.
    """

    name: str
    spec: type[Message]
    calls: Calls
    hidden: frozenset[str]
    required: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()

    def spec_of(self, stored: Any) -> Message:
        """What a file would say of it, and output-only fields."""
        spec: Message = stored.spec if self.spec is SyncSpec else stored
        return spec


class _Sources:
    def all(self, blade: BladeClient) -> Iterable[Source]:
        return blade.list_sources(page_size=1000)

    def create(self, blade: BladeClient, name: str, spec: Source) -> None:
        spec.name = name
        blade.add_source(spec)

    def update(self, blade: BladeClient, stored: Source, spec: Source, paths: list[str], *, keep_old: bool) -> None:
        spec.name, spec.etag = stored.name, stored.etag
        # Value and column are two ways to say one thing, which is updated as one.
        whole = ["mapping.classification" if path.startswith("mapping.classification.") else path for path in paths]
        blade.update_source(spec, fields=list(dict.fromkeys(whole)))

    def remove(self, blade: BladeClient, stored: Source) -> None:
        blade.remove_source(stored.name, etag=stored.etag)


class _Destinations:
    def all(self, blade: BladeClient) -> Iterable[Destination]:
        return (each for each in blade.destinations.list(page_size=1000) if not each.read_only)

    def create(self, blade: BladeClient, name: str, spec: Destination) -> None:
        spec.name = name
        blade.destinations.create(spec)

    def update(
        self, blade: BladeClient, stored: Destination, spec: Destination, paths: list[str], *, keep_old: bool
    ) -> None:
        spec.name, spec.etag = stored.name, stored.etag
        blade.destinations.update(spec, fields=paths)

    def remove(self, blade: BladeClient, stored: Destination) -> None:
        blade.destinations.delete(stored.name, etag=stored.etag)


class _Notifications:
    def all(self, blade: BladeClient) -> Iterable[Notification]:
        return blade.notifications.list(page_size=1000)

    def create(self, blade: BladeClient, name: str, spec: Notification) -> None:
        spec.name = name
        blade.notifications.create(spec)

    def update(
        self, blade: BladeClient, stored: Notification, spec: Notification, paths: list[str], *, keep_old: bool
    ) -> None:
        spec.name, spec.etag = stored.name, stored.etag
        blade.notifications.update(spec, fields=paths)

    def remove(self, blade: BladeClient, stored: Notification) -> None:
        blade.notifications.delete(stored.name, etag=stored.etag, reason="not in the files that were applied")


class _Syncs:
    def all(self, blade: BladeClient) -> Iterable[Sync]:
        return blade.syncs.list(page_size=1000)

    def create(self, blade: BladeClient, name: str, spec: SyncSpec) -> None:
        blade.syncs.create(Sync(name=name, spec=spec))

    def update(self, blade: BladeClient, stored: Sync, spec: SyncSpec, paths: list[str], *, keep_old: bool) -> None:
        wanted = Sync(name=stored.name, etag=stored.etag, spec=spec)
        blade.syncs.update(wanted, fields=[f"spec.{path}" for path in paths], keep_old=keep_old)

    def remove(self, blade: BladeClient, stored: Sync) -> None:
        blade.syncs.delete(stored.name, etag=stored.etag, reason="not in the files that were applied")


_HIDDEN = frozenset({"name", "etag", "create_time", "update_time"})
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="notification",
            spec=Notification,
            calls=_Notifications(),
            hidden=_HIDDEN,
            required=("url",),
            defaults={"format": "CLOUD_EVENTS"},
            references=frozenset({"secret"}),
        ),
        Kind(
            name="destination",
            spec=Destination,
            calls=_Destinations(),
            hidden=_HIDDEN | {"catalog_id", "read_only"},
            required=("url",),
            references=frozenset({"credentials", "ca_file"}),
        ),
        Kind(
            name="source",
            spec=Source,
            calls=_Sources(),
            hidden=_HIDDEN | {"stats"},
            required=("data_type", "config"),
            defaults={"enabled": True, "config.destination": "default"},
            chosen=frozenset(
                {
                    *("config.warehouse_id", "config.host", "mapping.item_id", "mapping.last_modified"),
                    *("mapping.classification.value", "mapping.classification.column"),
                }
            ),
            references=frozenset({"config.credentials"}),
        ),
        Kind(
            name="sync",
            spec=SyncSpec,
            calls=_Syncs(),
            hidden=frozenset(),
            required=("source",),
            defaults={
                "destination": "default",
                "mode": "CHANGED",
                "deletes": "KEEP",
                "batch_size": 100,
                "cursor.full_every": 7 * 86400.0,
                "cursor.null_cursor": "READ",
                "schedule.time_zone": "UTC",
                "schedule.overlap": "SKIP",
                "schedule.catch_up": "NONE",
                "schedule.catch_up_window": 3600.0,
                "guards.max_delete_share": 0.05,
                "guards.confirm_runs": 1,
            },
        ),
    )
}
"""By name, in the order in which they are applied: what is named by others comes first."""


def check_shown(kind: Kind, stored: Any) -> None:
    """Raises NotAllowed if the caller is not shown all of it, so that it can neither be compared nor written down."""
    if getattr(stored, "redacted", False):
        raise errors.NotAllowed(
            f"The {kind.name} {stored.name!r} is shown to you without its SQL and filter; that takes READER on "
            f"its source, {stored.spec.source!r}."
        )
