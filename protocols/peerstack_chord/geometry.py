"""The ring for the data engine: who is responsible, and what a node knows of the arc around it. Pure.

Distances run clockwise: a position belongs to the first `replicas` servers at or after it (Stoica et al. 2001, 4.2 and 6.3). So a node
holds what lies *before* it, and counts servers on both sides: its predecessors bound what it holds, its successors hold the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection
from typing import Final

from peerstack.dht.replica.geometry import KeyRange, key_range
from peerstack_chord.ring import POSITIONS

__all__ = ["RingGeometry", "RingSurroundings"]

_LAST: Final = POSITIONS - 1


class RingSurroundings:
    """Members along the ring: half of the size wanted is kept on either side, and who is on neither is let go.

    A node that counts fewer than it wants knows the whole ring; any other knows an arc. Size is twice `replicas` at least.

    Attributes:
        beyond: Members that are let go.
        whole: Whether the whole ring is known.
        region: How far back from this node positions lie that it may be among the first twice `replicas` servers of.
    """

    def __init__(self, own: int, members: Collection[int], *, replicas: int, size: int) -> None:
        """Look both ways."""
        half = _half(size)
        ahead = sorted((key - own) & _LAST for key in members)
        excess = max(0, len(ahead) - 2 * half)
        self.beyond = [(own + distance) & _LAST for distance in ahead[half : half + excess]]
        del ahead[half : half + excess]
        self.whole = len(ahead) < 2 * half
        self.region = POSITIONS - ahead[-2 * replicas] - 1 if len(ahead) >= 2 * replicas else _LAST
        self._own = own
        self._replicas = replicas
        self._half = half
        self._ahead = ahead  # clockwise from this node: the successors, then the predecessors
        in_order = [*ahead[half:], POSITIONS, *(POSITIONS + distance for distance in ahead[:half])]
        self._first = in_order[0]
        self._known = in_order[max(0, len(in_order) - replicas)] - self._first  # who is later has not its whole set within the arc

    def knows(self, position: int) -> bool:
        """See `peerstack.dht.replica.geometry.Surroundings.knows`."""
        return self.whole or (position - self._own - self._first) & _LAST <= self._known

    def is_near(self, key: int) -> bool:
        """See `peerstack.dht.replica.geometry.Surroundings.is_near`."""
        distance = (key - self._own) & _LAST
        nearer_ahead = bisect_left(self._ahead, distance)
        nearer_behind = len(self._ahead) - bisect_right(self._ahead, distance)
        return min(nearer_ahead, nearer_behind) < self._half

    def sharing(self, gone: Collection[int]) -> Collection[int]:
        """See `peerstack.dht.replica.geometry.Surroundings.sharing`."""
        reach = self._replicas + len(gone) - 1  # a set is so many servers in a row and one more, those that replace the gone included
        around = {(self._own + distance) & _LAST for distance in (*self._ahead[:reach], *self._ahead[-reach:])}
        return around if around.intersection(gone) else ()


class RingGeometry:
    """See `peerstack.dht.replica.geometry.Geometry`. A region is an arc that ends in the sender, by its length less one."""

    def distance_from(self, position: int) -> Callable[[int], int]:
        """Clockwise, from the position to the key."""
        return lambda key: (key - position) & _LAST

    def survey(self, own: int, members: Collection[int], *, replicas: int, size: int) -> RingSurroundings:
        """Look both ways along the ring."""
        return RingSurroundings(own, members, replicas=replicas, size=size)

    def reach(self, source: int, named: Collection[int], size: int) -> Callable[[int], bool]:
        """Who counts as many as it wants knows of nobody between the last one ahead and the last one behind."""
        ahead = sorted((key - source) & _LAST for key in named if key != source)
        half = _half(size)
        if len(ahead) < 2 * half:
            return lambda _key: True
        last_ahead, last_behind = ahead[half - 1], ahead[-half]
        return lambda key: not last_ahead < (key - source) & _LAST < last_behind

    def ranges(self, sender: int, region: int) -> list[KeyRange]:
        """The arc, cut in two where it passes zero."""
        if region >= _LAST:
            return [key_range(0, POSITIONS)]
        low = sender - region
        if low >= 0:
            return [key_range(low, region + 1)]
        return [key_range(0, sender + 1), key_range(low & _LAST, -low)]


def _half(size: int) -> int:
    """How many are kept on either side."""
    return (size + 1) // 2
