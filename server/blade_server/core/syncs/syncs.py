"""All that callers do with syncs, a verb each. Running them is the engine's business; the two meet in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from blade_server.core.audit.recorder import Recorder
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.jobs.show import ShowJobs
from blade_server.core.schedule.due_times import first_due
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.accept_deletes import AcceptDeletes
from blade_server.core.syncs.apply import ApplyPlan
from blade_server.core.syncs.backfill import BackfillSync
from blade_server.core.syncs.checked import Checked
from blade_server.core.syncs.clone import CloneSync
from blade_server.core.syncs.control import ControlSyncs
from blade_server.core.syncs.create import CreateSync
from blade_server.core.syncs.item import ShowSyncItem
from blade_server.core.syncs.plan import PlanSync
from blade_server.core.syncs.reset import ResetSyncState
from blade_server.core.syncs.run import RunSync
from blade_server.core.syncs.show import ShowSyncs
from blade_server.core.syncs.sync_jobs import SyncJobs
from blade_server.core.syncs.update import UpdateSync
from blade_server.core.syncs.verify import VerifySync
from blade_server.model.policy import JobPolicy
from blade_server.storage.database import Database
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.notifications import NotificationStore
from blade_server.storage.sync.control import SyncControl
from blade_server.storage.sync.history import SyncHistory
from blade_server.storage.sync.items import ItemStore
from blade_server.storage.sync.resets import ResetStore
from blade_server.storage.sync.syncs import SyncStore


@dataclass(frozen=True, kw_only=True)
class Syncs:
    """Thread-safe; each call is one or a few short transactions. Raises what the storage and the sources raise."""

    create: CreateSync
    clone: CloneSync
    show: ShowSyncs
    item: ShowSyncItem
    update: UpdateSync
    control: ControlSyncs
    reset: ResetSyncState
    run: RunSync
    plan: PlanSync
    apply: ApplyPlan
    verify: VerifySync
    backfill: BackfillSync
    accept_deletes: AcceptDeletes
    jobs: SyncJobs
    """What all of those start, and due times too."""
    new_jobs: NewJobs

    @classmethod
    def over(
        cls,
        policy: JobPolicy,
        database: Database,
        show_jobs: ShowJobs,
        sources: Sources,
        catalogs: Catalogs,
        *,
        recorder: Recorder,
        wake: Callable[[], None],
    ) -> Self:
        """`wake` is called whenever a job is stored."""
        store, history = SyncStore(database, first_due), SyncHistory(database)
        new_jobs = NewJobs(database, max_open=policy.max_open_jobs, max_own=policy.max_own_jobs)
        jobs = SyncJobs(policy, sources, store, new_jobs, wake)
        checked = Checked(policy.direct.source, jobs, catalogs, NotificationStore(database))
        return cls(
            create=CreateSync(store, checked),
            clone=CloneSync(store, jobs, checked),
            show=ShowSyncs(store, history, show_jobs, sources, recorder),
            item=ShowSyncItem(jobs, ItemStore(database), recorder),
            update=UpdateSync(store, jobs, checked),
            control=ControlSyncs(store, SyncControl(database, first_due)),
            reset=ResetSyncState(ResetStore(database)),
            run=RunSync(jobs),
            plan=PlanSync(jobs),
            apply=ApplyPlan(jobs, history),
            verify=VerifySync(jobs),
            backfill=BackfillSync(jobs),
            accept_deletes=AcceptDeletes(jobs, history),
            jobs=jobs,
            new_jobs=new_jobs,
        )
