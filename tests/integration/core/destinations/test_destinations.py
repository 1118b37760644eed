"""Destinations: tested before they are stored, changed under an etag, in use as long as something names them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from tests.support.access import AsTester
from tests.support.nouns import a_source
from tests.support.ports import free_port

from blade_sandbox.catalog import CatalogServer
from blade_server.catalog import Catalog
from blade_server.core.destinations.destinations import Destinations
from blade_server.errors import (
    AlreadyExists,
    Conflict,
    ConnectionTestFailed,
    Invalid,
    NotFound,
    Precondition,
    Reason,
)
from blade_server.model import DESTINATION_STEPS, StepKind, StepOutcome
from blade_server.model.destination import DEFAULT_DESTINATION, Destination
from blade_server.model.policy import DestinationPolicy
from blade_server.storage.destinations import DestinationStore

OWN = Destination(name=DEFAULT_DESTINATION, url="http://own.test", display_name="own")


class Place:
    """Catalogs to lead to, and what the operator allows."""

    def __init__(self, folder: Path, database, recorder) -> None:
        self.catalog = CatalogServer(directory=folder / "one")
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.database, self.recorder = database, recorder
        self.own = Catalog("")

    def policy(self, *references: str, **changes) -> DestinationPolicy:
        return DestinationPolicy(
            **{
                "own": OWN,
                "classifications": ("UNCLASS", "CUI", "SECRET"),
                "allowed_hosts": {self.host: frozenset(references)},
                "secret_dir": self.secrets,
                "timeout_s": 5.0,
            }
            | changes
        )

    def destinations(self, *references: str, **changes) -> AsTester:
        policy = self.policy(*references, **changes)
        return AsTester(Destinations(policy, DestinationStore(self.database), self.own, self.recorder))

    @property
    def host(self) -> str:
        return urlsplit(self.catalog.url).netloc

    def wanted(self, name: str = "lake", **changes) -> Destination:
        return Destination(**{"name": name, "url": self.catalog.url} | changes)


@pytest.fixture
def place(tmp_path, database, recorder) -> Iterator[Place]:
    place = Place(tmp_path, database, recorder)
    with place.catalog:
        yield place
    place.own.close()


def failed(tested) -> list[tuple[StepKind, str]]:
    return [(step.kind, step.message) for step in tested.steps if step.outcome is StepOutcome.FAILED]


def test_a_destination_is_tested_in_four_steps_and_stored_with_what_tells_its_catalog_apart(place):
    destinations = place.destinations()
    tested = destinations.create(place.wanted(ceiling="CUI", items_per_second=5.0))
    assert [step.kind for step in tested.steps] == list(DESTINATION_STEPS)
    assert all(step.outcome is StepOutcome.PASSED and step.message for step in tested.steps)
    assert tested.capabilities.deletes
    stored = destinations.get("lake")
    assert stored == tested.destination
    assert stored.catalog_id == tested.capabilities.catalog_id != ""
    assert (stored.display_name, stored.ceiling, stored.items_per_second) == ("lake", "CUI", 5.0)


def test_what_is_tested_only_is_not_stored(place):
    destinations = place.destinations()
    assert destinations.create(place.wanted(), validate_only=True).capabilities is not None
    with pytest.raises(NotFound):
        destinations.get("lake")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Lake"}, "name"),
        ({"name": "default"}, "name"),
        ({"url": ""}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://user:secret@127.0.0.1"}, "url"),
        ({"url": "http://127.0.0.1/?token=secret"}, "url"),
        ({"url": "http://169.254.169.254"}, "url"),
        ({"url": "http://other.test"}, "url"),
        ({"display_name": "x" * 201}, "display_name"),
        ({"credentials": "dapi0123456789abcdef"}, "credentials"),
        ({"credentials": "env:"}, "credentials"),
        ({"ca_file": "/etc/passwd"}, "ca_file"),
        ({"ca_file": "file:none.pem"}, "ca_file"),
        ({"ca_file": "file:../one"}, "ca_file"),
        ({"items_per_second": -1.0}, "items_per_second"),
        ({"items_per_second": float("nan")}, "items_per_second"),
        ({"timeout_s": 3601.0}, "timeout"),
        ({"ceiling": "COSMIC"}, "ceiling"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(place, changes, field):
    with pytest.raises(Invalid) as caught:
        place.destinations().create(place.wanted(**changes))
    assert [one.field for one in caught.value.violations] == [f"destination.{field}"]
    assert "dapi" not in caught.value.message
    assert "secret@" not in caught.value.message


def test_a_host_may_be_named_with_its_port_or_without_that_of_the_scheme(place):
    wanted = place.wanted(url="http://catalog.invalid/deep")
    for hosts in ({"catalog.invalid": frozenset()}, {"Catalog.Invalid:80": frozenset()}):
        with pytest.raises(ConnectionTestFailed, match="RESOLVE"):
            place.destinations(allowed_hosts=hosts).create(wanted)
    with pytest.raises(Invalid, match="BLADE_ALLOWED_CATALOG_HOSTS"):
        place.destinations(allowed_hosts={"catalog.invalid": frozenset()}).create(
            place.wanted(url="http://catalog.invalid:81")
        )


class TestCredentials:
    REFERENCE = "env:BLADE_SECRET_LAKE"

    @pytest.fixture
    def place(self, tmp_path, database, recorder) -> Iterator[Place]:
        place = Place(tmp_path, database, recorder)
        place.catalog = CatalogServer(directory=tmp_path / "two", token="lake-secret")
        with place.catalog:
            yield place

    def test_a_bound_reference_is_sent(self, place, monkeypatch):
        monkeypatch.setenv("BLADE_SECRET_LAKE", "lake-secret")
        (place.secrets / "lake").write_text("lake-secret\n")
        for name, reference in (("one", self.REFERENCE), ("two", "file:lake")):
            destinations = place.destinations(self.REFERENCE, "file:lake")
            assert destinations.create(place.wanted(name, credentials=reference)).capabilities is not None
            assert destinations.get(name).credentials == reference

    def test_another_one_leads_nowhere_whatever_the_reason(self, place, monkeypatch):
        monkeypatch.setenv("BLADE_SECRET_LAKE", "lake-secret")
        monkeypatch.setenv("BLADE_SECRET_OTHER", "other")
        monkeypatch.setenv("DATABRICKS_TOKEN", "warehouse-secret")
        messages = set()
        for reference in (
            "env:BLADE_SECRET_OTHER",
            "env:BLADE_SECRET_NONE",
            "env:DATABRICKS_TOKEN",
            "env:BLADE_CATALOG_TOKEN",
            "env:PATH",
            "file:none",
            "file:../secrets",
        ):
            bound = (self.REFERENCE, reference) if "OTHER" not in reference else (self.REFERENCE,)
            with pytest.raises(Invalid) as caught:
                place.destinations(*bound).create(place.wanted(credentials=reference))
            messages.add(caught.value.message.replace(reference, "X"))
        assert len(messages) == 1
        assert "lake-secret" not in messages.pop()

    def test_a_wrong_token_fails_at_its_step(self, place, monkeypatch):
        monkeypatch.setenv("BLADE_SECRET_LAKE", "wrong")
        with pytest.raises(ConnectionTestFailed, match=r"AUTHENTICATE.*destinations\.lake\.credentials") as caught:
            place.destinations(self.REFERENCE).create(place.wanted(credentials=self.REFERENCE))
        assert [step.outcome for step in caught.value.steps][2:] == [StepOutcome.FAILED, StepOutcome.NOT_RUN]
        assert caught.value.metadata == {"step": "AUTHENTICATE"}


def test_a_port_that_nobody_listens_at_fails_at_its_step_and_stores_nothing(place):
    nobody = f"127.0.0.1:{free_port()}"
    destinations = place.destinations(allowed_hosts={nobody: frozenset()})
    with pytest.raises(ConnectionTestFailed, match="CONNECT"):
        destinations.create(place.wanted(url=f"http://{nobody}"))
    with pytest.raises(NotFound):
        destinations.get("lake")


def test_a_name_that_leads_to_this_machine_is_refused_unless_it_says_so(place, monkeypatch):
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: look_up("127.0.0.1", *rest, **more))
    port = urlsplit(place.catalog.url).port
    named = place.destinations(allowed_hosts={f"cat.test:{port}": frozenset()})
    with pytest.raises(ConnectionTestFailed, match="an address of this machine"):
        named.create(place.wanted(url=f"http://cat.test:{port}"))
    local = place.destinations(allowed_hosts={f"localhost:{port}": frozenset()})
    assert local.create(place.wanted(url=f"http://localhost:{port}")).capabilities is not None


def test_a_repeated_call_is_answered_as_the_first_one_and_a_name_is_taken_once(place):
    destinations = place.destinations()
    first = destinations.create(place.wanted(), request_id="r").destination
    again = destinations.create(place.wanted(), request_id="r")
    assert (again.destination, again.steps) == (first, ())
    with pytest.raises(Invalid) as caught:
        destinations.create(place.wanted(ceiling="CUI"), request_id="r")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    with pytest.raises(AlreadyExists) as taken:
        destinations.create(place.wanted())
    assert taken.value.reason is Reason.DESTINATION_EXISTS


def test_the_list_begins_with_the_servers_own_at_any_size_of_page(place):
    destinations = place.destinations()
    for name in ("b", "a", "c"):
        destinations.create(place.wanted(name))
    for size in (1, 2, 3, 4, 100):
        names, token = [], ""
        while True:
            found, token = destinations.list(page_size=size, page_token=token)
            assert len(found) <= size
            names += [one.name for one in found]
            if not token:
                break
        assert names == ["default", "a", "b", "c"]
    assert destinations.get("default") == OWN


def test_the_servers_own_cannot_be_changed_here(place):
    destinations = place.destinations()
    for call in (
        lambda: destinations.update(replace(OWN, ceiling="CUI"), {"ceiling"}),
        lambda: destinations.delete("default"),
    ):
        with pytest.raises(Precondition, match="BLADE_CATALOG_URL"):
            call()
    assert failed(destinations.test("default"))[0][0] is StepKind.RESOLVE  # no catalog is set up


def test_an_update_takes_the_named_fields_under_an_etag(place):
    destinations = place.destinations()
    stored = destinations.create(place.wanted(ceiling="CUI")).destination
    asked = place.catalog.status()["requests"]
    changed = destinations.update(replace(stored, ceiling="SECRET", url="http://none.test"), {"ceiling"})
    assert (changed.ceiling, changed.url) == ("SECRET", stored.url)
    assert place.catalog.status()["requests"] == asked, "nothing had to be tested"
    with pytest.raises(Conflict):
        destinations.update(replace(stored, ceiling=""), {"ceiling"})
    assert destinations.update(replace(stored, etag="", ceiling=""), {"ceiling"}).ceiling == ""
    with pytest.raises(Invalid, match="not a field that can change"):
        destinations.update(stored, {"catalog_id"})
    with pytest.raises(NotFound):
        destinations.update(replace(stored, name="none"), {"ceiling"})


def test_an_update_of_the_url_takes_the_catalog_that_is_there(place, tmp_path):
    with CatalogServer(directory=tmp_path / "other") as other:
        hosts = {place.host: frozenset(), urlsplit(other.url).netloc: frozenset()}
        destinations = place.destinations(allowed_hosts=hosts)
        stored = destinations.create(place.wanted()).destination
        changed = destinations.update(replace(stored, url=other.url), {"url"})
        assert changed.catalog_id not in ("", stored.catalog_id)
    with pytest.raises(ConnectionTestFailed):
        destinations.update(replace(changed, url=f"http://{urlsplit(other.url).netloc}"), {"url"})
    assert destinations.get("lake") == changed


def test_a_test_of_a_stored_one_tells_that_another_catalog_is_there_now(place, tmp_path):
    destinations = place.destinations()
    port = place.catalog.port
    stored = destinations.create(place.wanted()).destination
    assert failed(destinations.test("lake")) == []
    place.catalog.stop()
    with CatalogServer(directory=tmp_path / "other", port=port):
        ((kind, message),) = failed(destinations.test("lake"))
        assert kind is StepKind.CAPABILITIES
        assert stored.catalog_id in message
        assert destinations.update(stored, {"url"}).catalog_id != stored.catalog_id
        assert failed(destinations.test("lake")) == []


def test_what_is_named_by_a_source_is_in_use(place, store):
    destinations = place.destinations()
    destinations.create(place.wanted())
    source = a_source()
    store.add(replace(source, config=replace(source.config, destination="lake")))
    with pytest.raises(Precondition, match="sources parts") as caught:
        destinations.delete("lake")
    assert caught.value.reason is Reason.DESTINATION_IN_USE
    store.remove("parts")
    destinations.delete("lake")
    with pytest.raises(NotFound):
        destinations.get("lake")
    with pytest.raises(NotFound) as absent:
        store.add(replace(source, config=replace(source.config, destination="lake")))
    assert absent.value.reason is Reason.DESTINATION_NOT_FOUND


def test_each_change_and_each_test_is_in_the_audit_log(place, database):
    destinations = place.destinations()
    destinations.create(place.wanted())
    destinations.update(place.wanted(ceiling="CUI"), {"ceiling"})
    destinations.delete("lake")
    with database.begin() as connection:
        rows = connection.execute(text("SELECT outcome, object FROM audit_entry ORDER BY number")).all()
    assert [row.outcome for row in rows if row.object == "destination:lake"] == [
        "BEGUN",
        "DONE",
        "DONE",
        "DONE",
        "DONE",
    ]


def test_no_secret_is_in_the_database_or_in_what_is_printed(place, monkeypatch):
    monkeypatch.setenv("BLADE_SECRET_LAKE", "lake-secret")
    destinations = place.destinations("env:BLADE_SECRET_LAKE")
    stored = destinations.create(place.wanted(credentials="env:BLADE_SECRET_LAKE")).destination
    with place.database.begin() as connection:
        row = connection.execute(text("SELECT row_to_json(destination)::text FROM destination")).scalar_one()
    assert "lake-secret" not in row + repr(stored) + repr(place.policy())
    assert "lake-secret" not in repr(SecretStr("lake-secret"))
