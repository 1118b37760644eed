import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Notification(_message.Message):
    __slots__ = ("name", "etag", "url", "secret", "format", "events", "disabled", "create_time", "update_time")
    class Event(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EVENT_UNSPECIFIED: _ClassVar[Notification.Event]
        RUN_FAILED: _ClassVar[Notification.Event]
        COMPLETED_WITH_ERRORS: _ClassVar[Notification.Event]
        DELETES_WITHHELD: _ClassVar[Notification.Event]
        LATE: _ClassVar[Notification.Event]
        SELF_PAUSED: _ClassVar[Notification.Event]
        BLOCKED: _ClassVar[Notification.Event]
        RECOVERED: _ClassVar[Notification.Event]
        TEST: _ClassVar[Notification.Event]
    EVENT_UNSPECIFIED: Notification.Event
    RUN_FAILED: Notification.Event
    COMPLETED_WITH_ERRORS: Notification.Event
    DELETES_WITHHELD: Notification.Event
    LATE: Notification.Event
    SELF_PAUSED: Notification.Event
    BLOCKED: Notification.Event
    RECOVERED: Notification.Event
    TEST: Notification.Event
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[Notification.Format]
        CLOUD_EVENTS: _ClassVar[Notification.Format]
        SLACK: _ClassVar[Notification.Format]
    FORMAT_UNSPECIFIED: Notification.Format
    CLOUD_EVENTS: Notification.Format
    SLACK: Notification.Format
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    url: str
    secret: str
    format: Notification.Format
    events: _containers.RepeatedScalarFieldContainer[Notification.Event]
    disabled: bool
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., url: _Optional[str] = ..., secret: _Optional[str] = ..., format: _Optional[_Union[Notification.Format, str]] = ..., events: _Optional[_Iterable[_Union[Notification.Event, str]]] = ..., disabled: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("message_id", "sync", "event", "time", "state", "attempts", "status", "detail", "next_attempt_time", "end_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Delivery.State]
        WAITING: _ClassVar[Delivery.State]
        DELIVERED: _ClassVar[Delivery.State]
        DEAD: _ClassVar[Delivery.State]
    STATE_UNSPECIFIED: Delivery.State
    WAITING: Delivery.State
    DELIVERED: Delivery.State
    DEAD: Delivery.State
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    sync: str
    event: Notification.Event
    time: _timestamp_pb2.Timestamp
    state: Delivery.State
    attempts: int
    status: int
    detail: str
    next_attempt_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, message_id: _Optional[str] = ..., sync: _Optional[str] = ..., event: _Optional[_Union[Notification.Event, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[Delivery.State, str]] = ..., attempts: _Optional[int] = ..., status: _Optional[int] = ..., detail: _Optional[str] = ..., next_attempt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
