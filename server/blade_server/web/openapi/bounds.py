"""What the service checks of a field, in the words of JSON schema. Comments of the contract say the same to people.

The numbers are those that the checks use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blade_server.core.checks import MAX_REASON_CHARACTERS
from blade_server.core.destinations import rules as destination_rules
from blade_server.core.direct.queries import MAX_COLUMNS, MAX_ROWS_LIMIT
from blade_server.core.jobs.checks import MAX_BATCH_SIZE, MAX_REQUEST_ID_CHARACTERS, MAX_WORKERS
from blade_server.core.jobs.preview import MAX_PREVIEW_ROWS
from blade_server.core.paging import MAX_PAGE_SIZE
from blade_server.core.sources import rules
from blade_server.core.sql.parse import MAX_FILTER_BYTES, MAX_SQL_BYTES
from blade_server.core.syncs.backfill import MAX_VALUE_CHARACTERS
from blade_server.core.syncs.reset import MAX_IDS as MAX_RESET_IDS
from blade_server.core.syncs.rules import MAX_NOTIFICATIONS, MAX_PAUSE_AFTER_FAILURES, MAX_SCOPE_CHARACTERS
from blade_server.core.transform.transform import MAX_ITEM_ID_CHARACTERS
from blade_server.web.transcoder.conventions import STARTS

Bounds = Mapping[str, Any]

_NAME = {"maxLength": rules.MAX_NAME_CHARACTERS}
_PAIRS = {"maxProperties": rules.MAX_PAIRS}
_FROM_0 = {"minimum": 0}
_SHARE = {"exclusiveMinimum": 0, "maximum": 1}
_REASON = {"maxLength": MAX_REASON_CHARACTERS}
_REQUEST_ID = {"maxLength": MAX_REQUEST_ID_CHARACTERS}
_SQL = {"maxLength": MAX_SQL_BYTES}
_TABLE = ("catalog", "schema", "table")
_PAGE = {"minimum": 1, "maximum": MAX_PAGE_SIZE}
_CONTROLS = ("Update", "Delete", "Pause", "Resume", "Own", "Clone")

BOUNDS: Mapping[str, Bounds] = {
    "AddSourceRequest.request_id": _REQUEST_ID,
    "Source.name": {"pattern": f"^{rules.NAME.pattern}$"},
    "Source.display_name": {"maxLength": rules.MAX_DISPLAY_NAME_CHARACTERS},
    "Source.data_type": {"pattern": f"^{rules.DATA_TYPE.pattern}$"},
    "SourceConfig.catalog": _NAME,
    "SourceConfig.schema": _NAME,
    "SourceConfig.table": _NAME,
    "SourceConfig.items_per_second": _FROM_0,
    "SourceConfig.max_running_jobs": _FROM_0,
    "Mapping.item_id": {"maxLength": rules.MAX_TEMPLATE_CHARACTERS},
    "Mapping.last_modified": _NAME,
    "Mapping.metadata": _PAIRS,
    "Mapping.masked_columns": {"maxItems": rules.MAX_MASKED_COLUMNS},
    "Classification.column": _NAME,
    "ListSourcesRequest.page_size": _PAGE,
    "ListSourceCostsRequest.page_size": _PAGE,
    "CreateDestinationRequest.request_id": _REQUEST_ID,
    "Destination.name": {"pattern": f"^{destination_rules.NAME.pattern}$"},
    "Destination.display_name": {"maxLength": destination_rules.MAX_DISPLAY_NAME_CHARACTERS},
    "Destination.url": {"maxLength": destination_rules.MAX_URL_CHARACTERS},
    "Destination.credentials": {"maxLength": destination_rules.MAX_REFERENCE_CHARACTERS},
    "Destination.ca_file": {"maxLength": destination_rules.MAX_REFERENCE_CHARACTERS},
    "Destination.items_per_second": _FROM_0,
    "ListDestinationsRequest.page_size": _PAGE,
    "QueryItemsRequest.filter": {"maxLength": MAX_FILTER_BYTES},
    "QueryItemsRequest.columns": {"maxItems": MAX_COLUMNS},
    "QueryItemsRequest.order_by": {"maxItems": MAX_COLUMNS},
    "QueryItemsRequest.limit": {"minimum": 1, "maximum": MAX_ROWS_LIMIT},
    "QueryItemsRequest.offset": _FROM_0,
    "GetItemRequest.item_id": {"maxLength": MAX_ITEM_ID_CHARACTERS},
    "IngestItemRequest.item_id": {"maxLength": MAX_ITEM_ID_CHARACTERS},
    "IngestItemRequest.metadata": _PAIRS,
    "StartQueryJobRequest.sql": _SQL,
    "StartQueryJobRequest.batch_size": {"minimum": 1, "maximum": MAX_BATCH_SIZE},
    "StartQueryJobRequest.workers": {"minimum": 1, "maximum": MAX_WORKERS},
    "StartQueryJobRequest.items_per_second": {"exclusiveMinimum": 0},
    "StartQueryJobRequest.max_errors": _FROM_0,
    "StartQueryJobRequest.max_error_share": _SHARE,
    "StartQueryJobRequest.metadata": _PAIRS,
    "StartQueryJobRequest.request_id": _REQUEST_ID,
    "JobLimits.items_per_second": _FROM_0,
    "JobLimits.max_errors": _FROM_0,
    "JobLimits.max_error_share": _SHARE,
    "PreviewItemsRequest.sql": _SQL,
    "PreviewItemsRequest.limit": {"minimum": 1, "maximum": MAX_PREVIEW_ROWS},
    "PreviewItemsRequest.metadata": _PAIRS,
    "ListJobsRequest.page_size": _PAGE,
    "ListItemErrorsRequest.page_size": _PAGE,
    **{f"{verb}JobRequest.reason": _REASON for verb in ("Pause", "Resume", "Cancel")},
    "UpdateJobLimitsRequest.reason": _REASON,
    "RetryFailedItemsRequest.reason": _REASON,
    "RetryFailedItemsRequest.request_id": _REQUEST_ID,
    "Sync.name": {"pattern": f"^{rules.NAME.pattern}$"},
    "SyncSpec.sql": _SQL,
    "SyncSpec.filter": {"maxLength": MAX_FILTER_BYTES},
    "SyncSpec.scope": {"maxLength": MAX_SCOPE_CHARACTERS},
    "SyncSpec.batch_size": {"minimum": 1, "maximum": MAX_BATCH_SIZE},
    "SyncSpec.workers": {"minimum": 1, "maximum": MAX_WORKERS},
    "SyncSpec.metadata": _PAIRS,
    "SyncSpec.item_id": {"maxLength": rules.MAX_TEMPLATE_CHARACTERS},
    "SyncSpec.last_modified": _NAME,
    "SyncSpec.pause_after_failures": {"minimum": 0, "maximum": MAX_PAUSE_AFTER_FAILURES},
    "SyncSpec.notifications": {"maxItems": MAX_NOTIFICATIONS},
    "CloneSyncRequest.new_name": {"pattern": f"^{rules.NAME.pattern}$"},
    "BackfillSyncRequest.from": {"maxLength": MAX_VALUE_CHARACTERS},
    "BackfillSyncRequest.to": {"maxLength": MAX_VALUE_CHARACTERS},
    "ResetSyncStateRequest.item_ids": {"maxItems": MAX_RESET_IDS},
    "GetSyncItemRequest.item_id": {"maxLength": MAX_ITEM_ID_CHARACTERS},
    **{f"{what}Request.page_size": _PAGE for what in ("ListSyncs", "ListSyncRuns", "ListSyncFires")},
    **{f"{verb}SyncRequest.reason": _REASON for verb in (*_CONTROLS, "Run", "Verify", "Backfill")},
    **{f"{call}Request.reason": _REASON for call in ("ApplyPlan", "AcceptDeletes", "ResetSyncState")},
    **{f"{call}Request.request_id": _REQUEST_ID for call in ("CreateSync", *STARTS)},
}
"""By message and field, without the package."""

REQUIRED: Mapping[str, Bounds] = {
    "AddSource": {
        "required": ["name", "config"],
        "properties": {
            "config": {
                "required": ["catalog", "schema", "table"],
                "properties": {"catalog": {}, "schema": {}, "table": {}},
            }
        },
    },
    "CreateDestination": {"required": ["name", "url"], "properties": {"name": {}, "url": {}}},
    "UpdateJobLimits": {"required": ["limits"]},
    "CreateSync": {"required": ["name", "spec"], "properties": {"name": {}, "spec": {"required": ["source"]}}},
    "ApplyPlan": {"required": ["jobId"]},
    "AcceptDeletes": {"required": ["jobId", "reason"]},
    "CloneSync": {"required": ["newName"]},
}
"""What the body of a call must have, by method: a message is sent in several calls."""

NEEDED_PARAMETERS = frozenset({("/jobs/blade/query/status", "id")})
"""Query parameters without which a call is refused, by path."""

_ERRORS: Mapping[str, str] = {
    "400": (
        "INVALID_ARGUMENT: a field is wrong, `BadRequest` names it. FAILED_PRECONDITION: the state of something does "
        "not allow the call. (400 is google.rpc's standard mapping of both; `status` tells them apart.)"
    ),
    "401": "UNAUTHENTICATED: the caller did not say who he is, or in a way that is not good (any more).",
    "403": "PERMISSION_DENIED: the caller may not do this; `ErrorInfo` names the role that is needed.",
    "404": "NOT_FOUND: there is no such source, sync, destination, job or item.",
    "409": "ALREADY_EXISTS: the name is taken. ABORTED: somebody else changed it meanwhile.",
    "429": "RESOURCE_EXHAUSTED: too many of something at once; the header `retry-after` says when to call again.",
    "5XX": "UNAVAILABLE (503), DEADLINE_EXCEEDED (504), or a bug (500), with an incident id that the server's log has.",
}
_ONLY: Mapping[str, frozenset[str]] = {
    "409": frozenset(
        {
            *("AddSource", "UpdateSource", "RemoveSource"),
            *("CreateSync", "UpdateSync", "DeleteSync", "CloneSync", *STARTS),
            *("CreateDestination", "UpdateDestination", "DeleteDestination"),
        }
    ),
    "429": frozenset(
        {
            *("QueryItems", "GetItem", "IngestItem", "PreviewItems", "StartQueryJob", "WatchJob", "RetryFailedItems"),
            *STARTS,
        }
    ),
}
_NOTHING_TO_FIND = frozenset(
    {
        "ListSources",
        "ListSourceCosts",
        "ListDestinations",
        "CreateDestination",
        "ListJobs",
        "ListSyncs",
        "WhoAmI",
        "ListTokens",
        "ListGrants",
        "ListAuditEntries",
        "ExportAuditLog",
        "VerifyAuditLog",
    }
)
_FOR_EVERYBODY = frozenset({"WhoAmI"})


def errors_of(method: str) -> dict[str, str]:
    """The codes of errors that a method answers with, and what they mean there."""
    found = {code: text for code, text in _ERRORS.items() if method in _ONLY.get(code, {method})}
    if method in _NOTHING_TO_FIND:
        del found["404"]
    if method in _FOR_EVERYBODY:
        del found["403"]
    return found
