"""Where jobs send: the catalog of each one's destination, and what it said about its load."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from blade_server.catalog import Catalog
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.engine.upload.throttle import Throttle
from blade_server.model import JobSpec
from blade_server.model.destination import DEFAULT_DESTINATION, Destination
from blade_server.storage.engine.paces import PaceStore


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where one job sends. To be closed once its threads have ended."""

    destination: Destination
    catalog: Catalog
    throttle: Throttle
    close: Callable[[], None]


class Endpoints:
    """Of one process; all jobs that send to one destination share its throttle. Thread-safe."""

    def __init__(self, catalogs: Catalogs, holds: PaceStore) -> None:
        self._catalogs = catalogs
        self._holds = holds
        self._lock = threading.Lock()
        self._throttles: dict[str, tuple[Throttle, int]] = {DEFAULT_DESTINATION: (self._new(DEFAULT_DESTINATION), 1)}
        """With the number of their users; the default's is never forgotten."""

    def open(self, spec: JobSpec) -> Endpoint:
        """Raises as `Catalogs.open`."""
        opened = self._catalogs.open(spec.destination, spec.catalog_id)
        name = spec.destination
        with self._lock:
            throttle, users = self._throttles.get(name) or (self._new(name), 0)
            self._throttles[name] = throttle, users + 1

        def close() -> None:
            opened.close()
            with self._lock:
                throttle, users = self._throttles.pop(name)
                if users > 1:
                    self._throttles[name] = throttle, users - 1

        return Endpoint(destination=opened.destination, catalog=opened.catalog, throttle=throttle, close=close)

    def refresh(self) -> None:
        """Learns of holds that other replicas set. Raises StorageUnavailable."""
        with self._lock:
            throttles = [throttle for throttle, _ in self._throttles.values()]
        for throttle in throttles:
            throttle.refresh()

    def _new(self, name: str) -> Throttle:
        """One that shares its holds with all replicas."""
        key = "catalog" if name == DEFAULT_DESTINATION else f"catalog:{name}"
        return Throttle(hold=partial(self._holds.hold, key), held_for=partial(self._holds.held_for, key))
