"""Sources: added only after their connection was tested, changed under an etag, found by name or data type."""

from __future__ import annotations

import builtins
import json
from collections.abc import Collection, Mapping, Set
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

from blade_server.core import paging
from blade_server.core.access.view import view_of
from blade_server.core.audit.recorder import Recorder
from blade_server.core.paging import make_token, read_token
from blade_server.core.sources.connection_test import Tested, try_connection
from blade_server.core.sources.costs import Costs
from blade_server.core.sources.credentials import no_secret, unbound
from blade_server.core.sources.rules import check, with_defaults
from blade_server.core.sql import Reach, table_name
from blade_server.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    Precondition,
    Reason,
    check_may,
    meant,
)
from blade_server.model import Source
from blade_server.model.access import Caller, Role, Scope, View
from blade_server.model.destination import DEFAULT_DESTINATION
from blade_server.model.policy import SourcePolicy
from blade_server.storage.sources import SourceStore
from blade_server.warehouse import Tally

DEFAULT_PAGE_SIZE = 100
MAX_REQUEST_ID_CHARACTERS = 128
_UPDATE_ATTEMPTS = 3

_UNTESTED = {"display_name", "enabled", "config.items_per_second", "config.max_running_jobs", "config.destination"}
"""What can change without another connection test."""

_PATHS = {
    "display_name",
    "data_type",
    "enabled",
    *(f"config.{name}" for name in ("catalog", "schema", "table", "warehouse_id", "host", "credentials")),
    *(f"config.{name}" for name in ("items_per_second", "max_running_jobs", "destination")),
    *(f"mapping.{name}" for name in ("item_id", "last_modified", "classification", "min_classification", "metadata")),
    "mapping.masked_columns",
}


