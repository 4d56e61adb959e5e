from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Peer(_message.Message):
    __slots__ = ("id", "addrs", "connection")
    class ConnectionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NOT_CONNECTED: _ClassVar[Peer.ConnectionType]
        CONNECTED: _ClassVar[Peer.ConnectionType]
        CAN_CONNECT: _ClassVar[Peer.ConnectionType]
        CANNOT_CONNECT: _ClassVar[Peer.ConnectionType]
    NOT_CONNECTED: Peer.ConnectionType
    CONNECTED: Peer.ConnectionType
    CAN_CONNECT: Peer.ConnectionType
    CANNOT_CONNECT: Peer.ConnectionType
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRS_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    addrs: _containers.RepeatedScalarFieldContainer[bytes]
    connection: Peer.ConnectionType
    def __init__(self, id: _Optional[bytes] = ..., addrs: _Optional[_Iterable[bytes]] = ..., connection: _Optional[_Union[Peer.ConnectionType, str]] = ...) -> None: ...

class Servers(_message.Message):
    __slots__ = ("counted", "silentMs", "others")
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    SILENTMS_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    counted: _containers.RepeatedScalarFieldContainer[bytes]
    silentMs: _containers.RepeatedScalarFieldContainer[int]
    others: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, counted: _Optional[_Iterable[bytes]] = ..., silentMs: _Optional[_Iterable[int]] = ..., others: _Optional[_Iterable[bytes]] = ...) -> None: ...
