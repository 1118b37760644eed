from blade.v1 import access_pb2 as _access_pb2
from blade.v1 import cost_pb2 as _cost_pb2
from blade.v1 import source_pb2 as _source_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AddSourceRequest(_message.Message):
    __slots__ = ("data_type", "source", "validate_only", "request_id")
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    data_type: str
    source: _source_pb2.Source
    validate_only: bool
    request_id: str
    def __init__(self, data_type: _Optional[str] = ..., source: _Optional[_Union[_source_pb2.Source, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class AddSourceResponse(_message.Message):
    __slots__ = ("source", "steps", "item_ids")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    source: _source_pb2.Source
    steps: _containers.RepeatedCompositeFieldContainer[_source_pb2.TestStep]
    item_ids: _source_pb2.ItemIdCount
    def __init__(self, source: _Optional[_Union[_source_pb2.Source, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[_source_pb2.TestStep, _Mapping]]] = ..., item_ids: _Optional[_Union[_source_pb2.ItemIdCount, _Mapping]] = ...) -> None: ...

class GetSourceRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetSourceResponse(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: _source_pb2.Source
    def __init__(self, source: _Optional[_Union[_source_pb2.Source, _Mapping]] = ...) -> None: ...

class ListSourcesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "data_type")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    data_type: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., data_type: _Optional[str] = ...) -> None: ...

class ListSourcesResponse(_message.Message):
    __slots__ = ("sources", "next_page_token")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[_source_pb2.Source]
    next_page_token: str
    def __init__(self, sources: _Optional[_Iterable[_Union[_source_pb2.Source, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateSourceRequest(_message.Message):
    __slots__ = ("source", "update_mask")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    source: _source_pb2.Source
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, source: _Optional[_Union[_source_pb2.Source, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateSourceResponse(_message.Message):
    __slots__ = ("source", "item_ids")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    source: _source_pb2.Source
    item_ids: _source_pb2.ItemIdCount
    def __init__(self, source: _Optional[_Union[_source_pb2.Source, _Mapping]] = ..., item_ids: _Optional[_Union[_source_pb2.ItemIdCount, _Mapping]] = ...) -> None: ...

class RemoveSourceRequest(_message.Message):
    __slots__ = ("name", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class RemoveSourceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TestSourceRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class TestSourceResponse(_message.Message):
    __slots__ = ("passed", "steps", "item_ids")
    PASSED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    passed: bool
    steps: _containers.RepeatedCompositeFieldContainer[_source_pb2.TestStep]
    item_ids: _source_pb2.ItemIdCount
    def __init__(self, passed: _Optional[bool] = ..., steps: _Optional[_Iterable[_Union[_source_pb2.TestStep, _Mapping]]] = ..., item_ids: _Optional[_Union[_source_pb2.ItemIdCount, _Mapping]] = ...) -> None: ...
