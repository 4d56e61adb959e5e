"""The finger table: members at distances that double, so that a lookup halves what is left of its way with every hop. Pure.

Interval i holds the members from 2^i up to 2^(i+1) positions ahead. The paper keeps the first of each; a few more give a lookup the choice
among equally useful ones, which it makes by round-trip time (ToN 2003, VI-E). Fingers only ever make lookups short: they are dropped at
the first failure, and where there are none the successor lists lead on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack_chord.ring import POSITIONS, between, clockwise

__all__ = ["FingerTable"]

_WIDTH: Final = 4
_REST: Final = 10
_NO_RTT: Final = float("inf")


class FingerTable:
    """The fingers of one node.

    Args:
        own: Its position.
        rtt: A peer's round-trip time in seconds, where known.
        width: Members per interval.
    """

    def __init__(self, own: int, *, rtt: Callable[[Contact], float | None] = lambda _contact: None, width: int = _WIDTH) -> None:
        self._own = own
        self._rtt = rtt
        self._width = width
        self._intervals: dict[int, list[Contact]] = {}  # each in clockwise order
        self._turn = KEY_BITS
        self._changed = False  # since this turn began
        self._resting = 0

    def __len__(self) -> int:
        return sum(map(len, self._intervals.values()))

    def __iter__(self) -> Iterator[Contact]:
        for interval in self._intervals.values():
            yield from interval

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and any(contact.key == key for contact in self._intervals.get(self._index(key), ()))

    def heard(self, contact: Contact) -> None:
        """Note a member that has just answered: of an interval the first stay, the latest contact of each."""
        if contact.key == self._own:
            return
        index = self._index(contact.key)
        interval = [other for other in self._intervals.get(index, ()) if other.key != contact.key]
        interval.append(contact)
        interval.sort(key=lambda other: clockwise(self._own, other.key))
        before = self._intervals.get(index, [])
        kept = self._intervals[index] = interval[: self._width]
        self._changed = self._changed or [other.key for other in kept] != [other.key for other in before]

    def failed(self, key: int) -> None:
        """Drop a member that did not answer."""
        if key == self._own:
            return
        index = self._index(key)
        before = self._intervals.get(index, ())
        interval = [contact for contact in before if contact.key != key]
        if len(interval) < len(before):
            self._changed = True
            self._resting = 0
        if interval:
            self._intervals[index] = interval
        else:
            self._intervals.pop(index, None)

    def clear(self) -> None:
        """Drop them all: the ring they lead along is not ours any more."""
        self._intervals.clear()

    def closest(self, position: int, count: int) -> list[Contact]:
        """Up to `count` members on the way from us to a position, the most useful first.

        Those that leave equally much of the way (up to a factor of two) go by their round-trip times, then by what they leave.
        """
        ahead = [contact for contact in self if between(self._own, contact.key, position)]

        def usefulness(contact: Contact) -> tuple[int, float, int]:
            left = clockwise(contact.key, position) or POSITIONS
            rtt = self._rtt(contact)
            return left.bit_length(), _NO_RTT if rtt is None else rtt, left

        return sorted(ahead, key=usefulness)[:count]

    def next_start(self, beyond: int) -> int | None:
        """The start of the next interval to look up, in turn, from the farthest down to the nearest one.

        A turn in which no finger changed is followed by a rest of ten calls: in a ring where little happens, looking fingers up would be
        most of the traffic. A finger that fails ends it.

        Args:
            beyond: Intervals up to this position (the last successor) need no finger.

        Returns:
            A position; None at rest, and if the successors reach halfway round the circle.
        """
        lowest = clockwise(self._own, beyond).bit_length()
        if lowest >= KEY_BITS:
            return None
        if self._turn <= lowest:
            self._turn = KEY_BITS
            self._resting = 0 if self._changed else _REST
            self._changed = False
        if self._resting:
            self._resting -= 1
            return None
        self._turn -= 1
        return (self._own + (1 << self._turn)) % POSITIONS

    def _index(self, key: int) -> int:
        return clockwise(self._own, key).bit_length() - 1
