from blade.v1 import access_pb2 as _access_pb2
from blade.v1 import job_pb2 as _job_pb2
from blade.v1 import sync_pb2 as _sync_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateSyncRequest(_message.Message):
    __slots__ = ("sync", "validate_only", "request_id")
    SYNC_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    validate_only: bool
    request_id: str
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateSyncResponse(_message.Message):
    __slots__ = ("sync",)
    SYNC_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ...) -> None: ...

class GetSyncRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetSyncResponse(_message.Message):
    __slots__ = ("sync",)
    SYNC_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ...) -> None: ...

class ListSyncsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "source", "destination")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    source: str
    destination: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., source: _Optional[str] = ..., destination: _Optional[str] = ...) -> None: ...

class ListSyncsResponse(_message.Message):
    __slots__ = ("syncs", "next_page_token")
    SYNCS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    syncs: _containers.RepeatedCompositeFieldContainer[_sync_pb2.Sync]
    next_page_token: str
    def __init__(self, syncs: _Optional[_Iterable[_Union[_sync_pb2.Sync, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateSyncRequest(_message.Message):
    __slots__ = ("sync", "update_mask", "move", "reason")
    class Move(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MOVE_UNSPECIFIED: _ClassVar[UpdateSyncRequest.Move]
        KEEP_OLD: _ClassVar[UpdateSyncRequest.Move]
    MOVE_UNSPECIFIED: UpdateSyncRequest.Move
    KEEP_OLD: UpdateSyncRequest.Move
    SYNC_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    MOVE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    update_mask: _field_mask_pb2.FieldMask
    move: UpdateSyncRequest.Move
    reason: str
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., move: _Optional[_Union[UpdateSyncRequest.Move, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class UpdateSyncResponse(_message.Message):
    __slots__ = ("sync",)
    SYNC_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ...) -> None: ...

class DeleteSyncRequest(_message.Message):
    __slots__ = ("name", "etag", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeleteSyncResponse(_message.Message):
    __slots__ = ("items_left",)
    ITEMS_LEFT_FIELD_NUMBER: _ClassVar[int]
    items_left: int
    def __init__(self, items_left: _Optional[int] = ...) -> None: ...

class RunSyncRequest(_message.Message):
    __slots__ = ("name", "whole", "request_id", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    whole: bool
    request_id: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., whole: _Optional[bool] = ..., request_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RunSyncResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class PauseSyncRequest(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PauseSyncResponse(_message.Message):
    __slots__ = ("sync",)
    SYNC_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ...) -> None: ...

class ResumeSyncRequest(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ResumeSyncResponse(_message.Message):
    __slots__ = ("sync",)
    SYNC_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ...) -> None: ...

class OwnSyncRequest(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class OwnSyncResponse(_message.Message):
    __slots__ = ("sync",)
    SYNC_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ...) -> None: ...

class PlanSyncRequest(_message.Message):
    __slots__ = ("name", "whole", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    whole: bool
    request_id: str
    def __init__(self, name: _Optional[str] = ..., whole: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class PlanSyncResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class ApplyPlanRequest(_message.Message):
    __slots__ = ("name", "job_id", "request_id", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    job_id: str
    request_id: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., job_id: _Optional[str] = ..., request_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ApplyPlanResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class VerifySyncRequest(_message.Message):
    __slots__ = ("name", "repair", "request_id", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    repair: bool
    request_id: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., repair: _Optional[bool] = ..., request_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class VerifySyncResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class BackfillSyncRequest(_message.Message):
    __slots__ = ("name", "column", "to", "request_id", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    column: str
    to: str
    request_id: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., column: _Optional[str] = ..., to: _Optional[str] = ..., request_id: _Optional[str] = ..., reason: _Optional[str] = ..., **kwargs) -> None: ...

class BackfillSyncResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class AcceptDeletesRequest(_message.Message):
    __slots__ = ("name", "job_id", "reason", "force_empty", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FORCE_EMPTY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    job_id: str
    reason: str
    force_empty: bool
    request_id: str
    def __init__(self, name: _Optional[str] = ..., job_id: _Optional[str] = ..., reason: _Optional[str] = ..., force_empty: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class AcceptDeletesResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class ResetSyncStateRequest(_message.Message):
    __slots__ = ("name", "item_ids", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, name: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ResetSyncStateResponse(_message.Message):
    __slots__ = ("sync", "items_forgotten")
    SYNC_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    items_forgotten: int
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ..., items_forgotten: _Optional[int] = ...) -> None: ...

class ListSyncRunsRequest(_message.Message):
    __slots__ = ("name", "page_size", "page_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    page_size: int
    page_token: str
    def __init__(self, name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSyncRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[_sync_pb2.SyncRun]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[_sync_pb2.SyncRun, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListSyncFiresRequest(_message.Message):
    __slots__ = ("name", "page_size", "page_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    page_size: int
    page_token: str
    def __init__(self, name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSyncFiresResponse(_message.Message):
    __slots__ = ("fires", "next_page_token")
    FIRES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    fires: _containers.RepeatedCompositeFieldContainer[_sync_pb2.SyncFire]
    next_page_token: str
    def __init__(self, fires: _Optional[_Iterable[_Union[_sync_pb2.SyncFire, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetSyncReportRequest(_message.Message):
    __slots__ = ("name", "job_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    job_id: str
    def __init__(self, name: _Optional[str] = ..., job_id: _Optional[str] = ...) -> None: ...

class GetSyncReportResponse(_message.Message):
    __slots__ = ("job", "changes")
    JOB_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    changes: _containers.RepeatedCompositeFieldContainer[_sync_pb2.ItemChange]
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[_sync_pb2.ItemChange, _Mapping]]] = ...) -> None: ...

class GetSyncItemRequest(_message.Message):
    __slots__ = ("name", "item_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    item_id: str
    def __init__(self, name: _Optional[str] = ..., item_id: _Optional[str] = ...) -> None: ...

class GetSyncItemResponse(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: _sync_pb2.SyncItem
    def __init__(self, item: _Optional[_Union[_sync_pb2.SyncItem, _Mapping]] = ...) -> None: ...

class CloneSyncRequest(_message.Message):
    __slots__ = ("name", "new_name", "spec", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    new_name: str
    spec: _sync_pb2.SyncSpec
    reason: str
    def __init__(self, name: _Optional[str] = ..., new_name: _Optional[str] = ..., spec: _Optional[_Union[_sync_pb2.SyncSpec, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class CloneSyncResponse(_message.Message):
    __slots__ = ("sync",)
    SYNC_FIELD_NUMBER: _ClassVar[int]
    sync: _sync_pb2.Sync
    def __init__(self, sync: _Optional[_Union[_sync_pb2.Sync, _Mapping]] = ...) -> None: ...
