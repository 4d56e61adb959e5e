"""The parts that Kademlia's messages are made of on every protocol id. See `codec` and `foreign_codec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from peerstack.errors import InvalidMessage
from peerstack.rpc.data_parts import parse
from peerstack.wire import varint

if TYPE_CHECKING:
    from peerstack_kad.pb.kad_pb2 import Message

__all__ = ["MAX_PROVIDED", "MAX_PROVIDERS", "PROVIDER", "parse_message", "read_provided"]

PROVIDER: Final = varint.encode(9 << 3 | 2)
"""The tag of an entry of ``providerPeers``."""

MAX_PROVIDERS: Final = 128
"""Peers written to and read from ``providerPeers``."""
MAX_PROVIDED: Final = 1000
"""Keys of one `AddProvider`."""

_MAX_PROVIDED_BYTES: Final = 80  # go stores no longer ones


def parse_message(data: bytes) -> Message:
    """Parse a message without a look at what it says.

    Raises:
        InvalidMessage: It is none.
    """
    from peerstack_kad.pb.kad_pb2 import Message

    return parse(Message, data)


def read_provided(keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """Keys of provider records.

    Raises:
        InvalidMessage: One has not 1 to 80 bytes, or there are too many.
    """
    if not 1 <= len(keys) <= MAX_PROVIDED or any(not 1 <= len(key) <= _MAX_PROVIDED_BYTES for key in keys):
        raise InvalidMessage(f"provider records have keys of 1 to {_MAX_PROVIDED_BYTES} bytes, up to {MAX_PROVIDED} in one message")
    return tuple(keys)
