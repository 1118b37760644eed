from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SyncCounts(_message.Message):
    __slots__ = ("created", "updated", "unchanged", "deleted", "withheld", "failed", "delete_failed")
    CREATED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    DELETE_FAILED_FIELD_NUMBER: _ClassVar[int]
    created: int
    updated: int
    unchanged: int
    deleted: int
    withheld: int
    failed: int
    delete_failed: int
    def __init__(self, created: _Optional[int] = ..., updated: _Optional[int] = ..., unchanged: _Optional[int] = ..., deleted: _Optional[int] = ..., withheld: _Optional[int] = ..., failed: _Optional[int] = ..., delete_failed: _Optional[int] = ...) -> None: ...

class SyncReport(_message.Message):
    __slots__ = ("run_number", "mode", "counts", "withheld_reason", "withheld_detail", "null_cursor_count", "watermark", "version", "above_ceiling_count", "warnings", "whole")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[SyncReport.Mode]
        FULL: _ClassVar[SyncReport.Mode]
        CHANGED: _ClassVar[SyncReport.Mode]
        INCREMENTAL: _ClassVar[SyncReport.Mode]
        CHANGE_FEED: _ClassVar[SyncReport.Mode]
    MODE_UNSPECIFIED: SyncReport.Mode
    FULL: SyncReport.Mode
    CHANGED: SyncReport.Mode
    INCREMENTAL: SyncReport.Mode
    CHANGE_FEED: SyncReport.Mode
    class Withheld(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        WITHHELD_UNSPECIFIED: _ClassVar[SyncReport.Withheld]
        ROWS_MISSING: _ClassVar[SyncReport.Withheld]
        NO_ROWS: _ClassVar[SyncReport.Withheld]
        ROWS_WITHOUT_ID: _ClassVar[SyncReport.Withheld]
        SPEC_CHANGED: _ClassVar[SyncReport.Withheld]
        MAX_DELETE_SHARE: _ClassVar[SyncReport.Withheld]
        MAX_DELETES: _ClassVar[SyncReport.Withheld]
        NOT_CONFIRMED: _ClassVar[SyncReport.Withheld]
        DESTINATION_CANNOT_DELETE: _ClassVar[SyncReport.Withheld]
        NOT_ALL_ROWS: _ClassVar[SyncReport.Withheld]
    WITHHELD_UNSPECIFIED: SyncReport.Withheld
    ROWS_MISSING: SyncReport.Withheld
    NO_ROWS: SyncReport.Withheld
    ROWS_WITHOUT_ID: SyncReport.Withheld
    SPEC_CHANGED: SyncReport.Withheld
    MAX_DELETE_SHARE: SyncReport.Withheld
    MAX_DELETES: SyncReport.Withheld
    NOT_CONFIRMED: SyncReport.Withheld
    DESTINATION_CANNOT_DELETE: SyncReport.Withheld
    NOT_ALL_ROWS: SyncReport.Withheld
    RUN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_REASON_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_DETAIL_FIELD_NUMBER: _ClassVar[int]
    NULL_CURSOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ABOVE_CEILING_COUNT_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    run_number: int
    mode: SyncReport.Mode
    counts: SyncCounts
    withheld_reason: SyncReport.Withheld
    withheld_detail: str
    null_cursor_count: int
    watermark: str
    version: int
    above_ceiling_count: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    whole: bool
    def __init__(self, run_number: _Optional[int] = ..., mode: _Optional[_Union[SyncReport.Mode, str]] = ..., counts: _Optional[_Union[SyncCounts, _Mapping]] = ..., withheld_reason: _Optional[_Union[SyncReport.Withheld, str]] = ..., withheld_detail: _Optional[str] = ..., null_cursor_count: _Optional[int] = ..., watermark: _Optional[str] = ..., version: _Optional[int] = ..., above_ceiling_count: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., whole: _Optional[bool] = ...) -> None: ...
