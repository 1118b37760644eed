"""What is read at the moment of a scrape: how this process stands, and all jobs, syncs and notifications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from blade_server.storage.database import Database
from blade_server.storage.standing import StandingReader

Values: TypeAlias = Mapping[tuple[str, ...], float]
"""By the values of the labels."""


class Family(NamedTuple):
    """Of gauges."""

    documentation: str
    labels: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "blade_ready": Family("Whether this server is ready for calls."),
    "blade_build_info": Family("1; the release stands in the label.", ("version",)),
    "blade_worker_processes": Family("Job processes of this server that are up."),
    "blade_event_loop_lag_seconds": Family("The longest that the event loop was late since the last scrape."),
    "blade_postgres_up": Family("Whether PostgreSQL answered when it was asked last, and takes writes."),
    "blade_clock_offset_seconds": Family("How far this machine's clock is ahead of PostgreSQL's."),
    "db_client_connection_count": Family(
        "Connections to PostgreSQL of the pools.", ("db_client_connection_pool_name", "db_client_connection_state")
    ),
    "db_client_connection_pending_requests": Family(
        "Threads that wait for a connection to PostgreSQL.", ("db_client_connection_pool_name",)
    ),
    "blade_jobs": Family("Jobs that are not final, of all servers.", ("status",)),
    "blade_jobs_oldest_pending_age_seconds": Family("How long the oldest job has waited that no server has begun."),
    "blade_sync_last_success_age_seconds": Family("Since the last run of an enabled sync that succeeded.", ("sync",)),
    "blade_sync_late": Family(
        "1: a due run was missed or is late, or the last success is longer ago than it may be.", ("sync",)
    ),
    "blade_sync_deletes_withheld": Family("Deletes that the last run withheld.", ("sync",)),
    "blade_notifications": Family("Messages that wait to be sent, and those that nobody took.", ("state",)),
}


class Gauges(Collector):
    """Families of FAMILIES, out of what reads some of them at once; what nobody gives is left out."""

    def __init__(self) -> None:
        self._reads: list[Callable[[], Mapping[str, Values]]] = []

    def read(self, by: Callable[[], Mapping[str, Values]]) -> None:
        """Values by the names of families. Called once a scrape, in its thread."""
        self._reads.append(by)

    def collect(self) -> Iterable[Metric]:
        """Family by family, in the order of FAMILIES."""
        found: dict[str, Values] = {}
        for read in self._reads:
            found |= read()
        for name, (documentation, labels) in FAMILIES.items():
            if name in found:
                family = GaugeMetricFamily(name, documentation, labels=labels)
                for told, value in found[name].items():
                    family.add_metric(told, float(value))
                yield family


def pools(databases: Mapping[str, Database]) -> Mapping[str, Values]:
    """The pools of this process, by name."""
    connections: dict[tuple[str, ...], float] = {}
    waiting: dict[tuple[str, ...], float] = {}
    for name, database in databases.items():
        connections[name, "used"], connections[name, "idle"], waiting[name,] = database.pool_counts()
    return {"db_client_connection_count": connections, "db_client_connection_pending_requests": waiting}


def standing(reader: StandingReader) -> Mapping[str, Values]:
    """What stands in PostgreSQL; nothing where it gives no answer."""
    found = reader.now()
    if found is None:
        return {}
    ages: Values = {(sync.name,): sync.success_age_s for sync in found.syncs if sync.success_age_s is not None}
    return {
        "blade_jobs": {(status,): found.jobs.get(status, 0) for status in ("PENDING", "RUNNING", "PAUSED")},
        "blade_jobs_oldest_pending_age_seconds": {(): found.oldest_pending_s},
        "blade_sync_last_success_age_seconds": ages,
        "blade_sync_late": {(sync.name,): sync.late for sync in found.syncs},
        "blade_sync_deletes_withheld": {(sync.name,): sync.withheld for sync in found.syncs},
        "blade_notifications": {
            ("pending",): found.messages.get("WAITING", 0),
            ("dead",): found.messages.get("DEAD", 0),
        },
    }


class LoopLag:
    """How late the event loop is, at most, since somebody looked. Looks ten times a second."""

    EVERY_S = 0.1

    def __init__(self) -> None:
        self._largest_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """In the loop."""
        self._again(asyncio.get_running_loop())

    def stop(self) -> None:
        """In the loop."""
        if self._timer is not None:
            self._timer.cancel()

    def take(self) -> float:
        """Seconds; the next one counts anew. Any thread."""
        largest_s, self._largest_s = self._largest_s, 0.0
        return largest_s

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        due_s = loop.time() + self.EVERY_S
        self._timer = loop.call_at(due_s, self._look, loop, due_s)

    def _look(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        self._largest_s = max(self._largest_s, loop.time() - due_s)
        self._again(loop)
