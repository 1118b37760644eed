"""What runs read and write, told to an OpenLineage backend by its own client: a queue, a thread, and nobody who waits.

The client is the extra `lineage`; its own OPENLINEAGE_* variables say where events go. An event is sent once, or not at
all: one that finds the queue full is left out, and so is what is still in it when the process dies.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from queue import Empty, Full, Queue
from typing import Any

log = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Events in the queue."""
COMPLAIN_EVERY_S = 60.0
_PREFIX = "OPENLINEAGE_"
_DESTINATIONS = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT")
"""Variables that say where events go, or begin so."""


class RunState(StrEnum):
    """What an event is about, in the words of OpenLineage."""

    START = "START"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What was read or written, by the naming of OpenLineage. `version`: of what was read; empty: it is not known.

    `rows`: how many were read or written; None: it is not known.
    """

    namespace: str
    name: str
    version: str = ""
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """A moment of a run. `job_name` is that of what runs again and again, `job_id` that of this run.

    `create_time` is that of the job, from which the id of the run is made. `error`: why it failed, for machines.
    """

    state: RunState
    job_name: str
    job_id: str
    kind: str
    create_time: datetime
    time: datetime
    inputs: Sequence[Dataset] = ()
    outputs: Sequence[Dataset] = ()
    error: str = ""


class Lineage:
    """Thread-safe."""

    def __init__(self, client: Any = None, *, namespace: str = "blade", max_waiting: int = MAX_WAITING) -> None:
        """`client`: an OpenLineageClient; None: events go nowhere. `namespace`: of the jobs."""
        self._client = client
        self._namespace = namespace
        self._queue: Queue[Callable[[], RunEvent] | None] = Queue(max_waiting)
        self._complain_at = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="lineage", daemon=True)
        if client is not None:
            self._thread.start()

    @classmethod
    def from_environment(cls) -> Lineage:
        """As the OPENLINEAGE_* variables have it. Never raises: what is wrong with them is said in the log."""
        disabled = os.environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true"
        if disabled or not any(name.startswith(_DESTINATIONS) for name in os.environ):
            return cls()
        # The client may quote variables in its warnings, and with them a key.
        logging.getLogger("openlineage").setLevel(logging.ERROR)
        try:
            from openlineage.client import OpenLineageClient

            # It would read the git repository that this process happens to stand in.
            client = OpenLineageClient(config={"facets": {"source_code_location": {"disabled": True}}})
        except ImportError:
            log.warning("%s* variables are set, but no events are sent: install the extra blade[lineage]", _PREFIX)
            return cls()
        except Exception as exc:
            log.warning(
                "%s* variables are set, but no events are sent: the client does not take them (%s)",
                _PREFIX,
                type(exc).__name__,
            )
            return cls()
        return cls(client, namespace=os.environ.get("OPENLINEAGE_NAMESPACE") or "blade")

    def tell(self, make: Callable[[], RunEvent]) -> None:
        """Has an event made and sent by the thread. Returns at once and never raises."""
        if self._client is None or self._closing.is_set():
            return
        try:
            self._queue.put_nowait(make)
        except Full:
            self._complain("events are left out: %d wait for the backend", self._queue.maxsize)

    def close(self, timeout_s: float = 2.0) -> None:
        """Sends what waits for at most so long. Nothing is taken in any more. Harmless if repeated."""
        if self._client is None or self._closing.is_set():
            return
        self._closing.set()
        with suppress(Full):  # then the thread does not wait for more
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)

    def _send_all(self) -> None:
        while True:
            try:
                make = self._queue.get(block=not self._closing.is_set())
            except Empty:
                return
            if make is None:
                return
            try:
                self._client.emit(_document(make(), self._namespace))
            except Exception as exc:  # whatever it is, runs go on; its words may have the address with a password
                self._complain("an event could not be sent (%s)", type(exc).__name__)

    def _complain(self, words: str, *values: object) -> None:
        """At most once in a while: a backend that is away stays so for long."""
        now = time.monotonic()
        if now >= self._complain_at:
            self._complain_at = now + COMPLAIN_EVERY_S
            log.warning("OpenLineage: " + words, *values)  # noqa: G003


def _document(event: RunEvent, namespace: str) -> Any:
    """The event as the client takes it."""
    from openlineage.client import event_v2, facet_v2
    from openlineage.client.uuid import generate_static_uuid

    producer = f"urn:blade:{version('blade')}"
    facets = {
        "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet(
            version=version("blade"), name="BLADE", producer=producer
        ),
        "externalQuery": facet_v2.external_query_run.ExternalQueryRunFacet(
            externalQueryId=event.job_id, source="blade", producer=producer
        ),
    }
    if event.error:
        facets["errorMessage"] = facet_v2.error_message_run.ErrorMessageRunFacet(
            message=event.error, programmingLanguage="PYTHON", producer=producer
        )
    kind = facet_v2.job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="BLADE", jobType=event.kind, producer=producer
    )
    run_id = generate_static_uuid(event.create_time, event.job_id.encode())
    return event_v2.RunEvent(
        eventType=event_v2.RunState[event.state],
        eventTime=event.time.astimezone(UTC).isoformat(),
        run=event_v2.Run(runId=str(run_id), facets=facets),
        job=event_v2.Job(namespace=namespace, name=event.job_name, facets={"jobType": kind}),
        inputs=[_input(one, producer) for one in event.inputs],
        outputs=[_output(one, producer) for one in event.outputs],
        producer=producer,
    )


def _input(read: Dataset, producer: str) -> Any:
    from openlineage.client import event_v2, facet_v2

    facets: dict[str, Any] = {}
    statistics: dict[str, Any] = {}
    if read.version:
        of = facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet
        facets["version"] = of(datasetVersion=read.version, producer=producer)
    if read.rows is not None:
        counted = facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet
        statistics["inputStatistics"] = counted(rowCount=read.rows, producer=producer)
    return event_v2.InputDataset(namespace=read.namespace, name=read.name, facets=facets, inputFacets=statistics)


def _output(written: Dataset, producer: str) -> Any:
    from openlineage.client import event_v2, facet_v2

    statistics: dict[str, Any] = {}
    if written.rows is not None:
        counted = facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
        statistics["outputStatistics"] = counted(rowCount=written.rows, producer=producer)
    return event_v2.OutputDataset(namespace=written.namespace, name=written.name, outputFacets=statistics)