class Sources:
    """The sources of all replicas. Thread-safe; every call blocks on PostgreSQL, some on the warehouse too."""

    def __init__(self, policy: SourcePolicy, store: SourceStore, recorder: Recorder) -> None:
        self._policy = policy
        self._store = store
        self._recorder = recorder
        self.costs = Costs(store.costs)

    def add(self, source: Source, *, by: Caller, validate_only: bool = False, request_id: str = "") -> Tested:
        """Validate, test, store. Returns the test with the source as stored (as it would be, for `validate_only`).

        The steps are empty when a repeated call is answered from the store.

        Raises:
            AccessDenied: the caller may not add sources of this data type.
            Invalid: wrong fields, a table that is not for him, or a request id used for another source.
            AlreadyExists: the name is taken.
            ConnectionTestFailed: nothing is stored.
        """
        if len(request_id) > MAX_REQUEST_ID_CHARACTERS:
            raise Invalid.field("request_id", f"has more than {MAX_REQUEST_ID_CHARACTERS} characters")
        fingerprint = _fingerprint(source)
        source = self._checked(source)
        _check_data_type(by, source.data_type)
        self._check_table(source, by)
        if self._exists(source.name):
            if not request_id or validate_only:
                raise _taken(source.name)
            # Repeated, or the name is taken: the store knows which.
            return Tested(
                source=self._store.add(source, by=by, request_id=request_id, request_hash=fingerprint), steps=[]
            )
        self._check_credentials(source)
        with self.costs.counted(source.name) as tally:
            tested = self._tested(source, by, tally)
            if validate_only:
                return tested
            stored = self._store.add(tested.source, by=by, request_id=request_id, request_hash=fingerprint)
        return replace(tested, source=stored)

    def get(self, name: str, *, by: Caller) -> Source:
        """Raises NotFound, also for one that the caller may not know of; AccessDenied."""
        if not name:
            raise Invalid.field("name", "is required")
        return _allowed(self._store.get(name, by.sees), by)

    def named(self, names: Collection[str]) -> Mapping[str, Source]:
        """Those of these names that there are, for whoever asks `check_usable` about each."""
        return {source.name: source for source in self._store.named(names)}

    def check_usable(self, name: str, source: Source | None, *, by: Caller) -> Source:
        """A source as `find` gives it. Raises as `find`, of a name."""
        if source is None or not by.sees.covers(source.name, source.data_type):
            return self.find("", name, by=by)
        return _enabled(_allowed(source, by))

    def view(self, source: Source, *, by: Caller) -> View:
        """What of a source is there for a caller who may do this with it."""
        return view_of(source, by, self._policy.classifications)

    def all(self, *, by: Caller) -> builtins.list[Source]:
        """Every source that the caller may know of, by name."""
        return self._store.all(by.sees)

    def reach(self, *, by: Caller) -> Reach:
        """What the tables of his SQL may be: sources that he may read, and what the operator allows beside them."""
        every = self._store.all(Scope(all=True))
        seen, reads = by.sees, by.principal.scope(Role.READER)
        known = [source for source in every if seen.covers(source.name, source.data_type)]
        readable = [source for source in known if reads.covers(source.name, source.data_type)]
        views = {source.name: self.view(source, by=by) for source in readable}
        whole = [source for source in readable if views[source.name].is_whole]
        return Reach(
            readable,
            others=[source for source in known if not reads.covers(source.name, source.data_type)],
            views={name: view for name, view in views.items() if not view.is_whole},
            tables=self._policy.allowed_tables,
            every_table=by.principal.everywhere(Role.ADMIN),
            hidden=frozenset(map(table_name, every)) - frozenset(map(table_name, whole)),
        )

    def list(
        self, *, by: Caller, page_size: int | None = None, page_token: str = "", data_type: str = ""
    ) -> tuple[builtins.list[Source], str]:
        """A page of sources in the order of their names, and the token of the next page ("" on the last).

        Raises:
            Invalid: the size or the token.
        """
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        scope = f"sources\0{data_type}{by.bound}"
        found = self._store.page(read_token(page_token, scope=scope), size + 1, data_type, by.sees)
        more = len(found) > size
        return found[:size], make_token(found[size - 1].name, scope=scope) if more else ""

    def update(self, source: Source, fields: Set[str], *, by: Caller) -> Tested:
        """Put the named fields of `source` into the stored source of that name, atomically.

        The answer has the source as stored; no steps and no count where nothing had to be tested.

        Args:
            source: the new values; its etag, if set, must be the stored one.
            by: the caller; another data type needs his role on that one, too.
            fields: `display_name`, `data_type`, `enabled`, `config`, `mapping`, or fields of the last two.

        Raises:
            Invalid, NotFound, Conflict, ConnectionTestFailed.
        """
        paths = _expanded(fields)
        for attempt in range(_UPDATE_ATTEMPTS):
            current = self.get(source.name, by=by)
            if source.etag and source.etag != current.etag:
                raise Conflict(
                    f"source {source.name!r} was changed by somebody else (etag {current.etag}, not {source.etag}); "
                    "read it again"
                )
            tested = Tested(source=self._checked(_merged(current, source, paths)), steps=[])
            if tested.source.data_type != current.data_type:
                _check_data_type(by, tested.source.data_type)
            if table_name(tested.source) != table_name(current):
                self._check_table(tested.source, by)
            self._check_credentials(tested.source)
            if paths - _UNTESTED and _differs(current, tested.source):
                with self.costs.counted(source.name) as tally:
                    tested = self._tested(tested.source, by, tally)
            try:
                return replace(tested, source=self._store.update(tested.source, current.etag, by=by))
            except Conflict:
                # Without an etag the caller asked for these fields to change, whatever the others are.
                if source.etag or attempt + 1 == _UPDATE_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def remove(self, name: str, etag: str = "", *, by: Caller) -> None:
        """With the grants on it. Raises NotFound, Conflict, and Precondition while it has jobs that are not final."""
        if not name:
            raise Invalid.field("name", "is required")
        self._store.remove(name, etag, by=by)

    def test(self, name: str, *, by: Caller) -> Tested:
        """The connection test on a stored source, of what is there for the caller; a failed step is part of the answer.

        Raises:
            NotFound; Invalid if the server's settings no longer allow the source's host or credentials.
        """
        source = self.get(name, by=by)
        with self._testing(source, by), self.costs.counted(name) as tally:
            return try_connection(self._policy, source, self.view(source, by=by), tally)

    def find(self, data_type: str, source_name: str = "", *, by: Caller) -> Source:
        """The source a call means: by its name, else the one source of the data type.

        Raises:
            NotFound: there is none that the caller may know of.
            AccessDenied: he may not do this with it.
            Invalid: neither is given, they contradict each other, or several sources have the data type.
            Precondition: it is switched off.
        """
        if source_name:
            source = _allowed(self._store.get(source_name, by.sees), by)
            if data_type and data_type != source.data_type:
                raise Invalid.field(
                    "data_type", f"{data_type!r} is not the data type of source {source_name!r}, {source.data_type!r}"
                )
            return _enabled(source)
        if not data_type:
            raise Invalid.field("data_type", "is required unless `source` is set")
        found = self._store.by_data_type(data_type, by.sees)
        if not found:
            raise NotFound(
                f"no source has the data type {data_type!r}" + meant(data_type, self._store.data_types(by.sees)),
                reason=Reason.SOURCE_NOT_FOUND,
            )
        # Those that he may only look at are no choice.
        found = [source for source in found if by.may(source.name, source.data_type)]
        if not found:
            raise _denied(by, data_type)
        candidates = [source for source in found if source.enabled] or found
        if len(candidates) > 1:
            names = ", ".join(source.name for source in candidates)
            raise Invalid.field(
                "source",
                f"several sources have the data type {data_type!r}: name one of {names}",
                reason=Reason.SOURCE_AMBIGUOUS,
            )
        return _enabled(candidates[0])

    def _tested(self, source: Source, by: Caller, tally: Tally) -> Tested:
        with self._testing(source, by):
            return try_connection(self._policy, source, tally=tally).require()

    def _testing(self, source: Source, by: Caller) -> AbstractContextManager[None]:
        return self._recorder.outside(by, f"source:{source.name}", "connection test")

    def _checked(self, source: Source) -> Source:
        source = with_defaults(source)
        check(source, known_classifications=self._policy.classifications)
        return source

    def _check_credentials(self, source: Source) -> None:
        """Where no setting binds credentials to a host, those go there that stored sources have sent there before."""
        wanted = unbound(self._policy.warehouse, source.config)
        stored = self._store.all(Scope(all=True)) if wanted else []
        if wanted and all(unbound(self._policy.warehouse, other.config) != wanted for other in stored):
            raise no_secret(*wanted)

    def _check_table(self, source: Source, by: Caller) -> None:
        """A source is no way round what somebody may read: not to the table of one whose rows and columns are not all
        there for him, nor to `system`.
        """
        if by.principal.everywhere(Role.EDITOR):
            return
        every, reads = self._store.all(Scope(all=True)), by.principal.scope(Role.READER)
        read = [other for other in every if reads.covers(other.name, other.data_type)]
        order = self._policy.classifications
        his = frozenset(table_name(other) for other in read if view_of(other, by, order, Role.READER).is_whole)
        name, others = table_name(source), frozenset(map(table_name, every)) - his
        if name not in his and not Reach((), tables=["*.*.*"], hidden=others).covers(name):
            raise Invalid.field(
                "source.config.table",
                f"{'.'.join(name)!r} is no table that somebody with the role EDITOR on some sources only may name; "
                "an EDITOR on '*' can",
            )

    def _exists(self, name: str) -> bool:
        try:
            self._store.get(name, Scope(all=True))
        except NotFound:
            return False
        return True


