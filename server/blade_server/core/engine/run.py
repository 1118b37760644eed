"""One claim at work: what its threads share, and what callers want of it meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Queue
from typing import Self, TypeVar

from blade_server.catalog import Catalog
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.engine.batches import Chunk, End, Report
from blade_server.core.engine.endpoints import Endpoint, Endpoints
from blade_server.core.engine.halt import Control, Halt
from blade_server.core.engine.ledger import first_block_of
from blade_server.core.engine.read.job_query import JobQuery
from blade_server.core.engine.record.progress import Progress, Reported
from blade_server.core.engine.record.recorder import Recorder
from blade_server.core.engine.sync.sync_job import SyncJob
from blade_server.core.engine.upload.limiter import Limiter
from blade_server.errors import BladeError, Reason
from blade_server.lineage import Lineage
from blade_server.model import Action, Claim, Flags, Status, WaitReason
from blade_server.model.policy import EnginePolicy, RetryPolicy
from blade_server.storage.engine.stores import Stores
from blade_server.warehouse import Tally

T = TypeVar("T")

Message = Chunk | End | Report | BaseException | None
"""What a job's other threads tell its own; None only wakes it."""


@dataclass(frozen=True, kw_only=True)
class EngineTools:
    """What jobs are run with; the same for all jobs of a process."""

    policy: EnginePolicy
    stores: Stores
    endpoints: Endpoints
    lineage: Lineage

    @classmethod
    def of(cls, policy: EnginePolicy, stores: Stores, catalogs: Catalogs, lineage: Lineage | None = None) -> Self:
        """With throttles that share their holds with all replicas. `lineage`: who is told of runs; None: nobody."""
        endpoints = Endpoints(catalogs, stores.holds)
        return cls(policy=policy, stores=stores, endpoints=endpoints, lineage=lineage or Lineage())


