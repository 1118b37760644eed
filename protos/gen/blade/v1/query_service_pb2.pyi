from blade.v1 import access_pb2 as _access_pb2
from blade.v1 import item_pb2 as _item_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class QueryItemsRequest(_message.Message):
    __slots__ = ("data_type", "source", "filter", "parameters", "columns", "order_by", "limit", "offset")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    data_type: str
    source: str
    filter: str
    parameters: _containers.ScalarMap[str, str]
    columns: _containers.RepeatedScalarFieldContainer[str]
    order_by: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    offset: int
    def __init__(self, data_type: _Optional[str] = ..., source: _Optional[str] = ..., filter: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., columns: _Optional[_Iterable[str]] = ..., order_by: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class QueryItemsResponse(_message.Message):
    __slots__ = ("items", "rejections", "more_rows")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    MORE_ROWS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[_item_pb2.Item]
    rejections: _containers.RepeatedCompositeFieldContainer[_item_pb2.ItemRejection]
    more_rows: bool
    def __init__(self, items: _Optional[_Iterable[_Union[_item_pb2.Item, _Mapping]]] = ..., rejections: _Optional[_Iterable[_Union[_item_pb2.ItemRejection, _Mapping]]] = ..., more_rows: _Optional[bool] = ...) -> None: ...

class QueryArrowRequest(_message.Message):
    __slots__ = ("data_type", "source", "filter", "parameters", "columns", "order_by", "limit", "offset", "compression")
    class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        COMPRESSION_UNSPECIFIED: _ClassVar[QueryArrowRequest.Compression]
        LZ4: _ClassVar[QueryArrowRequest.Compression]
        ZSTD: _ClassVar[QueryArrowRequest.Compression]
    COMPRESSION_UNSPECIFIED: QueryArrowRequest.Compression
    LZ4: QueryArrowRequest.Compression
    ZSTD: QueryArrowRequest.Compression
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    data_type: str
    source: str
    filter: str
    parameters: _containers.ScalarMap[str, str]
    columns: _containers.RepeatedScalarFieldContainer[str]
    order_by: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    offset: int
    compression: QueryArrowRequest.Compression
    def __init__(self, data_type: _Optional[str] = ..., source: _Optional[str] = ..., filter: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., columns: _Optional[_Iterable[str]] = ..., order_by: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ..., compression: _Optional[_Union[QueryArrowRequest.Compression, str]] = ...) -> None: ...

class QueryArrowResponse(_message.Message):
    __slots__ = ("schema", "record_batch", "trailer")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    RECORD_BATCH_FIELD_NUMBER: _ClassVar[int]
    TRAILER_FIELD_NUMBER: _ClassVar[int]
    schema: bytes
    record_batch: bytes
    trailer: ArrowTrailer
    def __init__(self, schema: _Optional[bytes] = ..., record_batch: _Optional[bytes] = ..., trailer: _Optional[_Union[ArrowTrailer, _Mapping]] = ...) -> None: ...

class ArrowTrailer(_message.Message):
    __slots__ = ("row_count",)
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    row_count: int
    def __init__(self, row_count: _Optional[int] = ...) -> None: ...

class GetItemRequest(_message.Message):
    __slots__ = ("data_type", "item_id", "source")
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    data_type: str
    item_id: str
    source: str
    def __init__(self, data_type: _Optional[str] = ..., item_id: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class GetItemResponse(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: _item_pb2.Item
    def __init__(self, item: _Optional[_Union[_item_pb2.Item, _Mapping]] = ...) -> None: ...
