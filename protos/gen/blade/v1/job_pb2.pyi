import datetime

from blade.v1 import cost_pb2 as _cost_pb2
from blade.v1 import error_reason_pb2 as _error_reason_pb2
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

class Job(_message.Message):
    __slots__ = ("job_id", "status", "total_items", "processed_items", "success_count", "error_count", "skipped_count", "items_per_second", "bytes_uploaded", "current_operation", "estimated_completion", "wait_reason", "wait_detail", "pending_action", "error", "spec", "create_time", "start_time", "end_time", "update_time", "revision", "paused_duration", "parent_job_id", "error_summaries", "history", "completed_with_errors", "redacted", "kind", "sync", "sync_report", "cost")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[Job.Status]
        PENDING: _ClassVar[Job.Status]
        RUNNING: _ClassVar[Job.Status]
        PAUSED: _ClassVar[Job.Status]
        COMPLETED: _ClassVar[Job.Status]
        FAILED: _ClassVar[Job.Status]
        CANCELLED: _ClassVar[Job.Status]
    STATUS_UNSPECIFIED: Job.Status
    PENDING: Job.Status
    RUNNING: Job.Status
    PAUSED: Job.Status
    COMPLETED: Job.Status
    FAILED: Job.Status
    CANCELLED: Job.Status
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Job.Kind]
        QUERY: _ClassVar[Job.Kind]
        SYNC: _ClassVar[Job.Kind]
        PLAN: _ClassVar[Job.Kind]
        APPLY: _ClassVar[Job.Kind]
        VERIFY: _ClassVar[Job.Kind]
        BACKFILL: _ClassVar[Job.Kind]
        DELETE: _ClassVar[Job.Kind]
    KIND_UNSPECIFIED: Job.Kind
    QUERY: Job.Kind
    SYNC: Job.Kind
    PLAN: Job.Kind
    APPLY: Job.Kind
    VERIFY: Job.Kind
    BACKFILL: Job.Kind
    DELETE: Job.Kind
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[Job.Action]
        PAUSE: _ClassVar[Job.Action]
        CANCEL: _ClassVar[Job.Action]
    ACTION_UNSPECIFIED: Job.Action
    PAUSE: Job.Action
    CANCEL: Job.Action
    class WaitReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        WAIT_REASON_UNSPECIFIED: _ClassVar[Job.WaitReason]
        QUEUED: _ClassVar[Job.WaitReason]
        WAREHOUSE_STARTING: _ClassVar[Job.WaitReason]
        RATE_LIMITED: _ClassVar[Job.WaitReason]
        RETRY_BACKOFF: _ClassVar[Job.WaitReason]
        CATALOG_DOWN: _ClassVar[Job.WaitReason]
        RECOVERING: _ClassVar[Job.WaitReason]
        CATALOG_THROTTLED: _ClassVar[Job.WaitReason]
        PAUSE_REQUESTED: _ClassVar[Job.WaitReason]
    WAIT_REASON_UNSPECIFIED: Job.WaitReason
    QUEUED: Job.WaitReason
    WAREHOUSE_STARTING: Job.WaitReason
    RATE_LIMITED: Job.WaitReason
    RETRY_BACKOFF: Job.WaitReason
    CATALOG_DOWN: Job.WaitReason
    RECOVERING: Job.WaitReason
    CATALOG_THROTTLED: Job.WaitReason
    PAUSE_REQUESTED: Job.WaitReason
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ITEMS_FIELD_NUMBER: _ClassVar[int]
    PROCESSED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    BYTES_UPLOADED_FIELD_NUMBER: _ClassVar[int]
    CURRENT_OPERATION_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_COMPLETION_FIELD_NUMBER: _ClassVar[int]
    WAIT_REASON_FIELD_NUMBER: _ClassVar[int]
    WAIT_DETAIL_FIELD_NUMBER: _ClassVar[int]
    PENDING_ACTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAUSED_DURATION_FIELD_NUMBER: _ClassVar[int]
    PARENT_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_SUMMARIES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_WITH_ERRORS_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    SYNC_REPORT_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    status: Job.Status
    total_items: int
    processed_items: int
    success_count: int
    error_count: int
    skipped_count: int
    items_per_second: float
    bytes_uploaded: int
    current_operation: str
    estimated_completion: _timestamp_pb2.Timestamp
    wait_reason: Job.WaitReason
    wait_detail: str
    pending_action: Job.Action
    error: JobError
    spec: JobSpec
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    revision: int
    paused_duration: _duration_pb2.Duration
    parent_job_id: str
    error_summaries: _containers.RepeatedCompositeFieldContainer[ErrorSummary]
    history: _containers.RepeatedCompositeFieldContainer[JobEvent]
    completed_with_errors: bool
    redacted: bool
    kind: Job.Kind
    sync: str
    sync_report: _sync_report_pb2.SyncReport
    cost: _cost_pb2.Cost
    def __init__(self, job_id: _Optional[str] = ..., status: _Optional[_Union[Job.Status, str]] = ..., total_items: _Optional[int] = ..., processed_items: _Optional[int] = ..., success_count: _Optional[int] = ..., error_count: _Optional[int] = ..., skipped_count: _Optional[int] = ..., items_per_second: _Optional[float] = ..., bytes_uploaded: _Optional[int] = ..., current_operation: _Optional[str] = ..., estimated_completion: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., wait_reason: _Optional[_Union[Job.WaitReason, str]] = ..., wait_detail: _Optional[str] = ..., pending_action: _Optional[_Union[Job.Action, str]] = ..., error: _Optional[_Union[JobError, _Mapping]] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., paused_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., parent_job_id: _Optional[str] = ..., error_summaries: _Optional[_Iterable[_Union[ErrorSummary, _Mapping]]] = ..., history: _Optional[_Iterable[_Union[JobEvent, _Mapping]]] = ..., completed_with_errors: _Optional[bool] = ..., redacted: _Optional[bool] = ..., kind: _Optional[_Union[Job.Kind, str]] = ..., sync: _Optional[str] = ..., sync_report: _Optional[_Union[_sync_report_pb2.SyncReport, _Mapping]] = ..., cost: _Optional[_Union[_cost_pb2.Cost, _Mapping]] = ...) -> None: ...

