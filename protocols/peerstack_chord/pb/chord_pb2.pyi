from peerstack.rpc.pb import data_pb2 as _data_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Member(_message.Message):
    __slots__ = ("peer", "incarnation")
    PEER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    peer: bytes
    incarnation: int
    def __init__(self, peer: _Optional[bytes] = ..., incarnation: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("member", "status")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        JOINING: _ClassVar[Entry.Status]
        UP: _ClassVar[Entry.Status]
        LEAVING: _ClassVar[Entry.Status]
        GONE: _ClassVar[Entry.Status]
    JOINING: Entry.Status
    UP: Entry.Status
    LEAVING: Entry.Status
    GONE: Entry.Status
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    member: Member
    status: Entry.Status
    def __init__(self, member: _Optional[_Union[Member, _Mapping]] = ..., status: _Optional[_Union[Entry.Status, str]] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("type", "key", "record", "closerPeers", "requestId", "parameters", "status", "reason", "authoritative", "responsible", "subkey", "records", "position", "settled", "known", "outcomes", "silentMs", "offered", "answers", "digest", "member", "mode", "era", "predecessor", "successors", "verdict", "entries", "contact", "region", "leaving")
    class MessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PUT_VALUE: _ClassVar[Message.MessageType]
        GET_VALUE: _ClassVar[Message.MessageType]
        FIND_NODE: _ClassVar[Message.MessageType]
        PING: _ClassVar[Message.MessageType]
        PULL: _ClassVar[Message.MessageType]
        PUSH: _ClassVar[Message.MessageType]
        LEAVE: _ClassVar[Message.MessageType]
        OFFER: _ClassVar[Message.MessageType]
        GET_STATE: _ClassVar[Message.MessageType]
        JOIN: _ClassVar[Message.MessageType]
        NOTIFY: _ClassVar[Message.MessageType]
        EXCHANGE_MAP: _ClassVar[Message.MessageType]
        DEPART: _ClassVar[Message.MessageType]
        MEET: _ClassVar[Message.MessageType]
        NOT_MEMBER: _ClassVar[Message.MessageType]
    PUT_VALUE: Message.MessageType
    GET_VALUE: Message.MessageType
    FIND_NODE: Message.MessageType
    PING: Message.MessageType
    PULL: Message.MessageType
    PUSH: Message.MessageType
    LEAVE: Message.MessageType
    OFFER: Message.MessageType
    GET_STATE: Message.MessageType
    JOIN: Message.MessageType
    NOTIFY: Message.MessageType
    EXCHANGE_MAP: Message.MessageType
    DEPART: Message.MessageType
    MEET: Message.MessageType
    NOT_MEMBER: Message.MessageType
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTSIDE: _ClassVar[Message.Mode]
        FORMING: _ClassVar[Message.Mode]
        RING: _ClassVar[Message.Mode]
    OUTSIDE: Message.Mode
    FORMING: Message.Mode
    RING: Message.Mode
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        JOINED: _ClassVar[Message.Verdict]
        ON_THE_MAP: _ClassVar[Message.Verdict]
        ELSEWHERE: _ClassVar[Message.Verdict]
        BUSY: _ClassVar[Message.Verdict]
    JOINED: Message.Verdict
    ON_THE_MAP: Message.Verdict
    ELSEWHERE: Message.Verdict
    BUSY: Message.Verdict
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    CLOSERPEERS_FIELD_NUMBER: _ClassVar[int]
    REQUESTID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AUTHORITATIVE_FIELD_NUMBER: _ClassVar[int]
    RESPONSIBLE_FIELD_NUMBER: _ClassVar[int]
    SUBKEY_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    SILENTMS_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    ERA_FIELD_NUMBER: _ClassVar[int]
    PREDECESSOR_FIELD_NUMBER: _ClassVar[int]
    SUCCESSORS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    type: Message.MessageType
    key: bytes
    record: _data_pb2.Record
    closerPeers: _containers.RepeatedScalarFieldContainer[bytes]
    requestId: int
    parameters: bytes
    status: _data_pb2.Status
    reason: str
    authoritative: bool
    responsible: _containers.RepeatedScalarFieldContainer[bytes]
    subkey: bytes
    records: _containers.RepeatedScalarFieldContainer[bytes]
    position: bytes
    settled: bool
    known: bool
    outcomes: _containers.RepeatedScalarFieldContainer[_data_pb2.Status]
    silentMs: _containers.RepeatedScalarFieldContainer[int]
    offered: _containers.RepeatedCompositeFieldContainer[_data_pb2.Offered]
    answers: bytes
    digest: bytes
    member: Member
    mode: Message.Mode
    era: int
    predecessor: Member
    successors: _containers.RepeatedCompositeFieldContainer[Member]
    verdict: Message.Verdict
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    contact: bytes
    region: bytes
    leaving: bool
    def __init__(self, type: _Optional[_Union[Message.MessageType, str]] = ..., key: _Optional[bytes] = ..., record: _Optional[_Union[_data_pb2.Record, _Mapping]] = ..., closerPeers: _Optional[_Iterable[bytes]] = ..., requestId: _Optional[int] = ..., parameters: _Optional[bytes] = ..., status: _Optional[_Union[_data_pb2.Status, str]] = ..., reason: _Optional[str] = ..., authoritative: bool = ..., responsible: _Optional[_Iterable[bytes]] = ..., subkey: _Optional[bytes] = ..., records: _Optional[_Iterable[bytes]] = ..., position: _Optional[bytes] = ..., settled: bool = ..., known: bool = ..., outcomes: _Optional[_Iterable[_Union[_data_pb2.Status, str]]] = ..., silentMs: _Optional[_Iterable[int]] = ..., offered: _Optional[_Iterable[_Union[_data_pb2.Offered, _Mapping]]] = ..., answers: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., member: _Optional[_Union[Member, _Mapping]] = ..., mode: _Optional[_Union[Message.Mode, str]] = ..., era: _Optional[int] = ..., predecessor: _Optional[_Union[Member, _Mapping]] = ..., successors: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., verdict: _Optional[_Union[Message.Verdict, str]] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., contact: _Optional[bytes] = ..., region: _Optional[bytes] = ..., leaving: bool = ...) -> None: ...
