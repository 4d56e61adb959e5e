"""The successor list: r places, taken over whole from a node that was asked, never entry by entry. Pure.

It is the paper's with placeholders left out: a list with fewer than r entries is padded in its last places (see `ring.State`). What makes
Chord correct is what this object cannot do: adopt a node that was not asked, or leave a gap between two entries.

Source: Zave, "Reasoning about Identifier Spaces: How to Make Chord Correct" (IEEE TSE 2017), section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from peerstack_chord.ring import Member, clockwise

__all__ = ["SuccessorList"]


class SuccessorList:
    """The next r members clockwise from a position.

    Attributes:
        own: The position.
        r: How many entries it has at most.
        version: Grows with every change: an answer counts only if the list is still the one it was asked for.
    """

    def __init__(self, own: int, r: int) -> None:
        """Make an empty list.

        Args:
            own: The position whose successors these are.
            r: The number of places.
        """
        self.own = own
        self.r = r
        self.version = 0
        self._entries: tuple[Member, ...] = ()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._entries)

    @property
    def entries(self) -> tuple[Member, ...]:
        """All entries, clockwise."""
        return self._entries

    @property
    def first(self) -> Member | None:
        """The next member, dead or alive; None if the list has run out."""
        return self._entries[0] if self._entries else None

    def adopt(self, queried: Member, its: Iterable[Member]) -> bool:
        """Become a member and its successors: it has just answered, with this list.

        Returns:
            Whether anything changed.
        """
        return self._become((queried, *its))

    def copy(self, its: Iterable[Member]) -> bool:
        """Take over the whole list of the member that lets us join between itself and its first successor.

        Returns:
            Whether anything changed.
        """
        return self._become(its)

    def drop(self, dead: Member) -> bool:
        """Drop an entry that is dead: the others move up, the last place is padded. Another life of the same node stays.

        Returns:
            Whether it was there.
        """
        return self._set(tuple(entry for entry in self._entries if entry != dead))

    def clear(self) -> None:
        """Drop everything: one is no member any more."""
        self._set(())

    def comes_round(self, its: Iterable[Member]) -> bool:
        """Whether a successor's list reaches our own position: the ring has no more than r + 1 members."""
        return any(entry.key == self.own for entry in its)

    def _become(self, members: Iterable[Member]) -> bool:
        """What is told must go clockwise and end before our own position: no answer can bring disorder, duplicates or ourselves."""
        entries: list[Member] = []
        reached = 0
        for member in members:
            distance = clockwise(self.own, member.key)
            if distance <= reached or len(entries) == self.r:
                break
            reached = distance
            entries.append(member)
        return self._set(tuple(entries))

    def _set(self, entries: tuple[Member, ...]) -> bool:
        if entries == self._entries:
            return False
        self._entries = entries
        self.version += 1
        return True
