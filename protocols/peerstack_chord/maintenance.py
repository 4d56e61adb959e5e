"""One node's part in the ring: becoming a member, keeping its place, finding the way, answering, leaving. Nothing here awaits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Request
from peerstack.dht.replica.rtt import RoundTrips
from peerstack.dht.replica.seam import Outside, Respond, Rpc
from peerstack.dht.replica.timers import Timers
from peerstack_chord.asking import Asker
from peerstack_chord.events import MemberDied, MemberLeft, ModeChanged, PlaceChanged, RingEvent
from peerstack_chord.lookup import RingLookup
from peerstack_chord.merging import Acquaintances, Merger, MergerCalls
from peerstack_chord.messages import Depart, Entry, Meet, Status
from peerstack_chord.place import MAX_INCARNATION, Place
from peerstack_chord.ring import Member, Mode, between
from peerstack_chord.serving import Server, ServerCalls
from peerstack_chord.stabilising import Rectifier, Stabiliser
from peerstack_chord.transitions import Transitions, TransitionsCalls
from peerstack_chord.wayfinding import Wayfinder

__all__ = ["Ring"]

_MAX_TOLD: Final = 16  # members: of those we leave for another ring, and by who leaves
_MAX_LEAVE_ROUNDS: Final = 4
_CLOCKS_US: Final = 3_600_000_000


class Ring:
    """One node's part in the ring.

    Args:
        own: The node.
        parameters: The network's.
        rpc: Sends requests.
        outside: Clock, timers, random bits.
        changed: Told what happened, from within whatever made it happen.
        incarnation: The node's life: higher than in any earlier run, so the wall clock's microseconds, say.

    Attributes:
        place: Where it stands.
        way: What it knows beside its place, and how it finds the way.
        round_trips: How long whom takes.
    """

    def __init__(
        self,
        own: Contact,
        parameters: NetworkParameters,
        rpc: Rpc,
        outside: Outside,
        changed: Callable[[RingEvent], None],
        *,
        incarnation: int,
    ) -> None:
        self._parameters = parameters
        self._outside = outside
        self._changed = changed
        self.place = Place(own, incarnation, parameters.r, self._place_changed, latest=self._latest_incarnation)
        self.round_trips = RoundTrips(parameters.rpc_timeout_s)
        self.way = Wayfinder(self.place, self.round_trips, outside, lambda: self._transitions.known)
        self._asker = Asker(rpc, outside, self.round_trips, self.heard, lambda contact: self.way.fingers.failed(contact.key))
        self._transitions = Transitions(self.place, self._asker, self.way, parameters.stabilise_s, self._transitions_calls())
        self._stabiliser = Stabiliser(
            self.place, self._asker, buried=self._buried, ran_out=self._transitions.rejoin, small=self._transitions.regroup
        )
        self._rectifier = Rectifier(self.place, self._asker, self._buried)
        merger_calls = MergerCalls(self._begin_lookup_for_owner, self._lose)
        self._stranger_asker = Asker(rpc, outside, self.round_trips, lambda _contact: None, lambda _contact: None)
        self._merger = Merger(self.place, self._stranger_asker, parameters.stabilise_s, merger_calls)
        self._server = Server(self.place, self._server_calls())
        self._depart: Callable[[], None] = _nothing  # what ends our leaving
        self._timers = Timers(outside)

    def _latest_incarnation(self) -> int:
        """Lives begin at the wall clock's time, and clocks differ: who claims more would have its victim outlive everybody's belief."""
        return min(self._outside.wall_us() + _CLOCKS_US, MAX_INCARNATION - 1)

    @property
    def mode(self) -> Mode:
        """How the node stands to the ring."""
        return self.place.mode

    @property
    def is_leaving(self) -> bool:
        """Whether it is about to leave, or has."""
        return self.place.leaving

    def start(self, configured: Sequence[Contact] = (), remembered: Sequence[Contact] = (), *, joins: bool = True) -> None:
        """Join through these contacts, or found a ring if there are none, or none of them answers as a member for three rounds.

        Args:
            configured: Contacts that are never forgotten.
            remembered: Those an earlier run knew.
            joins: Whether to become a member; else lookups go through the contacts, and that is all.
        """
        self.way.acquaintances = Acquaintances(configured)
        for contact in remembered:
            self.way.acquaintances.bury(contact)
        if not joins:
            return
        self._timers.every("stabilise", self._parameters.stabilise_s, self.stabilise)
        self._timers.every("meet", self._parameters.repair_s, self._meet_another)
        self._transitions.join()

    def stop(self) -> None:
        """End at once, and tell nobody."""
        self._timers.stop()
        self._asker.stop()
        self._stranger_asker.stop()
        self._merger.stop()
        self.way.stop()
        self._transitions.stop()

    def leave(self, done: Callable[[], None]) -> None:
        """Be no member any more as soon as the ring can do without us, and tell the neighbours; `stop` is still to be called.

        What that takes is in `Transitions.leave`. After four rounds without an end we are gone like who crashed.

        Args:
            done: Called once the neighbours have answered, or have not.
        """
        if self.place.leaving:
            return
        self._depart = lambda: self._step_down(done)
        self._timers.every("leave", _MAX_LEAVE_ROUNDS * self._parameters.stabilise_s, self._depart)
        self._transitions.leave()

    def _step_down(self, done: Callable[[], None]) -> None:
        self._depart = _nothing
        told = {member.key: member.contact for member in self.place.neighbours}
        request = Depart(self.place.own, self.place.predecessor, self._transitions.staying[:_MAX_TOLD])
        self._timers.stop()
        self._transitions.step_out()
        waiting = len(told)
        if not waiting:
            self._outside.call_later(0.0, done)

        def answered(_reply: object) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                done()

        for contact in told.values():
            self._asker.ask(contact, request, answered, tries=1)

    def stabilise(self) -> None:
        """Begin one round of upkeep: ask the neighbours, and renew one finger."""
        if self._transitions.forming is not None:
            self._transitions.forming.round()
        elif self.place.mode is Mode.RING:
            self._stabiliser.begin()
            self.way.renew_finger(self._asker)

    def serve(self, sender: Contact, request: Request, respond: Respond) -> bool:
        """Answer a request of the ring's; whether it was one. See `Server.serve`."""
        return self._server.serve(sender, request, respond)

    def heard(self, contact: Contact) -> None:
        """Note an answer of a member of our own ring: a finger into another one would lead lookups astray."""
        if not self._transitions.joining:
            self.way.fingers.heard(contact)

    def meet(self, contact: Contact) -> None:
        """See whether a server that is at hand is on another ring."""
        if all(member.key != contact.key for member in self._transitions.known):
            self.way.acquaintances.bury(contact)
            self._merger.meet(contact)

    def failed(self, contact: Contact) -> None:
        """Note that a member did not answer what it was asked about records: if it is a neighbour, see for ourselves."""
        self.way.fingers.failed(contact.key)
        if any(member.key == contact.key for member in self.place.neighbours):
            self.stabilise()

    def closest(self, position: int) -> tuple[Contact, ...]:
        """What an answer names. See `Wayfinder.closest`."""
        return self.way.closest(position)

    def begin_lookup(self, position: int, count: int) -> RingLookup:
        """Begin a lookup of the `count` members from a position on; drive it by its verbs."""
        return self.way.begin_lookup(position, count)

    def _begin_lookup_for_owner(self, position: int, through: Sequence[Contact] | None) -> RingLookup:
        return self.begin_lookup(position, 0) if through is None else self.way.begin_lookup_through(position, through)

    def _lose(self, winner: Contact) -> None:
        """Go over to another ring, and have those we knew on ours see for themselves: near ones, so that none is missed, and far ones."""
        known = {contact.key: contact for contact in (*(member.contact for member in self._transitions.known), *self.way.fingers)}
        for contact in list(known.values())[:_MAX_TOLD]:
            self._stranger_asker.ask(contact, Meet(winner), lambda _reply: None, tries=1)
        self._transitions.rejoin([winner])

    def _meet_another(self) -> None:
        contact = self.way.acquaintances.next({member.key for member in self.place.neighbours})
        if contact is not None:
            self._merger.meet(contact)

    def _transitions_calls(self) -> TransitionsCalls:
        return TransitionsCalls(
            changed=lambda mode: self._changed(ModeChanged(mode)),
            entered=lambda: self._stabiliser.begin(),
            buried=self._buried,
            left=lambda: self._depart(),
        )

    def _server_calls(self) -> ServerCalls:
        return ServerCalls(
            closest=self.closest,
            forming=lambda: self._transitions.forming,
            named=self._transitions.named,
            forms_again=self._transitions.forms_again,
            died=self._died,
            outlived=self._stabiliser.outlived,
            departed=self._departed,
            notified=self._notified,
            meet=self._merger.meet,
        )

    def _notified(self, member: Member) -> None:
        if self._transitions.forming is not None:
            self._transitions.notified(member)
            return
        self._rectifier.notified(member)
        first = self.place.successors.first
        if first is not None and between(self.place.own.key, member.key, first.key):
            self._stabiliser.begin()

    def _died(self, member: Member) -> None:
        self.place.drop(member)
        self._buried(member)

    def _departed(self, departure: Depart) -> None:
        member = departure.member
        self._changed(MemberLeft(member.contact))
        self.way.fingers.failed(member.key)
        for other in departure.staying[:_MAX_TOLD]:
            self.way.acquaintances.bury(other.contact)
        if self._transitions.forming is not None:
            self._transitions.forming.merge((Entry(member, Status.GONE),))
            return
        self._rectifier.departed(member, departure.predecessor)
        if member in self.place.successors:
            self.place.drop(member)
            self._stabiliser.begin()

    def _buried(self, member: Member) -> None:
        self.way.fingers.failed(member.key)
        self.way.acquaintances.bury(member.contact)
        self._changed(MemberDied(member.contact))

    def _place_changed(self) -> None:
        before = self.place.predecessor
        successors = tuple(member.contact for member in self.place.successors)
        self._changed(PlaceChanged(None if before is None else before.contact, successors))


def _nothing() -> None:
    """What is left to do for who stays, and for who has left."""
