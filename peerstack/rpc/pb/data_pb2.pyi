from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OK: _ClassVar[Status]
    SUPERSEDED: _ClassVar[Status]
    FULL: _ClassVar[Status]
    NOT_RESPONSIBLE: _ClassVar[Status]
    INVALID: _ClassVar[Status]
    CLOCK: _ClassVar[Status]
    FAILED: _ClassVar[Status]
    NOT_AUTHORITATIVE: _ClassVar[Status]
    FORGOTTEN: _ClassVar[Status]
OK: Status
SUPERSEDED: Status
FULL: Status
NOT_RESPONSIBLE: Status
INVALID: Status
CLOCK: Status
FAILED: Status
NOT_AUTHORITATIVE: Status
FORGOTTEN: Status

class Record(_message.Message):
    __slots__ = ("key", "value", "timeReceived")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TIMERECEIVED_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    timeReceived: bytes
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., timeReceived: _Optional[bytes] = ...) -> None: ...

class Offered(_message.Message):
    __slots__ = ("position", "subkey", "digest", "whole", "members")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SUBKEY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    position: bytes
    subkey: bytes
    digest: bytes
    whole: bool
    members: bytes
    def __init__(self, position: _Optional[bytes] = ..., subkey: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., whole: bool = ..., members: _Optional[bytes] = ...) -> None: ...
