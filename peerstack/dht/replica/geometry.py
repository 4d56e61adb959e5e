"""The metric of one DHT, and what follows from it for the servers around a node. Pure.

Everything a node does with records is the same in every DHT here, but for two things: who is closest to a position, and how the rest of the
key space lies around a node. A plugin's `Geometry` says both: Kademlia's by XOR, Chord's along the ring.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from peerstack.dht.replica.contacts import KEY_BITS, key_bytes

__all__ = ["Geometry", "KeyRange", "Surroundings", "closest", "key_range"]

KeyRange = tuple[bytes, bytes | None]
"""The first position, and the first beyond (None: the end of the key space)."""


class Surroundings(Protocol):
    """The key space as a node sees it that counts certain members. Never changed once made.

    Attributes:
        beyond: Members that are let go: others, closer to this node, are enough.
        region: What this node asks others for when it takes over: all positions that it may be among the holders of.
    """

    @property
    def beyond(self) -> Collection[int]:
        """See above."""

    @property
    def region(self) -> int:
        """See above."""

    def knows(self, position: int) -> bool:
        """Whether a key lies so near that all who may be responsible are counted; of what lies beyond, others hold whole sets."""

    def is_near(self, key: int) -> bool:
        """Whether a server at `key` would be kept as a member."""

    def sharing(self, gone: Collection[int]) -> Collection[int]:
        """Members that stand in the set of some key together with this node and one of `gone`, before or after the gone are let go.

        Naming more of them costs messages, naming fewer costs records.
        """


class Geometry(Protocol):
    """How servers are ordered around a position, and positions around a server."""

    def distance_from(self, position: int) -> Callable[[int], int]:
        """The distance of keys from a position, as a function of the key: 0 for the position itself, never the same for two keys.

        The `replicas` servers of the least distance are responsible for the position.
        """

    def survey(self, own: int, members: Collection[int], *, replicas: int, size: int) -> Surroundings:
        """Look around.

        Args:
            own: Where this node lies.
            members: Where all those lie that it counts, itself left out.
            replicas: Servers responsible for a key.
            size: Members wanted; more need not be kept.
        """

    def reach(self, source: int, named: Collection[int], size: int) -> Callable[[int], bool]:
        """Whether a server at a key would be among those that a source counts, as a function of the key.

        Args:
            source: Where the source lies.
            named: Everybody it counts, itself included.
            size: Members it wants.
        """

    def ranges(self, sender: int, region: int) -> list[KeyRange]:
        """The region that the node at `sender` asks for, as ranges that do not overlap, in ascending order."""


def closest(geometry: Geometry, keys: Iterable[int], position: int, count: int) -> list[int]:
    """The `count` keys closest to a position, closest first."""
    return sorted(keys, key=geometry.distance_from(position))[:count]


def key_range(low: int, size: int) -> KeyRange:
    """The range of `size` positions from `low` on; it does not reach past the end of the key space."""
    high = low + size
    return key_bytes(low), None if high >> KEY_BITS else key_bytes(high)
