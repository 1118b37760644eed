"""The connection test of a source: seven steps from its host name to one transformed row, in 30 seconds at most."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from blade_server.core import sql
from blade_server.core.sources.credentials import target
from blade_server.core.sources.id_count import count_ids
from blade_server.core.transform.columns import find_column, require_column
from blade_server.core.transform.provenance import item_metadata
from blade_server.core.transform.transform import Transform
from blade_server.errors import BladeError, ConnectionTestFailed
from blade_server.model import SOURCE_STEPS, ItemIdCount, RowQuery, Source, StepKind, StepOutcome, TestStep
from blade_server.model.access import WHOLE, View
from blade_server.model.policy import SourcePolicy
from blade_server.warehouse import Tally, Target, Warehouse, connect_steps

TEST_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Tested:
    """How a test went, all seven steps in order, and the source with the defaults that depend on its table.

    `item_ids` is None if a step failed.
    """

    source: Source
    steps: list[TestStep]
    item_ids: ItemIdCount | None = None

    def require(self) -> Tested:
        """Pass a test that has passed.

        Raises:
            ConnectionTestFailed: naming the step.
        """
        failed = next((step for step in self.steps if step.outcome is StepOutcome.FAILED), None)
        if failed is None:
            return self
        raise ConnectionTestFailed(
            f"the connection test failed at {failed.kind}: {failed.message}",
            steps=self.steps,
            metadata={"step": failed.kind.value},
        )


def try_connection(
    policy: SourcePolicy,
    source: Source,
    view: View = WHOLE,
    tally: Tally | None = None,
    *,
    timeout_s: float = TEST_TIMEOUT_S,
) -> Tested:
    """Take the steps. A failed step is part of the answer; those behind it are NOT_RUN.

    `view`: what of the source is there for whoever asks. `tally`: is told what the statements take.

    Raises:
        Invalid: the config leads to no warehouse or to no credentials.
    """
    where = target(policy.warehouse, source.config)
    run = _Run(policy, source, view, replace(where, timeout_s=min(where.timeout_s, timeout_s)), tally)
    thread = threading.Thread(target=run.work, name="connection-test", daemon=True)
    thread.start()
    steps, item_ids = _collect(run, timeout_s)
    missing = list(SOURCE_STEPS[len(steps) :])
    if missing and (not steps or steps[-1].outcome is StepOutcome.PASSED):
        message = f"was not done within the {timeout_s:g} s of the whole test"
        steps.append(TestStep(kind=missing.pop(0), outcome=StepOutcome.FAILED, message=message))
    elif not missing and steps[-1].outcome is StepOutcome.PASSED and item_ids is None:
        item_ids = ItemIdCount(message=f"the ids could not be counted within the {timeout_s:g} s of the whole test")
    steps += [TestStep(kind=kind, outcome=StepOutcome.NOT_RUN) for kind in missing]
    return Tested(source=run.source, steps=steps, item_ids=item_ids)


def _collect(run: _Run, timeout_s: float) -> tuple[list[TestStep], ItemIdCount | None]:
    deadline = time.monotonic() + timeout_s
    steps: list[TestStep] = []
    while True:
        try:
            found = run.done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            run.give_up()
            return steps, None
        if isinstance(found, BaseException):
            raise found
        if not isinstance(found, TestStep):
            return steps, found
        steps.append(found)


class _Run:
    """One test under way on a thread of its own: looking up a name or opening a socket cannot be interrupted."""

    def __init__(self, policy: SourcePolicy, source: Source, view: View, where: Target, tally: Tally | None) -> None:
        self._policy = policy
        self._view = view
        self._target = where
        self._schema = pa.schema([])
        self._warehouse = Warehouse(where, source.name, tally=tally)
        self.source = source
        self.done: queue.SimpleQueue[TestStep | ItemIdCount | BaseException | None] = queue.SimpleQueue()

    def give_up(self) -> None:
        """Any thread."""
        self._warehouse.close()

    def work(self) -> None:
        try:
            for step in self._steps():
                self.done.put(step)
                if step.outcome is StepOutcome.FAILED:
                    return
            self.done.put(self._count_ids())
        except BaseException as exc:
            self.done.put(exc)
        finally:
            self.done.put(None)
            self._warehouse.close()

    def _steps(self) -> Iterator[TestStep]:
        yield from connect_steps(self._target)
        yield _step(StepKind.TABLE, self._find_table)
        yield _step(StepKind.COLUMNS, self._check_columns)
        yield _step(StepKind.FETCH_ONE_ROW, self._fetch_one_row)

    def _find_table(self) -> str:
        config = self.source.config
        with_columns = self._warehouse.execute(sql.all_rows(self.source, 0, view=self._view))
        self._schema = with_columns.schema
        with_columns.close()
        return f"{config.catalog}.{config.schema}.{config.table} has {len(self._schema.names)} columns"

    def _check_columns(self) -> str:
        mapping = self.source.mapping
        if mapping.last_modified is None:
            there = find_column(self._schema.names, "last_modified") is not None
            there = there and find_column(list(mapping.masked_columns), "last_modified") is None
            self.source = replace(self.source, mapping=replace(mapping, last_modified="last_modified" if there else ""))
        for column in mapping.masked_columns if self._view.is_whole else ():
            require_column(self._schema.names, column, "mapping.masked_columns")
        self._transform()
        return "all columns that the mapping names are there"

    def _fetch_one_row(self) -> str:
        transform = self._transform()
        rows = self._warehouse.execute(sql.all_rows(self.source, 1, view=self._view))
        for batch in rows:
            found = transform(batch)
            if found.items:
                return f"the first row becomes the item {found.items[0].item_id!r}"
            # One odd row must not keep a source out: jobs record such rows and go on.
            return f"the first row would be rejected: {found.rejected[0].error.message}"
        return "the table is empty"

    def _count_ids(self) -> ItemIdCount:
        rows = sql.select(self.source, RowQuery(), view=self._view)
        return count_ids(self._warehouse, rows, self.source.mapping.item_id, self._schema)

    def _transform(self) -> Transform:
        return Transform(
            self.source,
            self._schema,
            known_classifications=self._policy.classifications,
            metadata=item_metadata(self.source, self._target.warehouse_id),
        )


def _step(kind: StepKind, take: Callable[[], str]) -> TestStep:
    began = time.monotonic()
    try:
        message, outcome = take(), StepOutcome.PASSED
    except BladeError as exc:
        message, outcome = exc.message, StepOutcome.FAILED
    duration_ms = (time.monotonic() - began) * 1000.0
    return TestStep(kind=kind, outcome=outcome, message=message, duration_ms=duration_ms)
