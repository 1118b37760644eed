"""What a job reads: a session in the warehouse, a statement over fixed versions, which of its rows count, and whether
they all came.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server import tracing
from blade_server.core import sql
from blade_server.core.engine.halt import Control
from blade_server.core.engine.ledger import Deletes, Ledger, Past, first_block_of, heads
from blade_server.core.engine.read.feed_plan import FeedReader
from blade_server.core.engine.read.plan import count_rows, make_plan
from blade_server.core.engine.read.reader import Pass
from blade_server.core.engine.read.sync_plan import make_sync_plan
from blade_server.core.engine.sync.sync_job import SyncJob
from blade_server.core.sources.credentials import target
from blade_server.core.transform.provenance import item_metadata
from blade_server.core.transform.transform import Transform
from blade_server.errors import BladeError, ResultTruncated
from blade_server.model import Claim, Plan
from blade_server.model.policy import SourcePolicy
from blade_server.storage.engine.ledger import LedgerStore
from blade_server.warehouse import Tally, Warehouse


class JobQuery:
    """Belongs to the job's thread, but for `cancel`."""

    def __init__(
        self,
        claim: Claim,
        policy: SourcePolicy,
        ledgers: LedgerStore,
        control: Control,
        sync: SyncJob | None = None,
        *,
        tally: Tally,
    ) -> None:
        """Opens nothing yet. `sync`: of a job of one. `tally`: is told what the statements take."""
        self._claim = claim
        self._tally = tally
        self._sync = sync
        self._deletes = Deletes()
        self._plan = claim.plan
        self._only: NDArray[np.uint64] | None = None
        self._policy = policy
        self._ledgers = ledgers
        self._control = control
        self._warehouse: Warehouse | None = None
        self._planning = False

    def connect(self) -> Warehouse:
        """A new session for each attempt: what the last one left behind does not matter. Raises HaltedError."""
        self.close()
        source = self._claim.job.source
        tags = {"blade_job": self._claim.job_id, "blade_trace": tracing.ids()[0]}
        where = target(self._policy.warehouse, source.config)
        warehouse = self._warehouse = Warehouse(where, source.name, tally=self._tally, tags=tags)
        self._control.check()
        return warehouse

    def cancel(self, *, keep_cursor: bool) -> None:
        """Ends the statement that runs; with `keep_cursor` only if it is the count. Any thread."""
        warehouse = self._warehouse
        if warehouse is not None and (self._planning or not keep_cursor):
            warehouse.cancel()

    def close(self) -> None:
        """Closes the session."""
        if self._warehouse is not None:
            self._warehouse.close()

    @property
    def planned(self) -> bool:
        """Whether it is known what to run and how many rows to expect: once for a job, and then kept."""
        return self._plan.announced is not None

    def plan(self, warehouse: Warehouse) -> Plan:
        """Finds that out; `keep` it once it is stored."""
        self._failed()  # without them there is nothing to ask the warehouse for
        self._planning = True
        try:
            self._control.check()
            job, statement = self._claim.job, self._plan.statement
            if self._sync is not None:
                return make_sync_plan(warehouse, statement, job, self._sync)
            return make_plan(warehouse, statement, batch_size=job.spec.batch_size)
        finally:
            self._planning = False

    def keep(self, plan: Plan) -> None:
        """This is the plan of the job."""
        self._plan = plan

    def total(self, plan: Plan | None = None) -> int | None:
        """Rows that the job has to process by a plan, by default its own; in a retry those that failed."""
        only = self._failed()
        return (plan or self._plan).announced if only is None else len(only)

    def _failed(self) -> NDArray[np.uint64] | None:
        """A retry of failed items is restricted to their keys."""
        parent = self._claim.job.parent_job_id
        if parent and self._only is None:
            chunks = [heads(keys) for keys in self._ledgers.failed_keys(parent)]
            if not chunks:
                raise BladeError(f"the errors of job {parent} are gone: there is nothing to retry; start it anew")
            self._only = np.unique(np.concatenate(chunks))
        return self._only

    def reading(self, warehouse: Warehouse, *, first_block: int, ceiling: str = "") -> Pass:
        """One pass over the planned result, whose blocks in the ledger begin at this number.

        `ceiling`: the highest classification that the job's destination takes.
        """
        if self._sync is not None:
            self._sync.planned(self._plan)
        return Pass(
            warehouse=warehouse,
            statement=self._plan.statement,
            transform=partial(self._transform, ceiling),
            ledger=self._ledger(first_block),
            only=self._failed(),
            expected_rows=self._plan.announced,
            first_block=first_block,
            comparison=None if self._sync is None else self._sync.comparison(),
            source=self._claim.job.source.name,
        )

    def feed(self, warehouse: Warehouse) -> FeedReader:
        """What the feed takes away, of a job that reads one."""
        assert self._sync is not None
        table = sql.full_name(self._claim.job.source.config)
        return FeedReader(warehouse=warehouse, job=self._claim.job, sync=self._sync, table=table)

    @property
    def deletes(self) -> Deletes:
        """What earlier claims and readings of the job deleted, as of the last reading."""
        return self._deletes

    @property
    def pinned(self) -> bool:
        """Whether every reading sees the same rows."""
        return self._plan.version is not None

    @property
    def version(self) -> int | None:
        """Of the source's table that is read; None: it is not known, or it has none."""
        return self._plan.version

    def _ledger(self, first_block: int) -> Ledger:
        ledgers, job_id = self._ledgers, self._claim.job_id
        doubtful = self._claim.doubtful
        if first_block == first_block_of(epoch=1):  # before that there can be none: spare small jobs the question
            past = Past.none(doubtful=doubtful)
        else:
            blocks = (block for some in ledgers.blocks(job_id) for block in some)
            past = Past.load(ledgers.size(job_id), blocks, doubtful=doubtful)
        self._deletes = past.deletes
        return Ledger(
            past, lambda keys: ledgers.known_keys(job_id, first_block, keys), expected_rows=self._plan.announced
        )

    def _transform(self, ceiling: str, schema: pa.Schema) -> Transform:
        """Raises Precondition, Invalid."""
        job = self._claim.job
        warehouse_id = target(self._policy.warehouse, job.source.config).warehouse_id
        pairs = {**job.spec.metadata, "job": job.job_id}
        return Transform(
            job.source,
            schema,
            known_classifications=self._policy.classifications,
            metadata=item_metadata(job.source, warehouse_id, pairs),
            overrides=job.spec.overrides,
            ceiling=ceiling,
        )

    def check_whole(self, warehouse: Warehouse, rows_read: int, processed: int) -> int:
        """How many failed items of its parent a retry did not find again in the source.

        Raises ResultTruncated unless every row that the warehouse announced was read and accounted for.
        """
        announced = self._plan.announced
        if announced is not None and rows_read < announced:
            now = count_rows(warehouse, self._plan.statement)
            if rows_read < now:
                raise ResultTruncated(
                    f"the warehouse announced {now} rows and sent {rows_read}; what was sent is in the catalog, "
                    "start the job again for the rest"
                )
        only = self._failed()
        if only is not None:
            return max(0, len(only) - processed)
        if processed < rows_read:
            raise ResultTruncated(f"{rows_read} rows were read but only {processed} are accounted for")
        return 0
