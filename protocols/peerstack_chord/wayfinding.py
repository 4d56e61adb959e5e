"""Finding the way from one node: whom it names to others, and with whom its own lookups begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.rtt import RoundTrips
from peerstack.dht.replica.seam import Outside
from peerstack_chord.asking import Asker, Finding
from peerstack_chord.fingers import FingerTable
from peerstack_chord.lookup import RingLookup
from peerstack_chord.lookup_rules import LookupRules
from peerstack_chord.merging import Acquaintances
from peerstack_chord.place import Place
from peerstack_chord.ring import Member, Mode, between, clockwise

__all__ = ["Wayfinder"]

_NAMED: Final = 4  # predecessors of a position that an answer names
_SEEDS: Final = 16


class Wayfinder:
    """What one node knows beside its place, and the lookups that begin there.

    Args:
        place: Where it stands.
        round_trips: How long whom takes.
        outside: The clock.
        known: Its neighbours; all members while the ring forms.

    Attributes:
        fingers: Members farther away.
        acquaintances: Whom it could ask that may be no members of its ring.
    """

    def __init__(self, place: Place, round_trips: RoundTrips, outside: Outside, known: Callable[[], Sequence[Member]]) -> None:
        self.fingers = FingerTable(place.own.key, rtt=lambda contact: round_trips.rtt(contact.key))
        self.acquaintances = Acquaintances(())
        self._place = place
        self._round_trips = round_trips
        self._outside = outside
        self._known = known
        self._renewing: Finding | None = None

    def stop(self) -> None:
        """Renew no finger any more."""
        if self._renewing is not None:
            self._renewing.stop()

    def closest(self, position: int) -> tuple[Contact, ...]:
        """What an answer names: the best predecessors of a position that we know, the most useful first, and our successors.

        While the ring forms these are all of its members, and nobody else: fingers may be left from another ring.
        """
        own = self._place.own.key
        near = [member.contact for member in self._known()]
        near.sort(key=lambda contact: clockwise(own, contact.key))
        on_the_way = [contact for contact in near if between(own, contact.key, position)][-1:]
        fingers = [] if self._place.mode is Mode.FORMING else self.fingers.closest(position, _NAMED)
        return tuple({contact.key: contact for contact in (*on_the_way, *fingers, *near)}.values())

    def begin_lookup(self, position: int, count: int) -> RingLookup:
        """Begin a lookup of the `count` members from a position on."""
        if self._place.is_member:
            successors = [member.contact for member in self._place.successors]
            return self._lookup(position, self.closest(position), count, successors)
        return self._lookup(position, (*self.fingers.closest(position, _NAMED), *self.contacts()), count, None)

    def begin_lookup_through(self, position: int, through: Sequence[Contact]) -> RingLookup:
        """Begin a lookup for the closest predecessor of a position through others alone, as who is no member."""
        return self._lookup(position, through, 0, None)

    def contacts(self) -> list[Contact]:
        """Whom to join through: those configured, those met last, and fingers."""
        found = {contact.key: contact for contact in (*self.acquaintances, *self.fingers) if contact.key != self._place.own.key}
        return list(found.values())[:_SEEDS]

    def renew_finger(self, asker: Asker) -> None:
        """Look up where the next finger should point, in turn; whoever answers on the way is heard. One at a time."""
        last = self._place.successors.entries[-1:]
        start = self.fingers.next_start(last[0].key) if last else None
        if start is not None and self._renewing is None:
            self._renewing = Finding(asker, self.begin_lookup(start, 1), self._renewed)
            self._renewing.step()

    def _renewed(self, _lookup: RingLookup) -> None:
        self._renewing = None

    def _lookup(self, position: int, seeds: Sequence[Contact], count: int, successors: Sequence[Contact] | None) -> RingLookup:
        times = self._round_trips
        rules = LookupRules(
            count=count,
            max_named=self._place.r + _NAMED + 2,
            timeout=lambda contact: times.timeout(contact.key),
            patience=lambda contact: times.patience(contact.key),
            rtt=lambda contact: times.rtt(contact.key),
        )
        return RingLookup(position, seeds, rules, own=self._place.own.contact, now=self._outside.time(), successors=successors)
