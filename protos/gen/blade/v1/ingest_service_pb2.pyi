from blade.v1 import access_pb2 as _access_pb2
from blade.v1 import item_pb2 as _item_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IngestItemRequest(_message.Message):
    __slots__ = ("data_type", "item_id", "source", "replace", "metadata", "destination")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    data_type: str
    item_id: str
    source: str
    replace: bool
    metadata: _containers.ScalarMap[str, str]
    destination: str
    def __init__(self, data_type: _Optional[str] = ..., item_id: _Optional[str] = ..., source: _Optional[str] = ..., replace: _Optional[bool] = ..., metadata: _Optional[_Mapping[str, str]] = ..., destination: _Optional[str] = ...) -> None: ...

class IngestItemResponse(_message.Message):
    __slots__ = ("outcome", "item", "bytes_uploaded")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[IngestItemResponse.Outcome]
        CREATED: _ClassVar[IngestItemResponse.Outcome]
        REPLACED: _ClassVar[IngestItemResponse.Outcome]
        ALREADY_EXISTS: _ClassVar[IngestItemResponse.Outcome]
    OUTCOME_UNSPECIFIED: IngestItemResponse.Outcome
    CREATED: IngestItemResponse.Outcome
    REPLACED: IngestItemResponse.Outcome
    ALREADY_EXISTS: IngestItemResponse.Outcome
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    BYTES_UPLOADED_FIELD_NUMBER: _ClassVar[int]
    outcome: IngestItemResponse.Outcome
    item: _item_pb2.Item
    bytes_uploaded: int
    def __init__(self, outcome: _Optional[_Union[IngestItemResponse.Outcome, str]] = ..., item: _Optional[_Union[_item_pb2.Item, _Mapping]] = ..., bytes_uploaded: _Optional[int] = ...) -> None: ...
