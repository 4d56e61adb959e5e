"""Two rings that meet: noticing that there are two, and agreeing on which is to go over to the other. Over the seam.

Rings never merge by stabilising. A ring is known by the member that owns position 0, which is looked up and never stored; the ring whose
owner has the smaller position wins. Each round a member has one contact from elsewhere look up the member's own position. If twice, one
stabilise round apart, somebody else is found there, and the owners of position 0 differ, these are two rings: whoever is on the losing one
joins the other and tells those it knew on the old one to see for themselves.

Whoever is said to own a position is asked, and has to say so too. While it does not (it is dead and nobody noticed, or has just joined) one
ring can look like two from two sides, so nothing is concluded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from peerstack.dht.replica.contacts import Contact
from peerstack_chord.asking import Asker, Finding
from peerstack_chord.lookup import RingLookup
from peerstack_chord.messages import GetState, Meet
from peerstack_chord.place import Place
from peerstack_chord.ring import Member, State, in_range
from peerstack_chord.stabilising import alive

__all__ = ["Acquaintances", "Merger", "MergerCalls"]

_MAX_BURIED: Final = 64
_STRIKES: Final = 2


class Acquaintances:
    """Whom one could ask that is not on one's own ring, as far as is known: configured, remembered, or fallen silent. Bounded.

    Args:
        configured: Kept for ever.
    """

    def __init__(self, configured: Sequence[Contact]) -> None:
        self._configured = {contact.key: contact for contact in configured}
        self._buried: OrderedDict[int, Contact] = OrderedDict()
        self._turn = 0

    def __iter__(self) -> Iterator[Contact]:
        return iter([*self._configured.values(), *reversed(self._buried.values())])

    def bury(self, contact: Contact) -> None:
        """Remember who fell silent."""
        self._buried[contact.key] = contact
        self._buried.move_to_end(contact.key)
        if len(self._buried) > _MAX_BURIED:
            self._buried.popitem(last=False)

    def next(self, near: set[int]) -> Contact | None:
        """The next one in turn who is none of those near us."""
        others = [contact for contact in self if contact.key not in near]
        if not others:
            return None
        self._turn += 1
        return others[self._turn % len(others)]


@dataclass(slots=True)
class MergerCalls:
    """What a `Merger` needs of its node."""

    begin_lookup: Callable[[int, Sequence[Contact] | None], RingLookup]
    """Begins a lookup of a position for its predecessor: through somebody else as if we were no member, or, with None, from our place."""
    lose: Callable[[Contact], None]
    """Goes over to the ring of a member."""


class Merger:
    """Checks one contact at a time.

    Args:
        place: Whose.
        asker: Asks.
        pause_s: Between the first finding and the second.
        calls: What it needs of its node.
    """

    def __init__(self, place: Place, asker: Asker, pause_s: float, calls: MergerCalls) -> None:
        self._place = place
        self._asker = asker
        self._pause_s = pause_s
        self._calls = calls
        self._contact: Contact | None = None
        self._waiting: Contact | None = None
        self._strikes = 0
        self._cancel_pause: Callable[[], None] | None = None
        self._finding: Finding | None = None

    def meet(self, contact: Contact) -> None:
        """See whether a contact is on another ring; one more may wait meanwhile."""
        if not self._place.is_member or contact.key == self._place.own.key:
            return
        if self._contact is not None:
            self._waiting = contact
            return
        self._contact = contact
        self._strikes = 0
        self._look_for_us(contact)

    def stop(self) -> None:
        """Check nobody any more."""
        if self._cancel_pause is not None:
            self._cancel_pause()
        if self._finding is not None:
            self._finding.stop()

    def _look_for_us(self, contact: Contact) -> None:
        self._find_owner(self._place.own.key, [contact], lambda owner: self._found_instead(contact, owner))

    def _found_instead(self, contact: Contact, owner: Member) -> None:
        if owner.key == self._place.own.key:
            self._end()
        else:
            self._find_owner(0, [contact], lambda theirs: self._found_theirs(contact, theirs))

    def _found_theirs(self, contact: Contact, theirs: Member) -> None:
        self._find_owner(0, None, lambda ours: self._compare(contact, theirs, ours))

    def _compare(self, contact: Contact, theirs: Member, ours: Member) -> None:
        if theirs.key == ours.key or not self._place.is_member:
            self._end()
            return
        self._strikes += 1
        if self._strikes < _STRIKES:
            self._cancel_pause = self._asker.outside.call_later(self._pause_s, lambda: self._look_for_us(contact))
            return
        self._end()
        if theirs.key < ours.key:
            self._calls.lose(contact)
        else:
            self._asker.ask(contact, Meet(self._place.own.contact), lambda _reply: None, tries=1)

    def _end(self) -> None:
        self._contact = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.meet(waiting)

    def _find_owner(self, position: int, through: Sequence[Contact] | None, done: Callable[[Member], None]) -> None:
        """Look up who owns a position: the first live successor of its closest predecessor. Ends the check if nobody is sure to."""

        def found(lookup: RingLookup) -> None:
            before = lookup.predecessor()
            if not self._place.is_member or before is None or not lookup.converged:
                self._end()
            else:
                self._state_of(Member(before, 0), found_before)

        def found_before(state: State | None) -> None:
            if state is None:
                self._end()
            else:
                self._ask_next(islice(state.successors or (state.member,), self._place.r), position, done)

        self._finding = Finding(self._asker, self._calls.begin_lookup(position, through), found)
        self._finding.step()

    def _ask_next(self, candidates: Iterator[Member], position: int, done: Callable[[Member], None]) -> None:
        """Have the first of them that lives say whether it owns a position."""
        candidate = next(candidates, None)

        def answered(state: State | None) -> None:
            if state is None:
                self._ask_next(candidates, position, done)
            elif state.predecessor is None or in_range(state.predecessor.key, position, state.member.key):
                done(state.member)
            else:
                self._end()

        if candidate is None:
            self._end()
        else:
            self._state_of(candidate, answered)

    def _state_of(self, member: Member, done: Callable[[State | None], None]) -> None:
        if not self._place.is_member:
            self._end()
        elif member.key == self._place.own.key:
            done(self._place.state())
        else:
            self._asker.ask(member.contact, GetState(), lambda reply: done(alive(member, reply)))
