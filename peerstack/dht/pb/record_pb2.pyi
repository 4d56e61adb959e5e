from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Header(_message.Message):
    __slots__ = ("format", "namespace", "key", "subkey", "version_time", "renewable", "expires_at", "remember_until", "value_digest", "value_size", "writer")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SUBKEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_TIME_FIELD_NUMBER: _ClassVar[int]
    RENEWABLE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    REMEMBER_UNTIL_FIELD_NUMBER: _ClassVar[int]
    VALUE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    VALUE_SIZE_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    format: int
    namespace: str
    key: bytes
    subkey: bytes
    version_time: int
    renewable: bool
    expires_at: int
    remember_until: int
    value_digest: bytes
    value_size: int
    writer: bytes
    def __init__(self, format: _Optional[int] = ..., namespace: _Optional[str] = ..., key: _Optional[bytes] = ..., subkey: _Optional[bytes] = ..., version_time: _Optional[int] = ..., renewable: bool = ..., expires_at: _Optional[int] = ..., remember_until: _Optional[int] = ..., value_digest: _Optional[bytes] = ..., value_size: _Optional[int] = ..., writer: _Optional[bytes] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("header", "signature", "value")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    signature: bytes
    value: bytes
    def __init__(self, header: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...
