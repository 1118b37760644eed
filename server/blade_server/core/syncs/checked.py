"""A sync that can be stored: what it says, its source, its destination, its cursor column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from blade_server.core.checks import raise_for
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.syncs.cursor import check_cursor
from blade_server.core.syncs.rules import check_name, check_spec
from blade_server.core.syncs.sync_jobs import SyncJobs
from blade_server.errors import Invalid, Precondition, Reason, Violation
from blade_server.model import Source
from blade_server.model.access import Caller
from blade_server.model.policy import SourcePolicy
from blade_server.model.sync import Deletes, SyncSpec
from blade_server.storage.notifications import NotificationStore


class Checked:
    """Thread-safe. Asks PostgreSQL, the warehouse where there is a cursor, and the catalog where items are deleted."""

    def __init__(
        self, policy: SourcePolicy, jobs: SyncJobs, catalogs: Catalogs, notifications: NotificationStore
    ) -> None:
        self._policy = policy
        self._jobs = jobs
        self._catalogs = catalogs
        self._notifications = notifications

    def source(
        self, spec: SyncSpec, *, by: Caller, prefix: str, before: SyncSpec | None = None, name: str | None = None
    ) -> Source:
        """The source of a spec that can be stored.

        Args:
            spec: the new one.
            by: the caller, who may do it with the source.
            prefix: of the spec's fields in the request, `sync.spec.`.
            before: the stored one; what is the same in it was asked of the warehouse before.
            name: of a new sync, stands in the field above.

        Raises:
            Invalid: naming all wrong fields.
            NotFound, AccessDenied, Precondition: source, destination, notifications.
            Warehouse..., Catalog...: one of them cannot be asked.
        """
        named = [] if name is None else check_name(f"{prefix.removesuffix('spec.')}name", name)
        raise_for([*named, *check_spec(spec, known_classifications=self._policy.classifications, prefix=prefix)])
        with _prefixed(prefix, ("sql", "filter", "source")):
            source = self._jobs.read(spec, by=by)[0]
        self._check_destination(spec, before)
        self._notifications.check(spec.notifications, field=f"{prefix}notifications")
        if spec.cursor is not None and (before is None or before.cursor != spec.cursor):
            check_cursor(self._policy, source, spec.cursor, field=f"{prefix}cursor")
        return source

    def _check_destination(self, spec: SyncSpec, before: SyncSpec | None) -> None:
        with self._catalogs.open(spec.destination) as opened:
            asked = before is not None and (before.destination, before.deletes) == (spec.destination, spec.deletes)
            if spec.deletes is Deletes.KEEP or asked or opened.catalog.capabilities().deletes:
                return
        raise Precondition(
            f"the catalog of destination {spec.destination!r} cannot delete items; leave `deletes` at KEEP, or take "
            "another destination",
            reason=Reason.DELETE_REFUSED,
            metadata={"destination": spec.destination},
        )


@contextmanager
def _prefixed(prefix: str, fields: Sequence[str]) -> Iterator[None]:
    """Errors about these fields of a query name them as the request has them."""
    try:
        yield
    except Invalid as exc:
        violations = [_moved(violation, prefix, fields) for violation in exc.violations]
        raise Invalid(violations, reason=exc.reason) from exc


def _moved(violation: Violation, prefix: str, fields: Sequence[str]) -> Violation:
    return replace(violation, field=f"{prefix}{violation.field}") if violation.field in fields else violation
