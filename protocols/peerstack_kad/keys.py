"""The XOR metric of the key space.

Distances are integers, so ``sorted(keys, key=target.__xor__)`` orders by distance without a Python call per element.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#distance
"""

from __future__ import annotations

from collections.abc import Iterable

from peerstack.dht.replica.contacts import KEY_BITS

__all__ = ["closest", "common_prefix", "spread"]


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
