import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Cost(_message.Message):
    __slots__ = ("statements", "warehouse_ms", "rows_read", "bytes_read")
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    WAREHOUSE_MS_FIELD_NUMBER: _ClassVar[int]
    ROWS_READ_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    statements: int
    warehouse_ms: int
    rows_read: int
    bytes_read: int
    def __init__(self, statements: _Optional[int] = ..., warehouse_ms: _Optional[int] = ..., rows_read: _Optional[int] = ..., bytes_read: _Optional[int] = ...) -> None: ...

class SourceCost(_message.Message):
    __slots__ = ("source", "data_type", "cost")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    source: str
    data_type: str
    cost: Cost
    def __init__(self, source: _Optional[str] = ..., data_type: _Optional[str] = ..., cost: _Optional[_Union[Cost, _Mapping]] = ...) -> None: ...

class ListSourceCostsRequest(_message.Message):
    __slots__ = ("since", "page_size", "page_token")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSourceCostsResponse(_message.Message):
    __slots__ = ("costs", "next_page_token", "since")
    COSTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    costs: _containers.RepeatedCompositeFieldContainer[SourceCost]
    next_page_token: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, costs: _Optional[_Iterable[_Union[SourceCost, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
