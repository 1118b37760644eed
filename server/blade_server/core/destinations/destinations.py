"""Destinations: created only after they were tested, changed under an etag. The server's own is one of them."""

from __future__ import annotations

import builtins
import json
from collections.abc import Set
from dataclasses import asdict, replace
from hashlib import sha256

from blade_server.catalog import Catalog
from blade_server.core import paging
from blade_server.core.audit.recorder import Recorder
from blade_server.core.checks import check_length, raise_for
from blade_server.core.destinations.connect import connect
from blade_server.core.destinations.connection_test import TestedDestination, try_catalog
from blade_server.core.destinations.rules import check, with_defaults
from blade_server.errors import AlreadyExists, Conflict, Invalid, NotFound, Precondition, Reason
from blade_server.model.access import Caller
from blade_server.model.destination import DEFAULT_DESTINATION, Destination
from blade_server.model.policy import DestinationPolicy
from blade_server.storage.destinations import DestinationStore

DEFAULT_PAGE_SIZE = 100
MAX_REQUEST_ID_CHARACTERS = 128
_UPDATE_ATTEMPTS = 3
_SCOPE = "destinations"
_BEFORE_ALL = "-"
"""Names begin with a letter: behind this one come all that are stored."""
_UNTESTED = {"display_name", "items_per_second", "ceiling"}
"""What can change without another test."""
_FIELDS = _UNTESTED | {"url", "credentials", "ca_file", "timeout"}


class Destinations:
    """The destinations of all replicas. Thread-safe; every call blocks on PostgreSQL, some on the catalog too.

    Whether the caller holds the role that a call needs is known before it is made: destinations belong to no source.
    """

    def __init__(self, policy: DestinationPolicy, store: DestinationStore, own: Catalog, recorder: Recorder) -> None:
        """`own`: the client of the server's own catalog."""
        self._policy = policy
        self._store = store
        self._own = own
        self._recorder = recorder

    def create(
        self, destination: Destination, *, by: Caller, validate_only: bool = False, request_id: str = ""
    ) -> TestedDestination:
        """Validate, test, store. No steps where a repeated call is answered from the store.

        Raises:
            Invalid: wrong fields, a host or reference that is not allowed, or a request id used for another one.
            AlreadyExists: the name is taken.
            ConnectionTestFailed: nothing is stored.
        """
        raise_for(check_length("request_id", request_id, MAX_REQUEST_ID_CHARACTERS))
        fingerprint = _fingerprint(destination)
        destination = self._checked(destination)
        if self._exists(destination.name):
            if not request_id or validate_only:
                raise AlreadyExists(
                    f"a destination named {destination.name!r} exists; change that one or take another name",
                    reason=Reason.DESTINATION_EXISTS,
                )
            # Repeated, or the name is taken: the store knows which.
            stored = self._store.add(destination, by=by, request_id=request_id, request_hash=fingerprint)
            return TestedDestination(destination=stored)
        tested = self._tested(destination, by).require()
        if validate_only:
            return tested
        stored = self._store.add(tested.destination, by=by, request_id=request_id, request_hash=fingerprint)
        return replace(tested, destination=stored)

    def get(self, name: str) -> Destination:
        """Raises NotFound."""
        if not name:
            raise Invalid.field("name", "is required")
        return self._policy.own if name == DEFAULT_DESTINATION else self._store.get(name)

    def list(
        self, *, by: Caller, page_size: int | None = None, page_token: str = ""
    ) -> tuple[builtins.list[Destination], str]:
        """A page in the order of the names, the server's own first, and the token of the next page ("" on the last).

        Raises Invalid: the size or the token.
        """
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        scope = f"{_SCOPE}{by.bound}"
        after = paging.read_token(page_token, scope=scope)
        own = [] if after else [self._policy.own]
        found = [*own, *self._store.page(after, size + 1 - len(own))]
        more = len(found) > size
        last = found[size - 1].name if more else ""
        token = paging.make_token(_BEFORE_ALL if last == DEFAULT_DESTINATION else last, scope=scope) if more else ""
        return found[:size], token

    def update(self, destination: Destination, fields: Set[str], *, by: Caller) -> Destination:
        """Put the named fields of `destination` into the stored one of that name, atomically.

        Where it has to be tested it takes the id of the catalog that is there now.

        Raises Invalid, NotFound, Conflict, ConnectionTestFailed, and Precondition for the server's own.
        """
        unknown = fields - _FIELDS
        if unknown:
            known = ", ".join(sorted(_FIELDS))
            raise Invalid.field("update_mask", f"{min(unknown)!r} is not a field that can change; those are {known}")
        for attempt in range(_UPDATE_ATTEMPTS):
            current = self._changeable(destination.name)
            if destination.etag and destination.etag != current.etag:
                raise Conflict(
                    f"destination {destination.name!r} was changed by somebody else (etag {current.etag}, not "
                    f"{destination.etag}); read it again"
                )
            names = {"timeout_s" if field == "timeout" else field for field in fields}
            changed = self._checked(replace(current, **{name: getattr(destination, name) for name in names}))
            if fields - _UNTESTED:
                changed = self._tested(replace(changed, catalog_id=""), by).require().destination
            try:
                return self._store.update(changed, current.etag, by=by)
            except Conflict:
                # Without an etag the caller asked for these fields to change, whatever the others are.
                if destination.etag or attempt + 1 == _UPDATE_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def delete(self, name: str, etag: str = "", *, by: Caller) -> None:
        """Raises NotFound, Conflict, and Precondition for the server's own and for one that is in use."""
        self._changeable(name)
        self._store.remove(name, etag, by=by)

    def test(self, name: str, *, by: Caller) -> TestedDestination:
        """The test of a stored destination; a failed step is part of the answer.

        Raises NotFound; Invalid if the server's settings no longer allow its host or credentials.
        """
        return self._tested(self.get(name), by)

    def _tested(self, destination: Destination, by: Caller) -> TestedDestination:
        with self._recorder.outside(by, f"destination:{destination.name}", "connection test"):
            if destination.name == DEFAULT_DESTINATION:
                return try_catalog(destination, self._own)
            catalog = connect(self._policy, destination)
            try:
                return try_catalog(destination, catalog)
            finally:
                catalog.close()

    def _changeable(self, name: str) -> Destination:
        if name == DEFAULT_DESTINATION:
            raise Precondition(
                f"{DEFAULT_DESTINATION!r} is the server's own catalog; its operator changes it, in BLADE_CATALOG_URL "
                "and the settings beside it",
                reason=Reason.DESTINATION_IN_USE,
            )
        return self.get(name)

    def _checked(self, destination: Destination) -> Destination:
        destination = with_defaults(destination)
        check(destination, known_classifications=self._policy.classifications)
        return destination

    def _exists(self, name: str) -> bool:
        try:
            self._store.get(name)
        except NotFound:
            return False
        return True


def _fingerprint(destination: Destination) -> str:
    """Of what the caller sent, before any defaults."""
    kept = {key: value for key, value in asdict(destination).items() if key not in ("create_time", "update_time")}
    return sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
