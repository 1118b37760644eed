import datetime

from blade.v1 import job_pb2 as _job_pb2
from blade.v1 import sync_report_pb2 as _sync_report_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Sync(_message.Message):
    __slots__ = ("name", "etag", "spec", "paused", "pause_reason", "owner", "next_run_time", "last_success_time", "lag", "late", "running_job_id", "last_run", "failures_in_a_row", "known_items", "dirty_items", "watermark", "feed_version", "totals", "create_time", "update_time", "redacted")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PAUSE_REASON_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    NEXT_RUN_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_FIELD_NUMBER: _ClassVar[int]
    FAILURES_IN_A_ROW_FIELD_NUMBER: _ClassVar[int]
    KNOWN_ITEMS_FIELD_NUMBER: _ClassVar[int]
    DIRTY_ITEMS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    FEED_VERSION_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    spec: SyncSpec
    paused: bool
    pause_reason: str
    owner: str
    next_run_time: _timestamp_pb2.Timestamp
    last_success_time: _timestamp_pb2.Timestamp
    lag: _duration_pb2.Duration
    late: bool
    running_job_id: str
    last_run: SyncRun
    failures_in_a_row: int
    known_items: int
    dirty_items: int
    watermark: str
    feed_version: int
    totals: _sync_report_pb2.SyncCounts
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    redacted: bool
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., spec: _Optional[_Union[SyncSpec, _Mapping]] = ..., paused: _Optional[bool] = ..., pause_reason: _Optional[str] = ..., owner: _Optional[str] = ..., next_run_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_success_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., late: _Optional[bool] = ..., running_job_id: _Optional[str] = ..., last_run: _Optional[_Union[SyncRun, _Mapping]] = ..., failures_in_a_row: _Optional[int] = ..., known_items: _Optional[int] = ..., dirty_items: _Optional[int] = ..., watermark: _Optional[str] = ..., feed_version: _Optional[int] = ..., totals: _Optional[_Union[_sync_report_pb2.SyncCounts, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., redacted: _Optional[bool] = ...) -> None: ...

class SyncSpec(_message.Message):
    __slots__ = ("source", "sql", "filter", "destination", "mode", "cursor", "schedule", "deletes", "guards", "adopt", "scope", "batch_size", "workers", "limits", "metadata", "classification", "item_id", "last_modified", "retry", "max_age", "pause_after_failures", "notifications")
    class Deletes(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DELETES_UNSPECIFIED: _ClassVar[SyncSpec.Deletes]
        KEEP: _ClassVar[SyncSpec.Deletes]
        DELETE: _ClassVar[SyncSpec.Deletes]
    DELETES_UNSPECIFIED: SyncSpec.Deletes
    KEEP: SyncSpec.Deletes
    DELETE: SyncSpec.Deletes
    class Overlap(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OVERLAP_UNSPECIFIED: _ClassVar[SyncSpec.Overlap]
        SKIP: _ClassVar[SyncSpec.Overlap]
        QUEUE_ONE: _ClassVar[SyncSpec.Overlap]
    OVERLAP_UNSPECIFIED: SyncSpec.Overlap
    SKIP: SyncSpec.Overlap
    QUEUE_ONE: SyncSpec.Overlap
    class CatchUp(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CATCH_UP_UNSPECIFIED: _ClassVar[SyncSpec.CatchUp]
        NONE: _ClassVar[SyncSpec.CatchUp]
        LATEST: _ClassVar[SyncSpec.CatchUp]
    CATCH_UP_UNSPECIFIED: SyncSpec.CatchUp
    NONE: SyncSpec.CatchUp
    LATEST: SyncSpec.CatchUp
    class NullCursor(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NULL_CURSOR_UNSPECIFIED: _ClassVar[SyncSpec.NullCursor]
        READ: _ClassVar[SyncSpec.NullCursor]
        REJECT: _ClassVar[SyncSpec.NullCursor]
    NULL_CURSOR_UNSPECIFIED: SyncSpec.NullCursor
    READ: SyncSpec.NullCursor
    REJECT: SyncSpec.NullCursor
    class Cursor(_message.Message):
        __slots__ = ("column", "lag", "full_every", "null_cursor")
        COLUMN_FIELD_NUMBER: _ClassVar[int]
        LAG_FIELD_NUMBER: _ClassVar[int]
        FULL_EVERY_FIELD_NUMBER: _ClassVar[int]
        NULL_CURSOR_FIELD_NUMBER: _ClassVar[int]
        column: str
        lag: _duration_pb2.Duration
        full_every: _duration_pb2.Duration
        null_cursor: SyncSpec.NullCursor
        def __init__(self, column: _Optional[str] = ..., lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., full_every: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., null_cursor: _Optional[_Union[SyncSpec.NullCursor, str]] = ...) -> None: ...
    class Schedule(_message.Message):
        __slots__ = ("cron", "time_zone", "every", "jitter", "overlap", "catch_up", "catch_up_window")
        CRON_FIELD_NUMBER: _ClassVar[int]
        TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
        EVERY_FIELD_NUMBER: _ClassVar[int]
        JITTER_FIELD_NUMBER: _ClassVar[int]
        OVERLAP_FIELD_NUMBER: _ClassVar[int]
        CATCH_UP_FIELD_NUMBER: _ClassVar[int]
        CATCH_UP_WINDOW_FIELD_NUMBER: _ClassVar[int]
        cron: str
        time_zone: str
        every: _duration_pb2.Duration
        jitter: _duration_pb2.Duration
        overlap: SyncSpec.Overlap
        catch_up: SyncSpec.CatchUp
        catch_up_window: _duration_pb2.Duration
        def __init__(self, cron: _Optional[str] = ..., time_zone: _Optional[str] = ..., every: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., jitter: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., overlap: _Optional[_Union[SyncSpec.Overlap, str]] = ..., catch_up: _Optional[_Union[SyncSpec.CatchUp, str]] = ..., catch_up_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    class Guards(_message.Message):
        __slots__ = ("max_delete_share", "max_deletes", "confirm_runs", "grace")
        MAX_DELETE_SHARE_FIELD_NUMBER: _ClassVar[int]
        MAX_DELETES_FIELD_NUMBER: _ClassVar[int]
        CONFIRM_RUNS_FIELD_NUMBER: _ClassVar[int]
        GRACE_FIELD_NUMBER: _ClassVar[int]
        max_delete_share: float
        max_deletes: int
        confirm_runs: int
        grace: _duration_pb2.Duration
        def __init__(self, max_delete_share: _Optional[float] = ..., max_deletes: _Optional[int] = ..., confirm_runs: _Optional[int] = ..., grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    class Retry(_message.Message):
        __slots__ = ("attempts", "base")
        ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
        BASE_FIELD_NUMBER: _ClassVar[int]
        attempts: int
        base: _duration_pb2.Duration
        def __init__(self, attempts: _Optional[int] = ..., base: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SQL_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    DELETES_FIELD_NUMBER: _ClassVar[int]
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    ADOPT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    PAUSE_AFTER_FAILURES_FIELD_NUMBER: _ClassVar[int]
    NOTIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    source: str
    sql: str
    filter: str
    destination: str
    mode: _sync_report_pb2.SyncReport.Mode
    cursor: SyncSpec.Cursor
    schedule: SyncSpec.Schedule
    deletes: SyncSpec.Deletes
    guards: SyncSpec.Guards
    adopt: bool
    scope: str
    batch_size: int
    workers: int
    limits: _job_pb2.JobLimits
    metadata: _containers.ScalarMap[str, str]
    classification: str
    item_id: str
    last_modified: str
    retry: SyncSpec.Retry
    max_age: _duration_pb2.Duration
    pause_after_failures: int
    notifications: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source: _Optional[str] = ..., sql: _Optional[str] = ..., filter: _Optional[str] = ..., destination: _Optional[str] = ..., mode: _Optional[_Union[_sync_report_pb2.SyncReport.Mode, str]] = ..., cursor: _Optional[_Union[SyncSpec.Cursor, _Mapping]] = ..., schedule: _Optional[_Union[SyncSpec.Schedule, _Mapping]] = ..., deletes: _Optional[_Union[SyncSpec.Deletes, str]] = ..., guards: _Optional[_Union[SyncSpec.Guards, _Mapping]] = ..., adopt: _Optional[bool] = ..., scope: _Optional[str] = ..., batch_size: _Optional[int] = ..., workers: _Optional[int] = ..., limits: _Optional[_Union[_job_pb2.JobLimits, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., classification: _Optional[str] = ..., item_id: _Optional[str] = ..., last_modified: _Optional[str] = ..., retry: _Optional[_Union[SyncSpec.Retry, _Mapping]] = ..., max_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., pause_after_failures: _Optional[int] = ..., notifications: _Optional[_Iterable[str]] = ...) -> None: ...

class SyncRun(_message.Message):
    __slots__ = ("number", "job_id", "kind", "status", "start_time", "end_time", "report")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    number: int
    job_id: str
    kind: _job_pb2.Job.Kind
    status: _job_pb2.Job.Status
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    report: _sync_report_pb2.SyncReport
    def __init__(self, number: _Optional[int] = ..., job_id: _Optional[str] = ..., kind: _Optional[_Union[_job_pb2.Job.Kind, str]] = ..., status: _Optional[_Union[_job_pb2.Job.Status, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., report: _Optional[_Union[_sync_report_pb2.SyncReport, _Mapping]] = ...) -> None: ...

class ItemChange(_message.Message):
    __slots__ = ("kind", "item_id", "fields", "detail")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ItemChange.Kind]
        CREATE: _ClassVar[ItemChange.Kind]
        UPDATE: _ClassVar[ItemChange.Kind]
        DELETE: _ClassVar[ItemChange.Kind]
        REJECT: _ClassVar[ItemChange.Kind]
        WITHHELD: _ClassVar[ItemChange.Kind]
    KIND_UNSPECIFIED: ItemChange.Kind
    CREATE: ItemChange.Kind
    UPDATE: ItemChange.Kind
    DELETE: ItemChange.Kind
    REJECT: ItemChange.Kind
    WITHHELD: ItemChange.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kind: ItemChange.Kind
    item_id: str
    fields: _containers.RepeatedCompositeFieldContainer[FieldChange]
    detail: str
    def __init__(self, kind: _Optional[_Union[ItemChange.Kind, str]] = ..., item_id: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[FieldChange, _Mapping]]] = ..., detail: _Optional[str] = ...) -> None: ...

class FieldChange(_message.Message):
    __slots__ = ("field", "before", "after")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    field: str
    before: str
    after: str
    def __init__(self, field: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class SyncItem(_message.Message):
    __slots__ = ("item_id", "state", "run_number", "job_id", "sent_time", "missing_since")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[SyncItem.State]
        SENT: _ClassVar[SyncItem.State]
        DIRTY: _ClassVar[SyncItem.State]
        UNCERTAIN: _ClassVar[SyncItem.State]
        MISSING: _ClassVar[SyncItem.State]
    STATE_UNSPECIFIED: SyncItem.State
    SENT: SyncItem.State
    DIRTY: SyncItem.State
    UNCERTAIN: SyncItem.State
    MISSING: SyncItem.State
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RUN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SENT_TIME_FIELD_NUMBER: _ClassVar[int]
    MISSING_SINCE_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    state: SyncItem.State
    run_number: int
    job_id: str
    sent_time: _timestamp_pb2.Timestamp
    missing_since: _timestamp_pb2.Timestamp
    def __init__(self, item_id: _Optional[str] = ..., state: _Optional[_Union[SyncItem.State, str]] = ..., run_number: _Optional[int] = ..., job_id: _Optional[str] = ..., sent_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., missing_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SyncFire(_message.Message):
    __slots__ = ("due_time", "outcome", "job_id", "detail", "time")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[SyncFire.Outcome]
        STARTED: _ClassVar[SyncFire.Outcome]
        SKIPPED: _ClassVar[SyncFire.Outcome]
        QUEUED: _ClassVar[SyncFire.Outcome]
        MISSED: _ClassVar[SyncFire.Outcome]
        BLOCKED: _ClassVar[SyncFire.Outcome]
    OUTCOME_UNSPECIFIED: SyncFire.Outcome
    STARTED: SyncFire.Outcome
    SKIPPED: SyncFire.Outcome
    QUEUED: SyncFire.Outcome
    MISSED: SyncFire.Outcome
    BLOCKED: SyncFire.Outcome
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    due_time: _timestamp_pb2.Timestamp
    outcome: SyncFire.Outcome
    job_id: str
    detail: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[SyncFire.Outcome, str]] = ..., job_id: _Optional[str] = ..., detail: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
