"""The clients of catalogs: one for each destination, shared by all who send there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from blade_server.catalog import Catalog
from blade_server.errors import NotFound, Precondition, Reason
from blade_server.model.destination import DEFAULT_DESTINATION, Destination

_MAX_IDLE = 16
"""Clients that nobody uses are kept for the next who does, with their connections; so many."""


@dataclass(eq=False, kw_only=True)
class OpenCatalog:
    """The catalog of a destination as it was when it was opened. Whoever opened it closes it, once."""

    destination: Destination
    catalog: Catalog
    close: Callable[[], None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Client:
    def __init__(self, destination: Destination, catalog: Catalog) -> None:
        self.destination = destination
        self.catalog = catalog
        self.users = 0


class Catalogs:
    """Thread-safe. The client of the server's own catalog is not closed here."""

    def __init__(
        self,
        default: Catalog,
        *,
        find: Callable[[str], Destination] | None = None,
        connect: Callable[[Destination], Catalog] | None = None,
    ) -> None:
        """`find` raises NotFound and StorageUnavailable, `connect` Precondition; without them there is the default."""
        self._default = OpenCatalog(
            destination=Destination(name=DEFAULT_DESTINATION, url=""), catalog=default, close=lambda: None
        )
        self._find, self._connect = find, connect
        self._lock = threading.Lock()
        self._clients: dict[str, _Client] = {}
        """By name, the one used last at the end; each of the newest etag that was asked for."""

    @property
    def own(self) -> Catalog:
        """The server's own."""
        return self._default.catalog

    def open(self, name: str, identity: str = "") -> OpenCatalog:
        """The catalog of a destination, as that is now.

        `identity`: what the catalog was told apart by earlier; see `Destination.identity`.

        Raises:
            NotFound: DESTINATION_NOT_FOUND.
            Precondition: DESTINATION_CHANGED, it is another catalog now; or its credentials lead nowhere.
            StorageUnavailable: as it is.
        """
        if name == DEFAULT_DESTINATION:
            return self._default
        if self._find is None or self._connect is None:
            raise NotFound(f"there is no destination {name!r}", reason=Reason.DESTINATION_NOT_FOUND)
        destination = self._find(name)
        if identity and identity != destination.identity:
            raise Precondition(
                f"destination {name!r} is another catalog now, {destination.identity}; it was {identity}: start the "
                "job anew, or forget what a sync knows, if the items belong there",
                reason=Reason.DESTINATION_CHANGED,
            )
        with self._lock:
            client = self._clients.get(name)
            if client is None or client.destination.etag != destination.etag:
                outdated, client = client, _Client(destination, self._connect(destination))
                if outdated is not None and not outdated.users:
                    outdated.catalog.close()
            self._clients.pop(name, None)
            self._clients[name] = client
            client.users += 1
        return OpenCatalog(destination=destination, catalog=client.catalog, close=lambda: self._leave(client))

    def renew(self) -> None:
        """Whoever opens one from here on gets a new client, with the credentials that there are then."""
        with self._lock:
            for client in self._clients.values():
                if not client.users:
                    client.catalog.close()
            self._clients.clear()

    def close(self) -> None:
        """Closes the connections that are idle."""
        with self._lock:
            for client in self._clients.values():
                client.catalog.close()
            self._clients.clear()

    def _leave(self, client: _Client) -> None:
        with self._lock:
            client.users -= 1
            if not client.users and self._clients.get(client.destination.name) is not client:
                client.catalog.close()
            self._let_go_idle()

    def _let_go_idle(self) -> None:
        idle = [name for name, client in self._clients.items() if not client.users]
        for name in idle[: max(0, len(idle) - _MAX_IDLE)]:
            self._clients.pop(name).catalog.close()
