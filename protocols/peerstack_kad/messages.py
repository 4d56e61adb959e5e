"""Requests and replies that only Kademlia has, beside those of `peerstack.dht.replica.messages`.

`AddProvider` and `GetProviders` are libp2p's and served on every id. `GetRaw` and `PutRaw` are what GET_VALUE and PUT_VALUE mean on
foreign ids, where values have no header and no signature of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from peerstack.dht.contract import Refusal
from peerstack.dht.replica.contacts import Contact, position_of
from peerstack.dht.replica.messages import Reply, Request

__all__ = ["AddProvider", "GetProviders", "GetRaw", "ProvidersReply", "PutRaw", "RawReply", "Taken"]


@dataclass(slots=True)
class AddProvider(Request):
    """The sender has what these keys name."""

    keys: tuple[bytes, ...]
    """1 to 80 bytes each; on foreign ids one is sent after the other."""
    providers: tuple[Contact, ...]
    """Only the sender's own entry counts."""


@dataclass(slots=True)
class GetProviders(Request):
    """Name who has what a key names, and the closest servers."""

    key: bytes
    position: int

    @classmethod
    def of(cls, key: bytes) -> GetProviders:
        """Ask for the providers of a key."""
        return cls(key, position_of(key))


@dataclass(slots=True)
class GetRaw(Request):
    """Answer with the value of a key, and name the closest servers."""

    key: bytes
    """Namespace and all: ``/pk/...``."""
    position: int

    @classmethod
    def of(cls, key: bytes) -> GetRaw:
        """Ask for the value of a key."""
        return cls(key, position_of(key))


@dataclass(slots=True)
class PutRaw(Request):
    """Store a value."""

    key: bytes
    value: bytes
    time_us: int
    """When it is written, microseconds since 1970: js reads no record without a time."""


@dataclass(slots=True)
class ProvidersReply(Reply):
    """Who has it, as far as is known, and the closest servers."""

    providers: tuple[Contact, ...]
    closer: tuple[Contact, ...]


@dataclass(slots=True)
class RawReply(Reply):
    """What is held of a key, when it was received (microseconds since 1970), and the closest servers."""

    value: bytes | None
    time_us: int
    closer: tuple[Contact, ...]


@dataclass(slots=True)
class Taken(Reply):
    """Answers `PutRaw` and `AddProvider`; a refusal resets the stream on foreign ids."""

    refusal: Refusal | None = None
    time_us: int = 0
    """When the value was stored."""
