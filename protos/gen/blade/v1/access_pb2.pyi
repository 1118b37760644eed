import datetime

from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    VIEWER: _ClassVar[Role]
    READER: _ClassVar[Role]
    OPERATOR: _ClassVar[Role]
    EDITOR: _ClassVar[Role]
    ADMIN: _ClassVar[Role]
    AUDITOR: _ClassVar[Role]
ROLE_UNSPECIFIED: Role
VIEWER: Role
READER: Role
OPERATOR: Role
EDITOR: Role
ADMIN: Role
AUDITOR: Role
ACCESS_FIELD_NUMBER: _ClassVar[int]
access: _descriptor.FieldDescriptor

class Access(_message.Message):
    __slots__ = ("role", "object", "public")
    class Object(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OBJECT_UNSPECIFIED: _ClassVar[Access.Object]
        SOURCE: _ClassVar[Access.Object]
        JOB: _ClassVar[Access.Object]
        SYNC: _ClassVar[Access.Object]
        DESTINATION: _ClassVar[Access.Object]
    OBJECT_UNSPECIFIED: Access.Object
    SOURCE: Access.Object
    JOB: Access.Object
    SYNC: Access.Object
    DESTINATION: Access.Object
    ROLE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    role: Role
    object: Access.Object
    public: bool
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., object: _Optional[_Union[Access.Object, str]] = ..., public: _Optional[bool] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("grant_id", "principal", "group", "role", "scope", "create_time", "created_by", "ceiling")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    CEILING_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    principal: str
    group: str
    role: Role
    scope: str
    create_time: _timestamp_pb2.Timestamp
    created_by: str
    ceiling: str
    def __init__(self, grant_id: _Optional[str] = ..., principal: _Optional[str] = ..., group: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., scope: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_by: _Optional[str] = ..., ceiling: _Optional[str] = ...) -> None: ...
