"""The ring: positions, who stands on it, and Zave's invariant over all of its members.

Positions are 256-bit integers, SHA-256 of peer ids, in a circle: going *clockwise* is going up, and past the highest comes 0.

Source: Stoica et al., "Chord: A Scalable Peer-to-Peer Lookup Protocol for Internet Applications" (IEEE/ACM ToN 2003); Zave, "Reasoning
about Identifier Spaces: How to Make Chord Correct" (IEEE TSE 2017), whose names the predicates bear.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from peerstack.dht.replica.contacts import KEY_BITS, Contact

__all__ = [
    "POSITIONS",
    "Member",
    "Mode",
    "State",
    "between",
    "clockwise",
    "connected_appendages",
    "ideal",
    "in_range",
    "no_duplicates",
    "one_live_successor",
    "one_ordered_ring",
    "ordered_successor_lists",
    "principals",
    "ring_of",
    "sufficient_principals",
    "zave_invariant",
]

POSITIONS: Final = 1 << KEY_BITS
"""All there are on the circle."""
_MASK: Final = POSITIONS - 1


def clockwise(start: int, end: int) -> int:
    """How far it is from one position to another, going up: 0 to 2^256 - 1."""
    return (end - start) & _MASK


def between(low: int, position: int, high: int) -> bool:
    """Whether a position lies on the open arc from `low` to `high`; from a position to itself leads the whole circle but for it."""
    if low < high:
        return low < position < high
    return position > low or position < high


def in_range(low: int, position: int, high: int) -> bool:
    """Whether a position lies on the half-open arc ``(low, high]``: what `high` owns if `low` is its predecessor."""
    return position == high or between(low, position, high)


class Mode(enum.IntEnum):
    """How a node stands to the ring."""

    OUTSIDE = 0
    """It is no member: not joined yet, or left."""
    FORMING = 1
    """A member of a ring of at most r + 1 (or about to be more), where everybody knows everybody."""
    RING = 2
    """A member that knows its predecessor and r successors."""


@dataclass(slots=True, eq=False)
class Member:
    """A node in one of its lives. Two are equal if they stand for the same life of the same node. Never changed once made."""

    contact: Contact
    incarnation: int
    """Higher in every later life, and after every attempt to join."""

    @property
    def key(self) -> int:
        """Where it stands."""
        return self.contact.key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Member):
            return NotImplemented
        return self.contact.key == other.contact.key and self.incarnation == other.incarnation

    def __hash__(self) -> int:
        return hash((self.contact.key, self.incarnation))


@dataclass(slots=True)
class State:
    """Where a member stands, as it tells others and as the predicates below judge it."""

    member: Member
    mode: Mode
    era: int
    """How often the ring was small and grew: forming in era e comes before the ring of era e, that before forming in era e + 1."""
    predecessor: Member | None
    successors: tuple[Member, ...]
    """At most r, clockwise. A shorter list is padded: the places missing at its end are placeholders just past its last entry,
    which skip nobody (TSE 2017, 5.2)."""
    leaving: bool = False
    """Whether it is about to leave: who counts those that stay does not count it."""

    @property
    def extended(self) -> tuple[Member, ...]:
        """The extended successor list: itself, then its successors."""
        return (self.member, *self.successors)

    @property
    def neighbours(self) -> tuple[Member, ...]:
        """Its successors, and its predecessor, who may be one of them."""
        return (*self.successors, *(() if self.predecessor is None else (self.predecessor,)))


def one_live_successor(states: Sequence[State]) -> bool:
    """OneLiveSuccessor: every member's successor list names a live member."""
    live = {state.member for state in states}
    return all(any(entry in live for entry in state.successors) for state in states)


def principals(states: Iterable[State], lists: Iterable[Sequence[Member]]) -> list[Member]:
    """The members that no extended successor list skips.

    Args:
        states: All live members.
        lists: The extended successor lists that count: those of `states`, and where answers are under way, what they will become.
    """
    found = [state.member for state in states]
    for extended in lists:
        found = [member for member in found if not _skips(extended, member)]
    return found


def sufficient_principals(states: Sequence[State], r: int) -> bool:
    """SufficientPrincipals: at least r + 1 members are skipped by nobody."""
    return len(principals(states, [state.extended for state in states])) > r


def zave_invariant(states: Sequence[State], r: int) -> bool:
    """The inductive invariant, of which the four properties below follow."""
    return one_live_successor(states) and sufficient_principals(states, r)


def no_duplicates(states: Sequence[State]) -> bool:
    """NoDuplicates: no extended successor list names anybody twice."""
    return all(len({entry.key for entry in state.extended}) == len(state.extended) for state in states)


def ordered_successor_lists(states: Sequence[State]) -> bool:
    """OrderedSuccessorLists: of any three entries of an extended successor list the second lies between the others."""
    for state in states:
        distances = [clockwise(state.member.key, entry.key) for entry in state.extended]
        if any(later <= earlier for earlier, later in pairwise(distances)):
            return False
    return True


def one_ordered_ring(states: Sequence[State]) -> bool:
    """OneOrderedRing: following first live successors there is one ring, and it goes round once."""
    ring = ring_of(states)
    if not ring:
        return False
    laps = sum(clockwise(a.key, b.key) for a, b in zip(ring, [*ring[1:], ring[0]], strict=True))
    return len(ring) == 1 or laps == POSITIONS


def connected_appendages(states: Sequence[State]) -> bool:
    """ConnectedAppendages: from every member first live successors lead to the ring."""
    ring = set(ring_of(states))
    following = _following(states)
    return bool(ring) and all(any(reached in ring for reached in _walk(state.member, following)) for state in states)


def ring_of(states: Sequence[State]) -> list[Member]:
    """Those who come back to themselves along first live successors; empty if there are none, or more than one ring of them."""
    following = _following(states)
    on_ring = [state.member for state in states if state.member in list(_walk(state.member, following))]
    if not on_ring:
        return []
    ring = list(_walk(on_ring[0], following))
    return ring if set(ring) == set(on_ring) else []


def ideal(states: Sequence[State], r: int) -> bool:
    """Whether every member knows its true predecessor and its r true successors (all others, where they are fewer)."""
    ordered = sorted(states, key=lambda state: state.member.key)
    count = len(ordered)
    for index, state in enumerate(ordered):
        true = tuple(ordered[(index + step) % count].member for step in range(1, min(r, count - 1) + 1))
        before = ordered[index - 1].member if count > 1 else None
        if state.successors != true or state.predecessor != before:
            return False
    return True


def _skips(extended: Sequence[Member], member: Member) -> bool:
    """Whether a list passes over a member; naming another life of it is passing over this one."""
    if member in extended:
        return False
    return any(a.key == member.key or b.key == member.key or between(a.key, member.key, b.key) for a, b in pairwise(extended))


def _following(states: Sequence[State]) -> dict[Member, Member]:
    live = {state.member for state in states}
    found = {state.member: next((entry for entry in state.successors if entry in live), None) for state in states}
    if len(states) == 1:
        return {states[0].member: states[0].member}
    return {member: entry for member, entry in found.items() if entry is not None}


def _walk(start: Member, following: dict[Member, Member]) -> Iterator[Member]:
    """Whom one meets after `start`, until somebody is met twice."""
    met: set[Member] = set()
    here = following.get(start)
    while here is not None and here not in met:
        met.add(here)
        yield here
        here = following.get(here)