class JobSpec(_message.Message):
    __slots__ = ("sql", "source", "data_type", "batch_size", "workers", "limits", "metadata", "classification", "skip_existing", "item_id", "last_modified", "min_classification", "destination")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SQL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    SKIP_EXISTING_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    MIN_CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    sql: str
    source: str
    data_type: str
    batch_size: int
    workers: int
    limits: JobLimits
    metadata: _containers.ScalarMap[str, str]
    classification: str
    skip_existing: bool
    item_id: str
    last_modified: str
    min_classification: str
    destination: str
    def __init__(self, sql: _Optional[str] = ..., source: _Optional[str] = ..., data_type: _Optional[str] = ..., batch_size: _Optional[int] = ..., workers: _Optional[int] = ..., limits: _Optional[_Union[JobLimits, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., classification: _Optional[str] = ..., skip_existing: _Optional[bool] = ..., item_id: _Optional[str] = ..., last_modified: _Optional[str] = ..., min_classification: _Optional[str] = ..., destination: _Optional[str] = ...) -> None: ...

class JobLimits(_message.Message):
    __slots__ = ("items_per_second", "max_errors", "max_error_share")
    ITEMS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MAX_ERRORS_FIELD_NUMBER: _ClassVar[int]
    MAX_ERROR_SHARE_FIELD_NUMBER: _ClassVar[int]
    items_per_second: float
    max_errors: int
    max_error_share: float
    def __init__(self, items_per_second: _Optional[float] = ..., max_errors: _Optional[int] = ..., max_error_share: _Optional[float] = ...) -> None: ...

class JobError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class ErrorSummary(_message.Message):
    __slots__ = ("reason", "count", "samples", "identical_count")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    IDENTICAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    count: int
    samples: _containers.RepeatedCompositeFieldContainer[ItemError]
    identical_count: int
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., count: _Optional[int] = ..., samples: _Optional[_Iterable[_Union[ItemError, _Mapping]]] = ..., identical_count: _Optional[int] = ...) -> None: ...

class ItemError(_message.Message):
    __slots__ = ("item_id", "stage", "reason", "field", "message", "attempts", "row_json", "create_time", "identical", "redacted")
    class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STAGE_UNSPECIFIED: _ClassVar[ItemError.Stage]
        TRANSFORM: _ClassVar[ItemError.Stage]
        UPLOAD: _ClassVar[ItemError.Stage]
    STAGE_UNSPECIFIED: ItemError.Stage
    TRANSFORM: ItemError.Stage
    UPLOAD: ItemError.Stage
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ROW_JSON_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    IDENTICAL_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    stage: ItemError.Stage
    reason: _error_reason_pb2.ErrorReason
    field: str
    message: str
    attempts: int
    row_json: str
    create_time: _timestamp_pb2.Timestamp
    identical: bool
    redacted: bool
    def __init__(self, item_id: _Optional[str] = ..., stage: _Optional[_Union[ItemError.Stage, str]] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., field: _Optional[str] = ..., message: _Optional[str] = ..., attempts: _Optional[int] = ..., row_json: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., identical: _Optional[bool] = ..., redacted: _Optional[bool] = ...) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("kind", "time", "actor", "reason", "detail")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[JobEvent.Kind]
        CREATED: _ClassVar[JobEvent.Kind]
        CLAIMED: _ClassVar[JobEvent.Kind]
        PAUSE_REQUESTED: _ClassVar[JobEvent.Kind]
        PAUSED: _ClassVar[JobEvent.Kind]
        RESUMED: _ClassVar[JobEvent.Kind]
        CANCEL_REQUESTED: _ClassVar[JobEvent.Kind]
        CANCELLED: _ClassVar[JobEvent.Kind]
        FAILED: _ClassVar[JobEvent.Kind]
        COMPLETED: _ClassVar[JobEvent.Kind]
        LIMITS_CHANGED: _ClassVar[JobEvent.Kind]
        RELEASED: _ClassVar[JobEvent.Kind]
        RETRIED: _ClassVar[JobEvent.Kind]
    KIND_UNSPECIFIED: JobEvent.Kind
    CREATED: JobEvent.Kind
    CLAIMED: JobEvent.Kind
    PAUSE_REQUESTED: JobEvent.Kind
    PAUSED: JobEvent.Kind
    RESUMED: JobEvent.Kind
    CANCEL_REQUESTED: JobEvent.Kind
    CANCELLED: JobEvent.Kind
    FAILED: JobEvent.Kind
    COMPLETED: JobEvent.Kind
    LIMITS_CHANGED: JobEvent.Kind
    RELEASED: JobEvent.Kind
    RETRIED: JobEvent.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kind: JobEvent.Kind
    time: _timestamp_pb2.Timestamp
    actor: str
    reason: str
    detail: str
    def __init__(self, kind: _Optional[_Union[JobEvent.Kind, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
