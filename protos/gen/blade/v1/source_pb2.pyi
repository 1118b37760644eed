import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Source(_message.Message):
    __slots__ = ("name", "display_name", "data_type", "enabled", "config", "mapping", "stats", "create_time", "update_time", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    MAPPING_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    data_type: str
    enabled: bool
    config: SourceConfig
    mapping: Mapping
    stats: SourceStats
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., data_type: _Optional[str] = ..., enabled: _Optional[bool] = ..., config: _Optional[_Union[SourceConfig, _Mapping]] = ..., mapping: _Optional[_Union[Mapping, _Mapping]] = ..., stats: _Optional[_Union[SourceStats, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class SourceConfig(_message.Message):
    __slots__ = ("catalog", "schema", "table", "warehouse_id", "host", "credentials", "items_per_second", "max_running_jobs", "destination")
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_JOBS_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    catalog: str
    schema: str
    table: str
    warehouse_id: str
    host: str
    credentials: str
    items_per_second: float
    max_running_jobs: int
    destination: str
    def __init__(self, catalog: _Optional[str] = ..., schema: _Optional[str] = ..., table: _Optional[str] = ..., warehouse_id: _Optional[str] = ..., host: _Optional[str] = ..., credentials: _Optional[str] = ..., items_per_second: _Optional[float] = ..., max_running_jobs: _Optional[int] = ..., destination: _Optional[str] = ...) -> None: ...

class Mapping(_message.Message):
    __slots__ = ("item_id", "last_modified", "classification", "metadata", "min_classification", "masked_columns")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    MIN_CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    MASKED_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    last_modified: str
    classification: Classification
    metadata: _containers.ScalarMap[str, str]
    min_classification: str
    masked_columns: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, item_id: _Optional[str] = ..., last_modified: _Optional[str] = ..., classification: _Optional[_Union[Classification, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., min_classification: _Optional[str] = ..., masked_columns: _Optional[_Iterable[str]] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("column", "value")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    column: str
    value: str
    def __init__(self, column: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SourceStats(_message.Message):
    __slots__ = ("item_count", "last_job_id", "last_success_time")
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    item_count: int
    last_job_id: str
    last_success_time: _timestamp_pb2.Timestamp
    def __init__(self, item_count: _Optional[int] = ..., last_job_id: _Optional[str] = ..., last_success_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ItemIdCount(_message.Message):
    __slots__ = ("row_count", "missing_count", "duplicate_count", "message")
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_COUNT_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    row_count: int
    missing_count: int
    duplicate_count: int
    message: str
    def __init__(self, row_count: _Optional[int] = ..., missing_count: _Optional[int] = ..., duplicate_count: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class TestStep(_message.Message):
    __slots__ = ("kind", "outcome", "message", "duration_ms")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[TestStep.Kind]
        RESOLVE: _ClassVar[TestStep.Kind]
        CONNECT: _ClassVar[TestStep.Kind]
        AUTHENTICATE: _ClassVar[TestStep.Kind]
        WAREHOUSE: _ClassVar[TestStep.Kind]
        TABLE: _ClassVar[TestStep.Kind]
        COLUMNS: _ClassVar[TestStep.Kind]
        FETCH_ONE_ROW: _ClassVar[TestStep.Kind]
        CAPABILITIES: _ClassVar[TestStep.Kind]
    KIND_UNSPECIFIED: TestStep.Kind
    RESOLVE: TestStep.Kind
    CONNECT: TestStep.Kind
    AUTHENTICATE: TestStep.Kind
    WAREHOUSE: TestStep.Kind
    TABLE: TestStep.Kind
    COLUMNS: TestStep.Kind
    FETCH_ONE_ROW: TestStep.Kind
    CAPABILITIES: TestStep.Kind
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[TestStep.Outcome]
        PASSED: _ClassVar[TestStep.Outcome]
        FAILED: _ClassVar[TestStep.Outcome]
        NOT_RUN: _ClassVar[TestStep.Outcome]
    OUTCOME_UNSPECIFIED: TestStep.Outcome
    PASSED: TestStep.Outcome
    FAILED: TestStep.Outcome
    NOT_RUN: TestStep.Outcome
    KIND_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    kind: TestStep.Kind
    outcome: TestStep.Outcome
    message: str
    duration_ms: float
    def __init__(self, kind: _Optional[_Union[TestStep.Kind, str]] = ..., outcome: _Optional[_Union[TestStep.Outcome, str]] = ..., message: _Optional[str] = ..., duration_ms: _Optional[float] = ...) -> None: ...
