"""Syncs: the standing orders, what they do, and what they know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.field_mask_pb2 import FieldMask

from blade.v1 import sync_service_pb2 as pb
from blade.v1.job_pb2 import Job
from blade.v1.sync_pb2 import Sync, SyncFire, SyncItem, SyncRun, SyncSpec
from blade_client.calls import Calls, names, new_request_id, pages
from blade_client.watching import watch


class SyncCalls:
    """SyncService; it is `BladeClient.syncs`. What starts a job returns it at once, PENDING: see BladeClient.wait."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(self, sync: Sync, *, validate_only: bool = False, request_id: str | None = None) -> Sync:
        """Checks the order and stores it.

        Args:
            sync: The sync; `name` and `spec.source` are needed.
            validate_only: Check only, store nothing.
            request_id: Makes the call repeatable. Default: a new one, so that a retry of this call is safe.

        Raises:
            Invalid, NotFound: A field is wrong; there is no such source or destination.
            AlreadyExists: The name is taken, or another sync writes the same items.
            Precondition: Deletes are asked for, and the destination cannot delete.
        """
        request = pb.CreateSyncRequest(
            sync=sync, validate_only=validate_only, request_id=request_id or new_request_id()
        )
        return self._calls.unary(lambda s: s.sync.CreateSync, request, repeatable=True).sync

    def get(self, name: str) -> Sync:
        """One sync as it is now. Raises NotFound."""
        return self._calls.unary(lambda s: s.sync.GetSync, pb.GetSyncRequest(name=name), repeatable=True).sync

    def list(self, *, source: str = "", destination: str = "", page_size: int | None = None) -> Iterator[Sync]:
        """Syncs in the order of their names, fetched page by page as they are read.

        Args:
            source: Only syncs of this source.
            destination: Only syncs into this destination.
            page_size: Syncs a call, 1 to 1000. Default: 100.
        """

        def fetch(token: str) -> tuple[Iterable[Sync], str]:
            request = pb.ListSyncsRequest(page_size=page_size, page_token=token, source=source, destination=destination)
            page = self._calls.unary(lambda s: s.sync.ListSyncs, request, repeatable=True)
            return page.syncs, page.next_page_token

        return pages(fetch)

    def update(self, sync: Sync, *, fields: Iterable[str] = (), keep_old: bool = False, reason: str = "") -> Sync:
        """Changes a sync, all named fields or none; the next run is the first to know.

        The call is not repeated by itself after a broken connection: read the sync to see whether it went through.

        Args:
            sync: The new values; `name` says which one, `etag` (if set) makes the call fail with Conflict when somebody
                else changed it meanwhile.
            fields: Such as `spec.mode` or `spec.guards.max_deletes`. Default: every field that is set in `sync.spec`.
            keep_old: The destination changes; items in the old one stay there and are forgotten.
            reason: Why, for the audit log.

        Raises:
            NotFound, Conflict, Invalid, AlreadyExists, Precondition.
        """
        mask = FieldMask(paths=names(fields))
        request = pb.UpdateSyncRequest(
            sync=sync,
            update_mask=mask if mask.paths else None,
            move=pb.UpdateSyncRequest.KEEP_OLD if keep_old else pb.UpdateSyncRequest.MOVE_UNSPECIFIED,
            reason=reason,
        )
        return self._calls.unary(lambda s: s.sync.UpdateSync, request, repeatable=False).sync

    def delete(self, name: str, *, etag: str = "", reason: str = "") -> int:
        """Forgets a sync. Returns how many items stay in the destination.

        The call is not repeated by itself after a broken connection.

        Raises:
            NotFound, Conflict (another etag), Precondition (a job of it writes).
        """
        request = pb.DeleteSyncRequest(name=name, etag=etag, reason=reason)
        return self._calls.unary(lambda s: s.sync.DeleteSync, request, repeatable=False).items_left

    def clone(self, name: str, new_name: str, instead: SyncSpec | None = None, *, reason: str = "") -> Sync:
        """Stores a copy, paused; the fields that are set in `instead` take the place of the original's.

        The call is not repeated by itself after a broken connection.

        Raises:
            NotFound, AlreadyExists, Invalid, Precondition.
        """
        request = pb.CloneSyncRequest(name=name, new_name=new_name, spec=instead, reason=reason)
        return self._calls.unary(lambda s: s.sync.CloneSync, request, repeatable=False).sync

    def run(self, name: str, *, whole: bool = False, reason: str = "", request_id: str | None = None) -> Job:
        """Starts a run now; `whole` reads all rows, whatever the mode. Raises NotFound, Precondition (SYNC_BUSY)."""
        request = pb.RunSyncRequest(name=name, whole=whole, reason=reason, request_id=request_id or new_request_id())
        return self._calls.unary(lambda s: s.sync.RunSync, request, repeatable=True).job

    def plan(self, name: str, *, whole: bool = False, request_id: str | None = None) -> Job:
        """Starts a job that finds out what a run would do, and writes nothing; `report` has its result."""
        request = pb.PlanSyncRequest(name=name, whole=whole, request_id=request_id or new_request_id())
        return self._calls.unary(lambda s: s.sync.PlanSync, request, repeatable=True).job

    def apply_plan(self, name: str, job_id: str, *, reason: str = "", request_id: str | None = None) -> Job:
        """Starts a job that does what the plan says. Raises NotFound, Precondition (PLAN_STALE, SYNC_BUSY)."""
        request = pb.ApplyPlanRequest(
            name=name, job_id=job_id, reason=reason, request_id=request_id or new_request_id()
        )
        return self._calls.unary(lambda s: s.sync.ApplyPlan, request, repeatable=True).job

    def verify(self, name: str, *, repair: bool = False, reason: str = "", request_id: str | None = None) -> Job:
        """Starts a job that compares all rows with the destination; `repair` sends what is missing or different."""
        request = pb.VerifySyncRequest(
            name=name, repair=repair, reason=reason, request_id=request_id or new_request_id()
        )
        return self._calls.unary(lambda s: s.sync.VerifySync, request, repeatable=True).job

    def backfill(
        self,
        name: str,
        begin: str = "",
        end: str = "",
        *,
        column: str = "",
        reason: str = "",
        request_id: str | None = None,
    ) -> Job:
        """Starts a run over the rows with a column from `begin` on and below `end`; the watermark stays.

        Args:
            name: Name of the sync.
            begin: The least value, as text. Default: no bound.
            end: The value that is too much, as text. Default: no bound; one of the two is needed.
            column: Default: the sync's cursor column.
            reason: Why, for the job's history.
            request_id: Makes the call repeatable. Default: a new one.

        Raises:
            NotFound, Invalid, Precondition (SYNC_BUSY).
        """
        request = pb.BackfillSyncRequest(
            name=name,
            column=column,
            to=end,
            reason=reason,
            request_id=request_id or new_request_id(),
            **{"from": begin},
        )
        return self._calls.unary(lambda s: s.sync.BackfillSync, request, repeatable=True).job

    def accept_deletes(
        self, name: str, job_id: str, reason: str, *, force_empty: bool = False, request_id: str | None = None
    ) -> Job:
        """Starts a job that deletes what a run withheld and what is still absent from the source.

        Args:
            name: Name of the sync.
            job_id: Id of the run.
            reason: Why, for the audit log; required.
            force_empty: Also where the source had no rows at all.
            request_id: Makes the call repeatable. Default: a new one.

        Raises:
            NotFound, Invalid, Precondition (PLAN_STALE, SYNC_STATE, SYNC_BUSY).
        """
        request = pb.AcceptDeletesRequest(
            name=name,
            job_id=job_id,
            reason=reason,
            force_empty=force_empty,
            request_id=request_id or new_request_id(),
        )
        return self._calls.unary(lambda s: s.sync.AcceptDeletes, request, repeatable=True).job

    def reset(self, name: str, item_ids: Iterable[str] = (), *, reason: str = "") -> int:
        """Forgets what was sent, so that the next run sends it again: these items, or all. Returns how many.

        Idempotent. Raises NotFound, Invalid, Precondition (SYNC_BUSY).
        """
        request = pb.ResetSyncStateRequest(name=name, item_ids=names(item_ids), reason=reason)
        return self._calls.unary(lambda s: s.sync.ResetSyncState, request, repeatable=True).items_forgotten

    def pause(self, name: str, reason: str = "") -> Sync:
        """Stops due times; a run goes on. Idempotent. Raises NotFound."""
        request = pb.PauseSyncRequest(name=name, reason=reason)
        return self._calls.unary(lambda s: s.sync.PauseSync, request, repeatable=True).sync

    def resume(self, name: str, reason: str = "") -> Sync:
        """Lets due times start runs again, from the next one on. Idempotent. Raises NotFound."""
        request = pb.ResumeSyncRequest(name=name, reason=reason)
        return self._calls.unary(lambda s: s.sync.ResumeSync, request, repeatable=True).sync

    def own(self, name: str, reason: str = "") -> Sync:
        """Makes the caller the owner, whose rights due runs have from then on. Idempotent. Raises NotFound."""
        request = pb.OwnSyncRequest(name=name, reason=reason)
        return self._calls.unary(lambda s: s.sync.OwnSync, request, repeatable=True).sync

    def runs(self, name: str, *, page_size: int | None = None) -> Iterator[SyncRun]:
        """The runs that are kept, newest first, fetched page by page as they are read. Raises NotFound."""

        def fetch(token: str) -> tuple[Iterable[SyncRun], str]:
            request = pb.ListSyncRunsRequest(name=name, page_size=page_size, page_token=token)
            page = self._calls.unary(lambda s: s.sync.ListSyncRuns, request, repeatable=True)
            return page.runs, page.next_page_token

        return pages(fetch)

    def fires(self, name: str, *, page_size: int | None = None) -> Iterator[SyncFire]:
        """What became of the due times of the last 30 days, newest first, page by page as read. Raises NotFound."""

        def fetch(token: str) -> tuple[Iterable[SyncFire], str]:
            request = pb.ListSyncFiresRequest(name=name, page_size=page_size, page_token=token)
            page = self._calls.unary(lambda s: s.sync.ListSyncFires, request, repeatable=True)
            return page.fires, page.next_page_token

        return pages(fetch)

    def report(self, name: str, job_id: str) -> pb.GetSyncReportResponse:
        """What a run, a plan or a verification found, with up to 100 items of each kind. Raises NotFound."""
        request = pb.GetSyncReportRequest(name=name, job_id=job_id)
        return self._calls.unary(lambda s: s.sync.GetSyncReport, request, repeatable=True)

    def wait_for_report(self, name: str, job_id: str, *, timeout_s: float | None = None) -> pb.GetSyncReportResponse:
        """Waits until the job is final and returns what it found. Raises as BladeClient.watch_job."""
        for _ in watch(self._calls, job_id, min_interval_s=1.0, repeats=False, timeout_s=timeout_s, on_reconnect=None):
            pass
        return self.report(name, job_id)

    def item(self, name: str, item_id: str) -> SyncItem:
        """What the sync knows of one item. Raises NotFound."""
        request = pb.GetSyncItemRequest(name=name, item_id=item_id)
        return self._calls.unary(lambda s: s.sync.GetSyncItem, request, repeatable=True).item
