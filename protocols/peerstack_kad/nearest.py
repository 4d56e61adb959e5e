"""Which keys to keep when not all fit: those closest to the node, so that no flood of others drives out what it is responsible for."""

from __future__ import annotations

from bisect import bisect_left, insort

from peerstack.dht.replica.contacts import position_of

__all__ = ["NearestKeys"]


class NearestKeys:
    """A bounded set of keys.

    Args:
        own: The node's position.
        limit: How many keys.
    """

    def __init__(self, own: int, limit: int) -> None:
        self._own = own
        self._limit = limit
        self._order: list[int] = []  # distances, ascending
        self._keys: dict[int, bytes] = {}  # by distance

    def add(self, key: bytes) -> tuple[bool, bytes | None]:
        """Add a key; whether it is in now, and which other one has to go for it."""
        distance = position_of(key) ^ self._own
        if distance in self._keys:
            return True, None
        evicted = None
        if len(self._order) >= self._limit:
            if distance > self._order[-1]:
                return False, None
            evicted = self._keys.pop(self._order.pop())
        insort(self._order, distance)
        self._keys[distance] = key
        return True, evicted

    def discard(self, key: bytes) -> None:
        """Take a key out, if it is in."""
        distance = position_of(key) ^ self._own
        if self._keys.pop(distance, None) is not None:
            del self._order[bisect_left(self._order, distance)]
