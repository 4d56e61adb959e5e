"""The map that everybody keeps of a ring that forms. Pure.

Node -> (life, joining or up or leaving or gone). Of two entries for one node the higher life counts, and of one life the later standing; so
maps can be merged in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from peerstack.dht.replica.contacts import key_bytes
from peerstack_chord.messages import Entry, Status
from peerstack_chord.ring import Member

__all__ = ["MAP_ENTRIES_PER_PLACE", "MemberMap"]

MAP_ENTRIES_PER_PLACE: Final = 8
"""Of a map, for each of the r + 2 members with which the ring has formed."""


class MemberMap:
    """Who lives which life, and how far that has come. Merging is commutative, associative and idempotent.

    Args:
        limit: Entries at most; a live one takes the place of the oldest of those gone.
        believes: Whether a life may be true.
    """

    def __init__(self, limit: int, believes: Callable[[Member], bool] = lambda _member: True) -> None:
        self._limit = limit
        self._believes = believes
        self._entries: dict[int, Entry] = {}
        self._in_order: tuple[Entry, ...] | None = ()
        self._digest: bytes | None = None

    def __contains__(self, member: object) -> bool:
        return isinstance(member, Member) and (entry := self._entries.get(member.key)) is not None and entry.member == member

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of it, in the order of positions."""
        if self._in_order is None:
            self._in_order = tuple(self._entries[key] for key in sorted(self._entries))
        return self._in_order

    @property
    def digest(self) -> bytes:
        """What stands for all of it but the addresses: two maps with the same one would not change each other."""
        if self._digest is None:
            said = ((entry.member.key, entry.member.incarnation, entry.status) for entry in self.entries)
            parts = [key_bytes(key) + incarnation.to_bytes(8, "big") + bytes([status]) for key, incarnation, status in said]
            self._digest = hashlib.sha256(b"".join(parts)).digest()
        return self._digest

    @property
    def up(self) -> list[Member]:
        """The members that stay, in the order of positions."""
        return [entry.member for entry in self.entries if entry.status is Status.UP]

    @property
    def members(self) -> list[Member]:
        """Those who are up, and those who leave but still answer."""
        return [entry.member for entry in self.entries if entry.status in (Status.UP, Status.LEAVING)]

    @property
    def joining(self) -> tuple[Entry, ...]:
        """Those who join, in the order of positions."""
        return tuple(entry for entry in self.entries if entry.status is Status.JOINING)

    @property
    def live(self) -> list[Member]:
        """The members and those who join."""
        return [entry.member for entry in self.entries if entry.status is not Status.GONE]

    def get(self, key: int) -> Entry | None:
        """What is said of one node."""
        return self._entries.get(key)

    def merge(self, entries: Iterable[Entry]) -> bool:
        """Take in another map; returns whether this one changed."""
        changed = False
        for entry in entries:
            known = self._entries.get(entry.member.key)
            if known is not None and (entry.member.incarnation, entry.status) <= (known.member.incarnation, known.status):
                continue
            if self._believes(entry.member) and (known is not None or self._make_room(entry)):
                self._entries[entry.member.key] = entry
                changed = True
        if changed:
            self._in_order = self._digest = None
        return changed

    def _make_room(self, entry: Entry) -> bool:
        if len(self._entries) < self._limit:
            return True
        gone = (key for key, each in self._entries.items() if each.status is Status.GONE)
        oldest = None if entry.status is Status.GONE else next(gone, None)
        if oldest is None:
            return False
        del self._entries[oldest]
        return True
