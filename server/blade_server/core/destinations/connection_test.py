"""The test of a destination: four steps from its host name to what its catalog can do, in 30 seconds at most."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, replace

from blade_server.catalog import Capabilities, Catalog
from blade_server.errors import ConnectionTestFailed
from blade_server.model import DESTINATION_STEPS, StepOutcome, TestStep
from blade_server.model.destination import Destination

TEST_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class TestedDestination:
    """How a test went, all four steps in order; the destination has the catalog's id. `capabilities` None: it failed.

    A destination that was not tested has no steps.
    """

    __test__ = False  # pytest: not a test class

    destination: Destination
    steps: tuple[TestStep, ...] = ()
    capabilities: Capabilities | None = None

    def require(self) -> TestedDestination:
        """Pass a test that has passed. Raises ConnectionTestFailed, naming the step."""
        failed = next((step for step in self.steps if step.outcome is StepOutcome.FAILED), None)
        if failed is None:
            return self
        raise ConnectionTestFailed(
            f"the connection test failed at {failed.kind}: {failed.message}",
            steps=self.steps,
            metadata={"step": failed.kind.value},
        )


def try_catalog(destination: Destination, catalog: Catalog, *, timeout_s: float = TEST_TIMEOUT_S) -> TestedDestination:
    """Take the steps. A failed step is part of the answer; those behind it are NOT_RUN."""
    done: queue.SimpleQueue[TestStep | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        """On a thread of its own: looking up a name cannot be interrupted."""
        try:
            for step in catalog.steps():
                done.put(step)
            done.put(None)
        except BaseException as exc:
            done.put(exc)

    threading.Thread(target=work, name="destination-test", daemon=True).start()
    steps = _collect(done, timeout_s)
    if steps[-1].outcome is StepOutcome.PASSED:
        capabilities = catalog.capabilities()
        destination = replace(destination, catalog_id=capabilities.catalog_id)
        return TestedDestination(destination=destination, steps=tuple(steps), capabilities=capabilities)
    steps += [TestStep(kind=kind, outcome=StepOutcome.NOT_RUN) for kind in DESTINATION_STEPS[len(steps) :]]
    return TestedDestination(destination=destination, steps=tuple(steps))


def _collect(done: queue.SimpleQueue[TestStep | BaseException | None], timeout_s: float) -> list[TestStep]:
    """The steps that were taken; the last one has FAILED unless all passed."""
    deadline = time.monotonic() + timeout_s
    steps: list[TestStep] = []
    while True:
        try:
            found = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            kind = DESTINATION_STEPS[len(steps)]
            message = f"was not done within the {timeout_s:g} s of the whole test"
            return [*steps, TestStep(kind=kind, outcome=StepOutcome.FAILED, message=message)]
        if isinstance(found, BaseException):
            raise found
        if found is None:
            return steps
        steps.append(found)
