"""The key space: 256 bits, SHA-256 of peer ids and wire keys, the XOR metric.

Positions and distances are integers: comparing, XOR and the common prefix are then one machine operation each, and ``sorted(keys,
key=target.__xor__)`` orders by distance without a Python call per element.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#distance
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from peerstack.identity import PeerId

__all__ = ["KEY_BITS", "Contact", "closest", "common_prefix", "key_bytes", "key_of", "position_of", "spread"]

KEY_BITS: Final = 256


def position_of(wire_key: bytes) -> int:
    """Where a wire key lies: SHA-256 of its bytes."""
    return int.from_bytes(hashlib.sha256(wire_key).digest(), "big")


def key_of(peer_id: PeerId) -> int:
    """Where a peer lies: SHA-256 of its id's bytes."""
    return position_of(peer_id.to_bytes())


def key_bytes(key: int) -> bytes:
    """A position as 32 bytes."""
    return key.to_bytes(KEY_BITS // 8, "big")


def common_prefix(a: int, b: int) -> int:
    """How many leading bits two positions share: 256 for equal ones."""
    return KEY_BITS - (a ^ b).bit_length()


def closest(keys: Iterable[int], target: int, count: int) -> list[int]:
    """The `count` positions closest to `target`, closest first."""
    return sorted(keys, key=target.__xor__)[:count]


def spread(own: int, prefix: int, noise: int) -> int:
    """A position that shares exactly `prefix` leading bits with `own`; `noise` (256 random bits) fills the rest."""
    tail = KEY_BITS - prefix - 1
    return ((own >> tail) ^ 1) << tail | noise & ((1 << tail) - 1)


@dataclass(slots=True, eq=False)
class Contact:
    """A server of the DHT as others are told of it: who, where in the key space, and how to reach it. Never changed once made."""

    peer_id: PeerId
    key: int
    addresses: tuple[bytes, ...] = ()
    """Binary multiaddrs, parsed only when they are dialled."""
    encoded: bytes | None = field(default=None, repr=False)
    """Its message, kept by the codec."""

    @classmethod
    def of(cls, peer_id: PeerId, addresses: tuple[bytes, ...] = ()) -> Contact:
        """Make the contact of a peer."""
        return cls(peer_id, key_of(peer_id), addresses)