def _allowed(source: Source, by: Caller) -> Source:
    check_may(by, source.name, source.data_type, f"source {source.name!r}")
    return source


def _check_data_type(by: Caller, data_type: str) -> None:
    if not by.may("", data_type):
        raise _denied(by, data_type)


def _denied(by: Caller, data_type: str) -> AccessDenied:
    return AccessDenied.of(by, by.needs or Role.ADMIN, f"data type {data_type!r}")


def _enabled(source: Source) -> Source:
    if not source.enabled:
        raise Precondition(
            f"source {source.name!r} is switched off; set its `enabled` first", reason=Reason.SOURCE_DISABLED
        )
    return source


def _taken(name: str) -> AlreadyExists:
    return AlreadyExists(f"a source named {name!r} exists; change that one or take another name")


def _fingerprint(source: Source) -> str:
    """Of what the caller sent, before any defaults."""
    document = {
        key: value for key, value in asdict(source).items() if key not in ("stats", "create_time", "update_time")
    }
    if source.mapping.last_modified is None:  # as older servers have it, which knew no other way to leave it out
        document["mapping"]["last_modified"] = ""
    elif not source.mapping.last_modified:
        document["mapping"]["last_modified"] = None
    if source.config.destination == DEFAULT_DESTINATION:  # the only one that older servers know
        del document["config"]["destination"]
    for name in ("min_classification", "masked_columns"):  # which older servers do not have
        if not document["mapping"][name]:
            del document["mapping"][name]
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _expanded(fields: Set[str]) -> set[str]:
    """Single fields for whole messages; the two ways to say a classification are one field."""
    paths: set[str] = set()
    for field in fields:
        path = "mapping.classification" if field.startswith("mapping.classification.") else field
        inner = {known for known in _PATHS if known.startswith(f"{path}.")} if path in ("config", "mapping") else set()
        if path not in _PATHS and not inner:
            raise Invalid.field(
                "update_mask", f"{field!r} is not a field that can change; those are {', '.join(sorted(_PATHS))}"
            )
        paths |= inner or {path}
    return paths


def _merged(current: Source, new: Source, paths: set[str]) -> Source:
    def chosen(prefix: str, values: Any) -> dict[str, Any]:
        return {path: getattr(values, path) for path in (p.removeprefix(prefix) for p in paths if p.startswith(prefix))}

    whole = {path: getattr(new, path) for path in paths if "." not in path}
    config = replace(current.config, **chosen("config.", new.config))
    mapping = replace(current.mapping, **chosen("mapping.", new.mapping))
    return replace(current, **whole, config=config, mapping=mapping)


def _differs(current: Source, changed: Source) -> bool:
    return (current.data_type, current.config, current.mapping) != (changed.data_type, changed.config, changed.mapping)
