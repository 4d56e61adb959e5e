from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class NetworkParameters(_message.Message):
    __slots__ = ("k", "replicas", "r", "max_ttl_ms", "stabilise_ms", "rpc_timeout_ms", "repair_ms", "authority_loss_ms", "forget_ms")
    K_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    R_FIELD_NUMBER: _ClassVar[int]
    MAX_TTL_MS_FIELD_NUMBER: _ClassVar[int]
    STABILISE_MS_FIELD_NUMBER: _ClassVar[int]
    RPC_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    REPAIR_MS_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_LOSS_MS_FIELD_NUMBER: _ClassVar[int]
    FORGET_MS_FIELD_NUMBER: _ClassVar[int]
    k: int
    replicas: int
    r: int
    max_ttl_ms: int
    stabilise_ms: int
    rpc_timeout_ms: int
    repair_ms: int
    authority_loss_ms: int
    forget_ms: int
    def __init__(self, k: _Optional[int] = ..., replicas: _Optional[int] = ..., r: _Optional[int] = ..., max_ttl_ms: _Optional[int] = ..., stabilise_ms: _Optional[int] = ..., rpc_timeout_ms: _Optional[int] = ..., repair_ms: _Optional[int] = ..., authority_loss_ms: _Optional[int] = ..., forget_ms: _Optional[int] = ...) -> None: ...
