"""What a job reads: a session in the warehouse, a statement over fixed versions, which of its rows count, and whether
they all came.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.core.engine.halt import Control
from blade_server.core.engine.ledger import Ledger, Past, heads
from blade_server.core.engine.read.plan import count_rows, make_plan
from blade_server.core.engine.record.progress import Progress
from blade_server.core.engine.record.recorder import Recorder
from blade_server.core.sources.credentials import target
from blade_server.core.transform.provenance import item_metadata
from blade_server.core.transform.transform import Transform
from blade_server.errors import BladeError, ResultTruncated
from blade_server.model import WaitReason
from blade_server.settings import Settings
from blade_server.storage.engine.claims import Claim, Plan
from blade_server.storage.engine.ledger import LedgerStore
from blade_server.warehouse.databricks import Warehouse


class JobQuery:
    """Belongs to the job's thread, but for `cancel`. `only`: see Reader; known once the query is planned."""

    def __init__(
        self,
        claim: Claim,
        *,
        settings: Settings,
        ledgers: LedgerStore,
        control: Control,
        progress: Progress,
        recorder: Recorder,
    ) -> None:
        """Opens nothing yet."""
        self.only: NDArray[np.uint64] | None = None
        self.gone = 0
        """Failed items of the parent that a retry did not find again."""
        self._claim = claim
        self._settings = settings
        self._ledgers = ledgers
        self._control = control
        self._progress = progress
        self._recorder = recorder
        self._warehouse: Warehouse | None = None
        self._planning = False

    def connect(self) -> Warehouse:
        """A new session for each attempt: what the last one left behind does not matter. Raises HaltedError."""
        self.close()
        warehouse = self._warehouse = Warehouse(target(self._settings, self._claim.job.source.config))
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

    def plan(self, warehouse: Warehouse) -> Plan:
        """What to run and how many rows to expect; made once for a job and then kept."""
        plan = self._claim.plan
        self._load_only()
        if plan.announced is None:
            self._recorder.record(WaitReason.WAREHOUSE_STARTING, "counting the rows")
            self._planning = True
            try:
                self._control.check()
                plan = make_plan(warehouse, plan.statement)
            finally:
                self._planning = False
            self._recorder.plan(plan, self._total(plan))
            self._claim = replace(self._claim, plan=plan)
        self._progress.total = self._total(plan)
        return plan

    def _total(self, plan: Plan) -> int | None:
        return plan.announced if self.only is None else len(self.only)

    def _load_only(self) -> None:
        """A retry of failed items is restricted to their keys."""
        parent = self._claim.job.parent_job_id
        if parent and self.only is None:
            chunks = [heads(keys) for keys in self._ledgers.failed_keys(parent)]
            if not chunks:
                raise BladeError(f"the errors of job {parent} are gone: there is nothing to retry; start it anew")
            self.only = np.unique(np.concatenate(chunks))

    def ledger(self, first_block: int) -> Ledger:
        """The ledger of one pass, whose blocks begin at this number."""
        ledgers, job_id = self._ledgers, self._claim.job_id
        blocks = ((block.keys, block.outcomes) for some in ledgers.blocks(job_id) for block in some)
        past = Past.load(ledgers.size(job_id), blocks)
        expected_rows = self._claim.plan.announced
        return Ledger(past, lambda keys: ledgers.known_keys(job_id, first_block, keys), expected_rows=expected_rows)

    def transform(self, schema: pa.Schema) -> Transform:
        """What makes items of the rows of a result. Raises Precondition, Invalid."""
        job = self._claim.job
        warehouse_id = target(self._settings, job.source.config).warehouse_id
        pairs = {**job.spec.metadata, "job": job.job_id}
        return Transform(
            job.source,
            schema,
            known_classifications=self._settings.known_classifications,
            metadata=item_metadata(job.source, warehouse_id, pairs),
            classification=job.spec.classification,
        )

    def check_whole(self, warehouse: Warehouse, rows_read: int) -> None:
        """Raises ResultTruncated unless every row that the warehouse announced was read and accounted for."""
        plan = self._claim.plan
        if plan.announced is not None and rows_read < plan.announced:
            now = count_rows(warehouse, plan.statement)
            if rows_read < now:
                raise ResultTruncated(
                    f"the warehouse announced {now} rows and sent {rows_read}; what was sent is in the catalog, "
                    "start the job again for the rest"
                )
        if self.only is not None:
            self._skip_gone_rows()
        elif self._progress.processed < rows_read:
            processed = self._progress.processed
            raise ResultTruncated(f"{rows_read} rows were read but only {processed} are accounted for")

    def _skip_gone_rows(self) -> None:
        """A retry ends with as many rows as its parent's errors, although the source may have fewer of them now."""
        gone = (self._progress.total or 0) - self._progress.processed
        if gone > 0:
            self.gone = gone
            self._recorder.skip(gone)
            self._recorder.record()
