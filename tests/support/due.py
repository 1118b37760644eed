"""Syncs with due times over a real PostgreSQL, without a warehouse, a catalog or an engine: jobs end by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from tests.support.access import called
from tests.support.nouns import a_source

from blade_server.catalog import Catalog
from blade_server.core.access.door import Door, owner_of
from blade_server.core.audit.recorder import Recorder
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.due.scheduler import Scheduler
from blade_server.core.due.starts import Starts
from blade_server.core.jobs.show import ShowJobs
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.syncs import Syncs
from blade_server.model import JobKind, Status
from blade_server.model.access import Grant, Kind, Principal, Role
from blade_server.model.policy import (
    AccessPolicy,
    DirectPolicy,
    JobPolicy,
    RetryPolicy,
    SourcePolicy,
    WarehousePolicy,
)
from blade_server.model.sync import Schedule, SyncFire, SyncSpec
from blade_server.storage.access import AccessStore
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.engine.claims import ClaimStore
from blade_server.storage.engine.leases import Leases
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.rights import RightsStore
from blade_server.storage.sources import SourceStore
from blade_server.storage.sync.due import DueStore

OWNER = "ann"


class DueWorld:
    """One server's part. Two over one URL are two replicas."""

    def __init__(self, url: str, *, max_open: int = 10_000, pool_size: int = 8) -> None:
        self.database = Database(url, pool_size=pool_size)
        policy = SourcePolicy(warehouse=WarehousePolicy(), classifications=("UNCLASS",))
        recorder = Recorder(AuditStore(self.database))
        self.sources = Sources(policy, SourceStore(self.database), recorder)
        job_policy = JobPolicy(direct=DirectPolicy(source=policy, retry=RetryPolicy()), max_open_jobs=max_open)
        self.jobs = JobStore(self.database)
        self._catalog = Catalog("")
        self.syncs = Syncs.over(
            job_policy,
            self.database,
            ShowJobs(self.jobs, recorder, policy.classifications),
            self.sources,
            Catalogs(self._catalog),
            recorder=recorder,
            wake=lambda: None,
        )
        self.door = Door(AccessPolicy(), AccessStore(self.database))
        self.store = DueStore(self.database, self.syncs.new_jobs)
        self.starts = Starts(self.store, self.syncs.jobs, self.sources, self.door)
        self.scheduler = Scheduler(self.store, self.starts)
        self.claims, self.leases = ClaimStore(self.database), Leases(self.database)

    def close(self) -> None:
        self._catalog.close()
        self.database.close()

    # ------------------------------------------------------------------------------------------------ what there is

    def add_source(self, name: str = "parts", **changes: Any) -> None:
        config = replace(a_source().config, table=name)
        source = replace(a_source(), name=name, data_type=changes.pop("data_type", name), config=config, **changes)
        SourceStore(self.database).add(source, by=called())

    def grant(self, role: Role = Role.EDITOR, *, principal: str = OWNER, scope: str = "*") -> None:
        rights = RightsStore(self.database)
        rights.add_grant(
            Grant(role=role, scope=scope, principal=principal, grant_id=f"g-{principal}-{role.name}"),
            by=called(),
            reason="",
        )

    def take_grants(self, principal: str = OWNER) -> None:
        self.run("DELETE FROM access_grant WHERE principal = :name", name=principal)
        self.door.forget()

    def add_sync(self, name: str = "parts", *, source: str = "parts", owner: str = OWNER, **spec: Any) -> None:
        """Stored as a call of its owner does it. `spec`: fields of its SyncSpec; due each hour unless it says else."""
        asked = SyncSpec(**{"source": source, "schedule": Schedule(every_s=3600.0), **spec})
        by = replace(called(), principal=self.door.owner(self._owner(owner)), needs=Role.EDITOR)
        self.syncs.create(name, asked, by=by)
        self.run(
            "UPDATE sync SET owner = jsonb_set(owner, '{kind}', to_jsonb(:kind ::text)) WHERE name = :name",
            kind=Kind.TOKEN.value,
            name=name,
        )

    def _owner(self, name: str) -> Any:
        return owner_of(Principal(name=name, kind=Kind.TOKEN))

    def due(self, name: str = "parts", *, ago: timedelta = timedelta(0)) -> None:
        """Its next due time came so long ago."""
        self.run("UPDATE sync SET next_due = now() - :ago WHERE name = :name", ago=ago, name=name)

    # ------------------------------------------------------------------------------------------------ what happens

    def look(self) -> None:
        """What the scheduler does when it looks, here and now."""
        self.starts.settle(self.store.waiting(server="test", limit=1000))

    def end(self, status: Status = Status.COMPLETED) -> str:
        """Some server claims the next job and ends it so; its id."""
        claim = self.leases.claim_next("server", 10.0)
        assert claim is not None
        self.claims.finish(claim, status, operation="Ended")
        return claim.job_id

    # ------------------------------------------------------------------------------------------------ what is seen

    def fires(self, name: str = "parts") -> Sequence[SyncFire]:
        """Oldest first."""
        return list(reversed(self.syncs.show.fires(name, by=called())[0]))

    def outcomes(self, name: str = "parts") -> list[str]:
        return [fire.outcome.value for fire in self.fires(name)]

    def started(self) -> list[Any]:
        """The jobs of syncs there are."""
        return self.rows("SELECT * FROM job WHERE kind = :kind ORDER BY job_id", kind=JobKind.SYNC)

    def told(self) -> list[tuple[str, str]]:
        """(sync, event) of the messages there are, oldest first."""
        return [(row.sync, row.event) for row in self.rows("SELECT * FROM outbox ORDER BY seq")]

    def row(self, name: str = "parts") -> Any:
        return self.rows("SELECT * FROM sync WHERE name = :name", name=name)[0]

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.database.begin() as connection:
            return list(connection.execute(text(query), values))

    def run(self, statement: str, **values: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement), values)
