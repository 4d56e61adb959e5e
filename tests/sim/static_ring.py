"""Lookups alone, on rings that stand still: everybody's place and fingers are as upkeep would make them, and nobody keeps them up.

What a node knows, what it answers and whom its lookups ask are the plugin's own (`Wayfinder`, `FingerTable`, `RingLookup`); round-trip
times are not known, so that lookups choose by position alone, as in the paper's simulations.

Paths are counted as there (ToN 2003, V-C and V-D). The *path* is the number of members that answered on the way from the one that looks up,
itself not counted, up to and including the closest predecessor of the position. A *timeout* is a request to a dead member. A lookup of ours
then asks the owner as well, whose answer is what a caller is after: what that takes is counted apart, as requests to find the owner.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from peerstack_chord.lookup import RingLookup
from peerstack_chord.place import Place
from peerstack_chord.ring import Member, Mode
from peerstack_chord.wayfinding import Wayfinder

from peerstack.dht.contract import Hop, HopOutcome
from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack.dht.replica.rtt import RoundTrips
from peerstack.identity import PeerId

__all__ = ["Path", "StaticRing", "path_of"]

_POSITIONS = 1 << KEY_BITS


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """How one lookup went.

    Attributes:
        length: Members that answered, up to and including the position's closest predecessor.
        timeouts: Requests to dead members, until that one had answered.
        owner_timeouts: Requests to dead members after that, until the owner had answered.
        found: Whether the member found is the position's owner.
    """

    length: int
    timeouts: int
    owner_timeouts: int
    found: bool


class _Stillness:
    """An `Outside` where no time passes."""

    def time(self) -> float:
        return 0.0

    def wall_us(self) -> int:
        return 0

    def call_later(self, _delay: float, _callback: Callable[[], None]) -> Callable[[], None]:
        raise AssertionError("nothing happens later")

    def random_bits(self, _count: int) -> int:
        raise AssertionError("nothing is left to chance")


class StaticRing:
    """Members at random positions that know each other as upkeep would have it.

    Args:
        size: How many members.
        r: Length of the successor lists.
        seed: Same seed, same ring.
        fingers: How many of each interval a finger table holds: 1 is the paper's table, 4 is ours when it is full.

    Attributes:
        keys: All positions, in order.
        dead: Who answers no more.
    """

    def __init__(self, size: int, *, r: int, seed: int, fingers: int = 1) -> None:
        rng = random.Random(f"static ring {seed}")
        self.keys = sorted(rng.getrandbits(KEY_BITS) for _ in range(size))
        self.dead: set[int] = set()
        members = [Member(Contact(PeerId(b"\x00\x04" + number.to_bytes(4, "big")), key), 1) for number, key in enumerate(self.keys)]
        self._members = dict(zip(self.keys, members, strict=True))
        self._ways = {key: self._settle(number, min(r, size - 1), fingers) for number, key in enumerate(self.keys)}

    def owner(self, position: int) -> int:
        """The first member at or after a position that is not dead, by brute force."""
        first = bisect_left(self.keys, position)
        return next(key for key in (*self.keys[first:], *self.keys[:first]) if key not in self.dead)

    def kill(self, keys: Iterable[int]) -> None:
        """Let members fall silent; nobody learns of it but by asking them."""
        self.dead.update(keys)

    def look_up(self, own: int, position: int) -> Path:
        """Look a position up from a member."""
        lookup = self._ways[own].begin_lookup(position, 1)
        waiting: deque[Contact] = deque()
        while not lookup.done:
            waiting.extend(ask.contact for ask in lookup.next(0.0))
            peer = waiting.popleft()
            if peer.key in self.dead:
                lookup.on_failure(peer, 0.0)
            else:
                lookup.on_reply(peer, [contact for contact in self._ways[peer.key].closest(position) if contact.key != own], 0.0)
        result = lookup.result()
        found = lookup.complete and (result[0].key if result else own) == self.owner(position)
        return path_of(lookup, found, lambda hop: hop.outcome is not HopOutcome.ANSWERED)

    def _settle(self, number: int, r: int, fingers: int) -> Wayfinder:
        """Give a member its place and its fingers."""
        own, count = self.keys[number], len(self.keys)
        place = Place(self._members[own].contact, 1, r, lambda: None)
        before = self._members[self.keys[number - 1]]
        place.enter(1, before, (self._members[self.keys[(number + step) % count]] for step in range(1, r + 1)))
        assert place.mode is Mode.RING
        neighbours = (*place.successors, before)
        way = Wayfinder(place, RoundTrips(), _Stillness(), lambda: neighbours)
        last = place.successors.entries[-1].key
        while (start := way.fingers.next_start(last)) is not None:
            first = bisect_left(self.keys, start)
            for step in range(fingers):
                way.fingers.heard(self._members[self.keys[(first + step) % count]].contact)
            if (start - own) % _POSITIONS <= (last - own) % _POSITIONS << 1:  # the nearest that upkeep looks up
                break
        return way


def path_of(lookup: RingLookup, found: bool, was_dead: Callable[[Hop], bool]) -> Path:
    """Count as the paper does.

    Args:
        lookup: A lookup of one member that is over.
        found: Whether it found the owner.
        was_dead: Whether somebody was asked who was dead.
    """
    hops = lookup.trace(0.0)
    predecessor = lookup.predecessor()
    arrived = 1 + next((number for number, hop in enumerate(hops) if predecessor is not None and hop.peer == predecessor.peer_id), -1)
    return Path(
        length=sum(hop.outcome is HopOutcome.ANSWERED for hop in hops[:arrived]),
        timeouts=sum(map(was_dead, hops[:arrived])),
        owner_timeouts=sum(map(was_dead, hops[arrived:])),
        found=found,
    )