class Run:
    """Belongs to the job's thread; `renew`, `lose` and `stop` may be called from any thread."""

    def __init__(self, tools: EngineTools, claim: Claim, lease_until: float) -> None:
        self.tools = tools
        self.claim = claim
        self.limits = claim.job.spec.limits
        self.control = Control(lease_until)
        self.progress = Progress(claim.job, claim.job.spec.batch_size)
        self.reported = Reported(claim.job)
        self.sync = None if claim.task is None else SyncJob(claim, claim.task, tools.stores.syncs, self.insist)
        """What a job of a sync has beside others."""
        findings, tally = self.sync.findings if self.sync else None, Tally()
        self.recorder = Recorder(tools.stores, claim, self.control, self.progress, findings, tally=tally)
        self.query = JobQuery(claim, tools.policy.source, tools.stores.ledgers, self.control, self.sync, tally=tally)
        self.retry = _retry(tools.policy.retry, claim)
        """How failures are borne."""
        self.stopping = False
        """Whether this server is stopping: what can be done by another is left."""
        self.limiter = Limiter(self.limits.items_per_second)
        self.inbox: Queue[Message] = Queue()
        self._began = self.settled_at = time.monotonic()
        """When uploads of earlier claims and passes have come to their end, on the monotonic clock."""
        self._endpoint: Endpoint | None = None
        self.next_block = first_block_of(claim.epoch)
        """Number of the next block in the ledger."""
        self.holding = False
        """Whether the job is paused and only its cursor is held: it takes up no place of a running job."""
        self.flags = Flags(
            revision=claim.job.revision,
            status=claim.job.status,
            pending_action=claim.job.pending_action,
            limits=self.limits,
        )
        """What callers want, as last heard; a pause or cancel may have been asked of the server that died."""
        self._flags_lock = threading.Lock()

    def open_destination(self) -> None:
        """Once for a claim, before anything else; harmless if repeated. Raises as `Endpoints.open`."""
        if self._endpoint is None:
            self._endpoint = self.tools.endpoints.open(self.claim.job.spec)
            self.settled_at = self._began + self._settling_s()

    def close_destination(self) -> None:
        """Nothing is sent any more."""
        if self._endpoint is not None:
            self._endpoint.close()

    @property
    def endpoint(self) -> Endpoint:
        """Where the items go, once that is open."""
        assert self._endpoint is not None
        return self._endpoint

    @property
    def catalog(self) -> Catalog:
        """Of the job's destination."""
        return self.endpoint.catalog

    @property
    def catalog_url(self) -> str:
        """Of the job's destination; empty until that is open."""
        return "" if self._endpoint is None else self.catalog.url

    @property
    def settle_s(self) -> float:
        """How long a request without an answer may be at work in the destination, once that is open."""
        return 0.0 if self._endpoint is None else self.catalog.settle_s

    def _settling_s(self) -> float:
        """How long uploads of earlier claims may be at work; after a restore a server may not know it lost the job."""
        if self.claim.doubtful:
            return self.tools.policy.lease_s + self.catalog.settle_s
        return self.catalog.settle_s if self.claim.epoch > 1 else 0.0

    def tell(self, message: Message) -> None:
        """Puts it into the inbox, after it is counted. Any thread."""
        if isinstance(message, Report):
            self.count(message)
        self.inbox.put(message)

    def count(self, report: Report) -> None:
        """Once what was reported passes the job's limits of errors, no other request is begun. Any thread.

        The job's own thread, which hears of it later, may be asking PostgreSQL meanwhile.
        """
        if not report.places or report.batch.deletes:
            return
        failed = report.mark.failed
        limit = self.reported.add(len(report.places), errors=failed, limits=self.limits)
        if limit is not None and self.control.halted is not Halt.FAIL:
            self.control.halt(Halt.FAIL)
            self.inbox.put(BladeError(limit, reason=Reason.TOO_MANY_ERRORS))

    # ----------------------------------------------------------------------------------- from the runner's thread

    def renew(self, lease_until: float, flags: Flags) -> None:
        """The lease was renewed; this is what callers want."""
        self.control.renew(lease_until)
        self.obey(flags)

    def lose(self) -> None:
        """Another server has the job, or a caller ended it."""
        self._halt(Halt.LOST)

    def stop(self) -> None:
        """This server is stopping, or needs the place of a held pause: hand the job back."""
        self.stopping = True
        self._halt(Halt.STOP)

    def obey(self, flags: Flags | None) -> None:
        """Does what callers want, unless something newer was heard: a beat and a record may come in either order."""
        if flags is None:
            return
        with self._flags_lock:
            if flags.revision < self.flags.revision:
                return
            self.flags = flags
            if flags.limits != self.limits:
                self.limits = flags.limits
                self.limiter.set_rate(flags.limits.items_per_second)
            if flags.pending_action is Action.CANCEL:
                self._halt(Halt.CANCEL)
            elif flags.pending_action is Action.PAUSE or flags.status is Status.PAUSED:
                self._halt(Halt.PAUSE)
                self.inbox.put(None)  # a held job may have been resumed and paused again in between
            elif self.control.halted is Halt.PAUSE:
                self.control.go_on()
                self.inbox.put(None)

    def _halt(self, why: Halt) -> None:
        if self.control.halted is why:
            return
        self.control.halt(why)
        self.query.cancel(keep_cursor=why is Halt.PAUSE)  # a paused job keeps its cursor, but waits for no count
        self.inbox.put(None)

    # --------------------------------------------------------------------------------------- the job's own thread

    def insist(self, call: Callable[[], T]) -> T:
        """Calls again and again while PostgreSQL is away. Raises LeaseLost if the job must be left meanwhile."""
        return self.recorder.insist(call)

    def record(self, reason: WaitReason | None = None, detail: str = "") -> None:
        """Commits what there is to commit, and obeys what is heard on that occasion."""
        self.obey(self.recorder.record(reason, detail))

    def record_rest(self) -> None:
        """As `record`, if there are outcomes that are not yet committed."""
        self.obey(self.recorder.record_rest())

    def replaces(self) -> bool:
        """Whether the catalog puts the same item in its own place: then it may arrive twice. Blocks."""
        try:
            return self.catalog.capabilities().replaces
        except BladeError:
            return False

    def paused(self) -> bool:
        """Writes PAUSED. False if the pause was taken back."""
        flags = self.recorder.paused()
        self.obey(flags)
        return flags is not None

    def check_errors(self) -> None:
        """Raises BladeError(TOO_MANY_ERRORS) if more items failed than the job's limits allow."""
        limit = self.reported.too_many_errors(self.limits)
        if limit is not None:
            raise BladeError(limit, reason=Reason.TOO_MANY_ERRORS)


def _retry(policy: RetryPolicy, claim: Claim) -> RetryPolicy:
    """The server's, but for what the sync has of its own."""
    if claim.task is None:
        return policy
    own = claim.task.spec.retry
    return RetryPolicy(
        attempts=policy.attempts if own.attempts is None else own.attempts,
        base_s=policy.base_s if own.base_s is None else own.base_s,
    )
