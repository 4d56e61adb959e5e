"""Where one node stands: its life, its mode, its predecessor and its successors. Pure, and all that changes it goes through here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from peerstack.dht.replica.contacts import Contact
from peerstack_chord.ring import Member, Mode, State, clockwise
from peerstack_chord.successors import SuccessorList

__all__ = ["MAX_INCARNATION", "Place"]

MAX_INCARNATION: Final = 1 << 62
"""Nobody lives that often: higher ones are not believed."""
_MAX_ERAS: Final = 1 << 20  # that a ring may be ahead of what we know of it


class Place:
    """One node's place on the ring.

    Args:
        contact: The node.
        incarnation: Its life; higher than in any run before.
        r: Length of the successor list.
        changed: Called after each change of the predecessor or of the successors.
        latest: The highest incarnation that may be true by now, in which case somebody can outlive it.

    Attributes:
        own: The node in its present life, or in the one that is next to join.
        mode: How it stands to the ring.
        era: See `ring.State`.
        leaving: See `ring.State`.
        predecessor: Who stands before it, as far as is known; None only for the one member of a ring, and outside.
        successors: The successor list.
    """

    def __init__(
        self,
        contact: Contact,
        incarnation: int,
        r: int,
        changed: Callable[[], None],
        *,
        latest: Callable[[], int] = lambda: MAX_INCARNATION - 1,
    ) -> None:
        self.own = Member(contact, incarnation)
        self.r = r
        self.mode = Mode.OUTSIDE
        self.era = 0
        self.leaving = False
        self.predecessor: Member | None = None
        self.successors = SuccessorList(contact.key, r)
        self._changed = changed
        self._latest = latest

    @property
    def is_member(self) -> bool:
        """Whether it stands on the ring at all."""
        return self.mode is not Mode.OUTSIDE

    @property
    def neighbours(self) -> tuple[Member, ...]:
        """See `ring.State.neighbours`."""
        return self.state().neighbours

    def state(self) -> State:
        """What others are told."""
        return State(self.own, self.mode, self.era, self.predecessor, self.successors.entries, self.leaving)

    def believes(self, member: Member) -> bool:
        """Whether a node may be in this life by now."""
        return 0 <= member.incarnation <= self._latest()

    def advance(self, era: int) -> None:
        """Note that the ring has come to this era, unless that is out of all proportion."""
        if era - self.era <= _MAX_ERAS:
            self.era = max(self.era, era)

    def live_again(self, above: int = 0) -> None:
        """Begin a life that is higher than the last one, and than `above`."""
        self.own = Member(self.own.contact, max(self.own.incarnation, above) + 1)

    def leave(self) -> None:
        """Be no member any more."""
        self.mode = Mode.OUTSIDE
        self._set(None, self.successors.clear)

    def adopt(self, queried: Member, its: Sequence[Member]) -> None:
        """Take over the list of a member that answered: see `SuccessorList.adopt`."""
        if self.successors.adopt(queried, its):
            self._changed()

    def drop(self, dead: Member) -> None:
        """Drop a dead successor: see `SuccessorList.drop`. A dead predecessor stays until somebody takes its place."""
        if self.successors.drop(dead):
            self._changed()

    def follow(self, predecessor: Member) -> None:
        """Have a new predecessor."""
        if predecessor != self.predecessor:
            self._set(predecessor, lambda: None)

    def enter(self, era: int, predecessor: Member, successors: Iterable[Member]) -> None:
        """Join the ring behind a member, with its list."""
        self.mode, self.era = Mode.RING, era
        self._set(predecessor, lambda: self.successors.copy(successors))

    def arrange(self, mode: Mode, era: int, members: Iterable[Member]) -> None:
        """Stand where one stands among these: for who knows everybody."""
        others = sorted((each for each in members if each.key != self.own.key), key=lambda each: clockwise(self.own.key, each.key))
        self.mode, self.era = mode, era
        self._set(others[-1] if others else None, lambda: self.successors.copy(others))

    def _set(self, predecessor: Member | None, change_successors: Callable[[], object]) -> None:
        before = self.predecessor, self.successors.version
        self.predecessor = predecessor
        change_successors()
        if (self.predecessor, self.successors.version) != before:
            self._changed()
