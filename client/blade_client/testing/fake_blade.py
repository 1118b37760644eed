"""The fake as tests see it: what they put into it, and what they ask it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from blade.v1.item_pb2 import Item, ItemRejection
from blade.v1.job_pb2 import Job
from blade.v1.source_pb2 import Source, SourceConfig, TestStep
from blade_client.client import BladeClient
from blade_client.connection import ConnectionOptions
from blade_client.testing.access import Access
from blade_client.testing.destinations import Destinations
from blade_client.testing.items import Items, Matches, json_of, normal
from blade_client.testing.jobs import Jobs
from blade_client.testing.notifications import Notifications
from blade_client.testing.server import Answer, Server
from blade_client.testing.sources import Sources
from blade_client.testing.syncs import Syncs


class FakeBlade(Server):
    """Use it in a `with` block, or call `start` and `stop`. Threads may share it.

    Jobs move when they are looked at: each GetJob, ListJobs or snapshot of a watch shows a job as it is, and then it
    begins, or takes its next batch. So a loop that waits for a job ends, and sees every state on its way.

    Args:
        advancing: False: jobs stay as they are until `advance` or `fail_job`.
        credentials: Serve TLS with these, as `localhost`. Default: plaintext on 127.0.0.1.
    """

    def __init__(self, *, advancing: bool = True, credentials: grpc.ServerCredentials | None = None) -> None:
        self._sources = Sources()
        self._items = Items(self._sources)
        self._jobs = Jobs(self._sources, self._items, advancing=advancing)
        self._clients: list[BladeClient] = []
        syncs, notifications = Syncs(self._sources), Notifications()
        parts = (self._sources, self._items, self._jobs, Destinations(), syncs, notifications, Access())
        answers: dict[str, Answer] = {
            name: getattr(part, name) for part in parts for name in vars(type(part)) if name[0].isupper()
        }
        super().__init__(answers, credentials)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        self.stop()

    def client(
        self, *, timeout_s: float = 60.0, attempts: int = 4, **connection: Unpack[ConnectionOptions]
    ) -> BladeClient:
        """A client of this fake, with BladeClient's options, and no profile unless one is named.

        It is closed with the `with` block.
        """
        connection.setdefault("profile", "")
        self._clients.append(BladeClient(self.target, timeout_s=timeout_s, attempts=attempts, **connection))
        return self._clients[-1]

    # ---------------------------------------------------------------------------------------------- sources and rows

    def add_source(self, source: str | Source, *, data_type: str = "", enabled: bool = True) -> Source:
        """Stores a source without a connection test.

        Args:
            source: Its name, or all of it.
            data_type: Its data type, if only the name is given. Default: the name.
            enabled: False: it refuses queries and jobs.
        """
        if isinstance(source, str):
            data_type = data_type or source
            config = SourceConfig(catalog="main", schema="blade", table=f"blade_{data_type.replace('-', '_')}_data")
            source = Source(name=source, data_type=data_type, enabled=enabled, config=config)
        return self._sources.keep(source)

    def break_source(self, name: str, step: str = "TABLE", message: str = "it is not there") -> None:
        """Lets the connection test of a source, also of one to come, fail at a step (a name of `TestStep.Kind`)."""
        TestStep.Kind.Value(step)  # raises ValueError if there is no such step
        self._sources.broken[name] = (step, message)

    def add_items(self, source: str, rows: Mapping[str, Mapping[str, Any]], *, classification: str = "UNCLASS") -> None:
        """Gives a source rows: the id of each row's item, and its columns."""
        of = self._sources.named(source)
        for item_id, columns in rows.items():
            self._items.add(of, item_id, columns, classification)

    def add_rejected_row(
        self, source: str, columns: Mapping[str, Any], reason: str, message: str, *, item_id: str = "", field: str = ""
    ) -> None:
        """Gives a source a row that cannot become an item. `reason` is a name of ErrorReason without its prefix."""
        rejection = ItemRejection(
            item_id=item_id, reason=f"ERROR_REASON_{reason}", field=field, message=message, row_json=json_of(columns)
        )
        self._items.reject(self._sources.named(source), columns, rejection)

    def means(self, condition: str, matches: Matches) -> None:
        """Says what a filter or the WHERE of a job's SQL means.

        Args:
            condition: As it is sent, behind WHERE; blanks make no difference.
            matches: Of a row's columns and the parameters: whether the row matches.
        """
        self._items.conditions[normal(condition)] = matches

    # ------------------------------------------------------------------------------------------------------- catalog

    def catalog(self, data_type: str) -> dict[str, Item]:
        """What is in the catalog of a data type, by item id."""
        return dict(self._items.catalog.get(data_type, {}))

    def refuse(self, item_id: str, *, reason: str = "CATALOG_REJECTED", message: str = "422 refused") -> None:
        """Lets the catalog refuse an item."""
        self._items.refused[item_id] = (reason, message)

    def accept(self, item_id: str) -> None:
        """Lets the catalog take it again."""
        self._items.refused.pop(item_id, None)

    # ---------------------------------------------------------------------------------------------------------- jobs

    def job(self, job_id: str) -> Job:
        """A job as it is; it does not move."""
        return self._jobs.shown(job_id)

    def advance(self, job_id: str, rows: int | None = None) -> Job:
        """Lets a job begin and take its next rows, 0 for none. Default: all, and it is COMPLETED.

        Raises:
            ValueError: The job is paused or final.
        """
        return self._jobs.advance(job_id, rows)

    def fail_job(self, job_id: str, reason: str, message: str) -> Job:
        """Ends a job as FAILED; `reason` is a name of ErrorReason without its prefix."""
        return self._jobs.fail(job_id, reason, message)
