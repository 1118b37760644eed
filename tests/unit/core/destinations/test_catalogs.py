"""Clients of catalogs: one for each destination, as long as it is as it was; those that nobody uses go in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from blade_server.core.destinations import catalogs as module
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.errors import NotFound, Precondition, Reason
from blade_server.model.destination import Destination


class Client:
    """Stands for a catalog's client; it opens no connection."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Stored:
    """Destinations that can be changed, and the clients that were made for them."""

    def __init__(self, *names: str) -> None:
        self.destinations = {name: Destination(name=name, url=f"http://{name}", etag="1") for name in names}
        self.clients: list[Client] = []
        self.own: Any = Client(Destination(name="default", url="http://own"))
        self.catalogs = Catalogs(self.own, find=self.destinations.__getitem__, connect=self._connect)

    def _connect(self, destination: Destination) -> Any:
        self.clients.append(Client(destination))
        return self.clients[-1]

    def change(self, name: str, **fields: str) -> None:
        stored = self.destinations[name]
        self.destinations[name] = replace(stored, etag=stored.etag + "1", **fields)


def test_all_who_send_to_a_destination_share_a_client() -> None:
    stored = Stored("a", "b")
    opened = [stored.catalogs.open(name) for name in ("a", "a", "b", "default")]
    assert opened[0].catalog is opened[1].catalog is not opened[2].catalog
    assert opened[3].catalog is stored.own
    for one in opened:
        one.close()
    with stored.catalogs.open("a") as again:
        assert again.catalog is opened[0].catalog
    assert [client.closed for client in stored.clients] == [0, 0]


def test_a_changed_one_gets_a_new_client_and_the_old_one_is_closed_by_its_last_user() -> None:
    stored = Stored("a")
    first, second = stored.catalogs.open("a"), stored.catalogs.open("a")
    stored.change("a", credentials="env:BLADE_SECRET_NEW")
    third = stored.catalogs.open("a")
    assert third.catalog is not first.catalog
    first.close()
    assert stored.clients[0].closed == 0
    second.close()
    assert [client.closed for client in stored.clients] == [1, 0]
    third.close()
    stored.change("a")
    stored.catalogs.open("a").close()
    assert [client.closed for client in stored.clients] == [1, 1, 0]


def test_those_that_nobody_uses_are_closed_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_IDLE", 2)
    stored = Stored(*"abcd")
    kept = stored.catalogs.open("a")
    for name in "bcbd":
        stored.catalogs.open(name).close()
    closed = {client.destination.name: client.closed for client in stored.clients}
    assert closed == {"a": 0, "b": 0, "c": 1, "d": 0}, "a is in use, and c was used last of all others"
    kept.close()
    stored.catalogs.close()


def test_another_identity_than_the_one_that_is_meant_is_refused() -> None:
    stored = Stored("a")
    stored.catalogs.open("a", "http://a").close()
    with pytest.raises(Precondition) as caught:
        stored.catalogs.open("a", "another")
    assert caught.value.reason is Reason.DESTINATION_CHANGED
    stored.change("a", catalog_id="c1")
    stored.catalogs.open("a", "c1").close()


def test_without_destinations_there_is_the_servers_own_alone() -> None:
    own: Any = Client(Destination(name="default", url=""))
    assert Catalogs(own).open("default").catalog is own
    with pytest.raises(NotFound):
        Catalogs(own).open("a")


def test_renewed_ones_are_made_anew_and_those_in_use_are_closed_by_their_last_user() -> None:
    stored = Stored("a", "b")
    stored.catalogs.open("b").close()
    used = stored.catalogs.open("a")
    stored.catalogs.renew()
    again = stored.catalogs.open("a")
    assert again.catalog is not used.catalog
    assert {client.destination.name: client.closed for client in stored.clients[:2]} == {"b": 1, "a": 0}
    used.close()
    again.close()
    assert [client.closed for client in stored.clients] == [1, 1, 0]
