from peerstack.rpc.pb import data_pb2 as _data_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Message(_message.Message):
    __slots__ = ("type", "key", "record", "closerPeers", "providerPeers", "clusterLevelRaw", "requestId", "parameters", "status", "reason", "authoritative", "responsible", "subkey", "records", "position", "prefix", "settled", "known", "silentMs", "outcomes", "offered", "answers", "digest", "keys")
    class MessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PUT_VALUE: _ClassVar[Message.MessageType]
        GET_VALUE: _ClassVar[Message.MessageType]
        ADD_PROVIDER: _ClassVar[Message.MessageType]
        GET_PROVIDERS: _ClassVar[Message.MessageType]
        FIND_NODE: _ClassVar[Message.MessageType]
        PING: _ClassVar[Message.MessageType]
        PULL: _ClassVar[Message.MessageType]
        PUSH: _ClassVar[Message.MessageType]
        LEAVE: _ClassVar[Message.MessageType]
        OFFER: _ClassVar[Message.MessageType]
    PUT_VALUE: Message.MessageType
    GET_VALUE: Message.MessageType
    ADD_PROVIDER: Message.MessageType
    GET_PROVIDERS: Message.MessageType
    FIND_NODE: Message.MessageType
    PING: Message.MessageType
    PULL: Message.MessageType
    PUSH: Message.MessageType
    LEAVE: Message.MessageType
    OFFER: Message.MessageType
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    CLOSERPEERS_FIELD_NUMBER: _ClassVar[int]
    PROVIDERPEERS_FIELD_NUMBER: _ClassVar[int]
    CLUSTERLEVELRAW_FIELD_NUMBER: _ClassVar[int]
    REQUESTID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AUTHORITATIVE_FIELD_NUMBER: _ClassVar[int]
    RESPONSIBLE_FIELD_NUMBER: _ClassVar[int]
    SUBKEY_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    SILENTMS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    type: Message.MessageType
    key: bytes
    record: _data_pb2.Record
    closerPeers: _containers.RepeatedScalarFieldContainer[bytes]
    providerPeers: _containers.RepeatedScalarFieldContainer[bytes]
    clusterLevelRaw: int
    requestId: int
    parameters: bytes
    status: _data_pb2.Status
    reason: str
    authoritative: bool
    responsible: _containers.RepeatedScalarFieldContainer[bytes]
    subkey: bytes
    records: _containers.RepeatedScalarFieldContainer[bytes]
    position: bytes
    prefix: int
    settled: bool
    known: bool
    silentMs: _containers.RepeatedScalarFieldContainer[int]
    outcomes: _containers.RepeatedScalarFieldContainer[_data_pb2.Status]
    offered: _containers.RepeatedCompositeFieldContainer[_data_pb2.Offered]
    answers: bytes
    digest: bytes
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, type: _Optional[_Union[Message.MessageType, str]] = ..., key: _Optional[bytes] = ..., record: _Optional[_Union[_data_pb2.Record, _Mapping]] = ..., closerPeers: _Optional[_Iterable[bytes]] = ..., providerPeers: _Optional[_Iterable[bytes]] = ..., clusterLevelRaw: _Optional[int] = ..., requestId: _Optional[int] = ..., parameters: _Optional[bytes] = ..., status: _Optional[_Union[_data_pb2.Status, str]] = ..., reason: _Optional[str] = ..., authoritative: bool = ..., responsible: _Optional[_Iterable[bytes]] = ..., subkey: _Optional[bytes] = ..., records: _Optional[_Iterable[bytes]] = ..., position: _Optional[bytes] = ..., prefix: _Optional[int] = ..., settled: bool = ..., known: bool = ..., silentMs: _Optional[_Iterable[int]] = ..., outcomes: _Optional[_Iterable[_Union[_data_pb2.Status, str]]] = ..., offered: _Optional[_Iterable[_Union[_data_pb2.Offered, _Mapping]]] = ..., answers: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., keys: _Optional[_Iterable[bytes]] = ...) -> None: ...
