"""Whom a node knows, as the data engine sees it, and the lookups that begin from there. Pure.

The way along the ring is the ring's to know: its successors, its predecessor, its fingers. Beside it stands a table of the servers heard
of, which the ring may not have (yet): those who join, those of another ring, and, for a client, everybody. It keeps who lies next to the
node on either side, and of the rest those heard of last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.limits import MAX_CLOSER
from peerstack.dht.replica.neighbourhood import members_wanted
from peerstack.dht.replica.rtt import RoundTrips
from peerstack_chord.lookup import RingLookup
from peerstack_chord.lookup_rules import LookupRules
from peerstack_chord.maintenance import Ring
from peerstack_chord.ring import clockwise

__all__ = ["ChordRouting", "Entry"]

_STALE_AFTER: Final = 3
_DOUBTFUL_AFTER: Final = 2
_FAR: Final = 64  # entries kept beside those next to the node
_BEFORE: Final = 4  # servers before a position that lead to it


@dataclass(slots=True)
class Entry:
    """A server heard of. See `peerstack.dht.replica.routing.Known`."""

    contact: Contact
    last_heard: float
    failures: int = 0

    @property
    def stale(self) -> bool:
        """Whether it failed too often to be named to others."""
        return self.failures >= _STALE_AFTER


class ChordRouting:
    """See `peerstack.dht.replica.routing.Routing`.

    Attributes:
        own: The node.
        revision: Another number whenever somebody came in or went.

    Args:
        own: The node.
        parameters: The network's.
    """

    def __init__(self, own: Contact, parameters: NetworkParameters) -> None:
        self.own = own
        self.revision = 0
        self._replicas = parameters.replicas
        self._near = members_wanted(parameters)
        self._entries: dict[int, Entry] = {}  # by position, the one heard of last last
        self._ring: Ring | None = None
        self._met: list[Contact] = []
        self._silent: list[Contact] = []

    def follow(self, ring: Ring) -> None:
        """Look up along a ring from now on."""
        self._ring = ring

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, key: int) -> Entry | None:
        """The server at a position."""
        return self._entries.get(key)

    def heard(self, contact: Contact, now: float) -> None:
        """Note a sign of life."""
        if contact.key == self.own.key:
            return
        entry = self._entries.pop(contact.key, None)
        if entry is None or entry.stale:
            self.revision += 1
            self._met.append(contact)
        known = contact if contact.addresses or entry is None else entry.contact
        self._entries[contact.key] = Entry(known, now)
        if entry is None:
            self._make_room()

    def failed(self, key: int) -> None:
        """Note that a server did not answer; the ring sees for itself, where it is a neighbour."""
        entry = self._entries.get(key)
        if entry is None:
            return
        entry.failures += 1
        if entry.failures == _STALE_AFTER:
            self._silent.append(entry.contact)
        if entry.failures == 1 and self._ring is not None:
            self._ring.failed(entry.contact)

    def give_up(self, key: int) -> None:
        """Name a server to nobody until it is heard of again: the ring found it dead."""
        entry = self._entries.get(key)
        if entry is not None and not entry.stale:
            entry.failures = _STALE_AFTER
            self._silent.append(entry.contact)

    def remove(self, key: int) -> None:
        """Take a server out: it left, or serves the network no more."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.revision += 1
            if self._ring is not None:
                self._ring.failed(entry.contact)

    def forget_silent(self, before: float) -> list[Contact]:
        """Take out, and return, failing servers not heard of since `before`.

        A member also lets go of those that are merely not heard of: nobody asks them regularly, and who died meanwhile would pass for
        responsible. A client knows nobody else.
        """
        is_member = self._ring is not None and self._ring.place.is_member
        unheard = [entry for entry in self if (entry.failures or is_member) and entry.last_heard < before]
        for entry in unheard:
            self.remove(entry.contact.key)
        return [entry.contact for entry in unheard if entry.failures]

    def stale(self) -> list[Contact]:
        """The servers that failed too often to be named to others."""
        return [entry.contact for entry in self if entry.stale]

    def take_met(self) -> list[Contact]:
        """Who was heard of for the first time, or again, since this was called last."""
        met, self._met = self._met, []
        return met

    def take_silent(self) -> list[Contact]:
        """Who has become stale since this was called last."""
        silent, self._silent = self._silent, []
        return silent

    def closest(self, target: int, count: int, *, exclude: int | None = None) -> list[Contact]:
        """The first `count` servers known from a position on, clockwise."""
        fit = [entry.contact for entry in self if not entry.stale and entry.contact.key != exclude]
        return sorted(fit, key=lambda contact: clockwise(target, contact.key))[:count]

    def leading_to(self, target: int, count: int, *, exclude: int | None = None) -> list[Contact]:
        """Those on the ring before a position and after us; of a node that is no member, those it knows around the position."""
        if self._ring is not None and self._ring.place.is_member:
            named: Iterable[Contact] = self._ring.closest(target)
        else:
            named = (*self._before(target), *self.closest(target, count))
        found = {contact.key: contact for contact in named if contact.key != exclude}
        return list(found.values())[:count]

    def begin_lookup(self, target: int, seeds: Iterable[Contact], *, count: int, trips: RoundTrips, now: float) -> RingLookup:
        """Begin along the ring; for a node that is no member, from the servers known around the position."""
        rules = LookupRules(
            count=count,
            max_named=MAX_CLOSER + self._replicas,  # what an answer names on the way, and whom it counts as responsible
            timeout=lambda contact: trips.timeout(contact.key),
            patience=lambda contact: trips.patience(contact.key),
            rtt=lambda contact: trips.rtt(contact.key),
        )
        # The responsible are asked although they may be dead, they are counted; but nobody is sent on a way along the dead.
        useful = [seed for rank, seed in enumerate(seeds) if rank < self._replicas or not self._is_doubtful(seed.key)]
        successors = None
        if self._ring is not None and self._ring.place.is_member:
            useful += self._ring.closest(target)
            successors = [member.contact for member in self._ring.place.successors]
        else:
            useful += self._before(target)
        return RingLookup(target, useful, rules, own=self.own, now=now, successors=successors)

    def looked_up(self, target: int, now: float) -> None:
        """Fingers are renewed by the ring itself."""

    def adopt(self, parameters: NetworkParameters) -> None:
        """Use the parameters of the network met: for a client."""
        self._replicas = parameters.replicas
        self._near = members_wanted(parameters)

    def _before(self, target: int) -> list[Contact]:
        fit = [entry.contact for entry in self if not entry.failures]
        return sorted(fit, key=lambda contact: clockwise(contact.key, target) or 1 << 256)[:_BEFORE]

    def _is_doubtful(self, key: int) -> bool:
        entry = self._entries.get(key)
        return entry is not None and entry.failures >= _DOUBTFUL_AFTER

    def _make_room(self) -> None:
        if len(self._entries) <= 2 * self._near + _FAR:
            return
        order = sorted(self._entries, key=lambda key: clockwise(self.own.key, key))
        kept = {*order[: self._near], *order[-self._near :]}
        far = [entry for key, entry in self._entries.items() if key not in kept]
        worst = next((entry for entry in far if entry.stale), far[0])
        del self._entries[worst.contact.key]
