"""What google.api.http cannot say about BLADE's calls. Small on purpose: everything else follows from the contract."""

from __future__ import annotations

from collections.abc import Mapping

STARTS = ("RunSync", "PlanSync", "ApplyPlan", "VerifySync", "BackfillSync", "AcceptDeletes")
"""Calls that start a job of a sync."""
SUCCESS_CODES: Mapping[str, int] = {
    "blade.v1.JobService.StartQueryJob": 202,
    **{f"blade.v1.SyncService.{method}": 202 for method in STARTS},
}
"""HTTP codes other than 200, by method: the job is accepted, not done."""

JOINED = frozenset({"blade.v1.QueryService.QueryItems"})
"""Streams whose messages are parts of one: whoever asks for plain JSON gets that one."""

EVENT_IDS: Mapping[str, str] = {"blade.v1.JobService.WatchJob": "job.revision"}
"""For server-sent events: which field of a message becomes the event's id, by method."""
