"""The messages that every DHT of ours has, as protobuf: each plugin's `.proto` declares them alike, made of `data.proto`'s parts. Pure."""

# ruff: noqa: D102, N802  (protobuf fields, described in docs/protocols/servers.md)

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from peerstack.rpc.codec import Envelope
from peerstack.wire import varint

if TYPE_CHECKING:
    from peerstack.rpc.pb.data_pb2 import Offered, Record

__all__ = ["CLOSER", "RESPONSIBLE", "DataMessage", "Fields", "Kind"]

Fields = dict[str, Any]
"""Fields of a message to be written, by name."""

CLOSER: Final = varint.encode(8 << 3 | 2)
"""The tag of an entry of ``closerPeers``."""
RESPONSIBLE: Final = varint.encode(1005 << 3 | 2)
"""The tag of an entry of ``responsible``."""


class Kind(enum.IntEnum):
    """The types that are the same in every DHT; libp2p's below 1000."""

    PUT_VALUE = 0
    GET_VALUE = 1
    FIND_NODE = 4
    PING = 5
    PULL = 1000
    PUSH = 1001
    LEAVE = 1002
    OFFER = 1003


class DataMessage(Envelope, Protocol):
    """A protobuf message with the shared fields, for reading."""

    def __init__(self, **fields: Any) -> None: ...
    @property
    def type(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def record(self) -> Record: ...
    @property
    def closerPeers(self) -> Sequence[bytes]: ...
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def authoritative(self) -> bool: ...
    @property
    def responsible(self) -> Sequence[bytes]: ...
    @property
    def subkey(self) -> bytes: ...
    @property
    def records(self) -> Sequence[bytes]: ...
    @property
    def position(self) -> bytes: ...
    @property
    def settled(self) -> bool: ...
    @property
    def known(self) -> bool: ...
    @property
    def silentMs(self) -> Sequence[int]: ...
    @property
    def outcomes(self) -> Sequence[int]: ...
    @property
    def offered(self) -> Sequence[Offered]: ...
    @property
    def answers(self) -> bytes: ...
    @property
    def digest(self) -> bytes: ...
    def HasField(self, field_name: str, /) -> bool: ...
    def ParseFromString(self, serialized: bytes, /) -> int: ...
    def SerializeToString(self) -> bytes: ...
