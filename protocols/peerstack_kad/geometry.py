"""The XOR metric for the data engine: who is responsible, and what a node knows of the buckets around it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

from peerstack.dht.replica.contacts import KEY_BITS
from peerstack.dht.replica.geometry import KeyRange, key_range
from peerstack_kad.keys import common_prefix

__all__ = ["XorGeometry", "XorSurroundings"]

_OUTPOSTS: Final = 3  # times the replicas: how many are kept of the first bucket beyond the horizon
_MAX_BUCKET: Final = 4  # times the size: what one bucket holds at most, however crowded its range


class XorSurroundings:
    """Members by buckets: only so many buckets are kept whole that `size` members are in them, and then all that hold few.

    Of the first bucket beyond, some are kept: as long as they are there, it is known that its range needs nobody from here.

    Attributes:
        beyond: Members that are let go.
    """

    def __init__(self, own: int, members: Collection[int], *, replicas: int, size: int) -> None:
        """Draw the horizon."""
        self._own = own
        self._members = tuple(members)
        self._replicas = replicas
        self._most = _MAX_BUCKET * size
        self._sizes = Counter(common_prefix(own, key) for key in members)
        self._horizon = 0  # buckets from here on are kept whole
        closer = 0
        for prefix in sorted(self._sizes, reverse=True):
            # Of what lies in the range of a bucket with few servers, the set reaches over to us.
            if closer >= size and self._sizes[prefix] >= 2 * replicas:
                self._horizon = prefix + 1
                break
            closer += self._sizes[prefix]
        far = sorted((key for key in members if common_prefix(own, key) < self._horizon), key=own.__xor__) if self._horizon else []
        outposts = min(_OUTPOSTS * replicas, self._sizes[self._horizon - 1])
        self.beyond = far[outposts:]

    @property
    def region(self) -> int:
        """The prefix within which all keys lie that this node may be responsible for.

        Behind a bucket of twice `replicas` members, every key of that bucket's range has its whole set there.
        """
        prefix = self._horizon
        while prefix < KEY_BITS and self._sizes[prefix] >= 2 * self._replicas:
            prefix += 1
        return prefix

    def knows(self, position: int) -> bool:
        """See `peerstack.dht.replica.geometry.Surroundings.knows`."""
        return common_prefix(self._own, position) >= self._horizon

    def is_near(self, key: int) -> bool:
        """See `peerstack.dht.replica.geometry.Surroundings.is_near`."""
        prefix = common_prefix(self._own, key)
        return prefix >= self._horizon and self._sizes[prefix] < self._most

    def sharing(self, gone: Collection[int]) -> list[int]:
        """See `peerstack.dht.replica.geometry.Surroundings.sharing`."""
        wanted = self._replicas + len(gone)
        prefix = min((self._shared_prefix(key, wanted) for key in gone), default=KEY_BITS)
        return [key for key in self._members if common_prefix(self._own, key) >= prefix]

    def _shared_prefix(self, other: int, wanted: int) -> int:
        """The prefix within which all lie that are among the `wanted` closest to some key to which this node and another are too."""
        both = common_prefix(self._own, other)
        # Keys on our side of it, on its side, and in ranges that both of us lie beyond.
        shared = [both] if self._inside(both + 1) < wanted or self._sizes[both] < wanted else []
        shared += [prefix for prefix in range(self._horizon, both) if self._sizes[prefix] < wanted - 1]
        prefix = min(shared, default=KEY_BITS)
        while 0 < prefix < KEY_BITS and self._inside(prefix) < wanted:
            prefix -= 1
        return prefix

    def _inside(self, prefix: int) -> int:
        """How many servers share so many leading bits with this node, itself included."""
        return 1 + sum(count for index, count in self._sizes.items() if index >= prefix)


class XorGeometry:
    """See `peerstack.dht.replica.geometry.Geometry`. A region is a prefix of the sender's position, by its length."""

    def distance_from(self, position: int) -> Callable[[int], int]:
        """XOR, as one machine operation: no Python call per key."""
        return position.__xor__

    def survey(self, own: int, members: Collection[int], *, replicas: int, size: int) -> XorSurroundings:
        """Draw the horizon."""
        return XorSurroundings(own, members, replicas=replicas, size=size)

    def reach(self, source: int, named: Collection[int], size: int) -> Callable[[int], bool]:
        """Who counts as many as it wants knows everybody who is no farther than that many."""
        farthest = sorted(key ^ source for key in named)[size - 1] if len(named) >= size else 1 << KEY_BITS
        return lambda key: key ^ source <= farthest

    def ranges(self, sender: int, region: int) -> list[KeyRange]:
        """All positions that share `region` leading bits with the sender."""
        free = KEY_BITS - region
        return [key_range(sender >> free << free, 1 << free)]
