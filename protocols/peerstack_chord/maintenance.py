"""One node's part in the ring: joining, keeping its place, forming, finding the way, leaving. Over the seam; nothing here awaits.

| from | to | when |
|---|---|---|
| outside | forming | nobody is there to join: it founds; or every live member of a forming ring confirmed it |
| outside | ring | a member lets it in between itself and its first successor |
| forming | ring | at least r + 2 members confirmed one map, or one of them says so |
| ring | forming | no more than r + 1 members are left, all of them asked |
| ring | forming | one of r + 2 leaves |
| forming, ring | outside | it leaves; it goes over to another ring; its whole successor list was dead: then it joins again |
"""

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
from peerstack_chord.forming import Forming, FormingCalls
from peerstack_chord.joining import Joiner, JoinerCalls
from peerstack_chord.lookup import RingLookup
from peerstack_chord.merging import Acquaintances, Merger, MergerCalls
from peerstack_chord.messages import Depart, Entry, ExchangeMap, JoinReply, Meet, Status, Verdict
from peerstack_chord.place import MAX_INCARNATION, Place
from peerstack_chord.regrouping import Regrouping
from peerstack_chord.ring import Member, Mode, State, between
from peerstack_chord.serving import Server, ServerCalls
from peerstack_chord.stabilising import Rectifier, Stabiliser
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
        self._mode = Mode.OUTSIDE
        self.place = Place(own, incarnation, parameters.r, self._place_changed, latest=self._latest_incarnation)
        self.round_trips = RoundTrips(parameters.rpc_timeout_s)
        self.way = Wayfinder(self.place, self.round_trips, outside, self._known)
        self._asker = Asker(rpc, outside, self.round_trips, self.heard, lambda contact: self.way.fingers.failed(contact.key))
        self._stabiliser = Stabiliser(self.place, self._asker, buried=self._buried, ran_out=self._ran_out, small=self._small)
        self._rectifier = Rectifier(self.place, self._asker, self._buried)
        self._regrouping = Regrouping(self.place, self._asker, self._form_again, self._left)
        joiner_calls = JoinerCalls(self.way.contacts, self._begin_lookup_of_us, self._let_in, self._found)
        self._joiner = Joiner(self.place, self._asker, parameters.stabilise_s, joiner_calls)
        merger_calls = MergerCalls(self._begin_lookup_for_owner, self._lose)
        self._stranger_asker = Asker(rpc, outside, self.round_trips, lambda _contact: None, lambda _contact: None)
        self._merger = Merger(self.place, self._stranger_asker, parameters.stabilise_s, merger_calls)
        self._server = Server(self.place, self._server_calls())
        self._forming: Forming | None = None
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
        self._joiner.start()

    def stop(self) -> None:
        """End at once, and tell nobody."""
        self._timers.stop()
        self._joiner.stop()
        self._asker.stop()
        self._stranger_asker.stop()
        self._merger.stop()
        self._stop_forming()
        self.way.stop()
        self.place.leave()
        self._announce()

    def leave(self, done: Callable[[], None]) -> None:
        """Be no member any more as soon as the ring can do without us, and tell the neighbours; `stop` is still to be called.

        If no more than r + 1 stay, they have to form the ring first: two who left a ring of r + 2 at once would make it smaller than Chord
        can bear. That takes a few exchanges with each of them; after four rounds without an end we are gone like who crashed.

        Args:
            done: Called once the neighbours have answered, or have not.
        """
        if self.place.leaving:
            return
        self._joiner.stop()
        self.place.leaving = True
        self._depart = lambda: self._step_down(done)
        self._timers.every("leave", _MAX_LEAVE_ROUNDS * self._parameters.stabilise_s, self._depart)
        if self._forming is not None and self._forming.confirmed:
            self._forming.leave()
        elif self.place.mode is Mode.RING:
            self._regrouping.leave()
        else:
            self._depart()

    def _step_down(self, done: Callable[[], None]) -> None:
        self._depart = _nothing
        told = self._neighbours()
        request = Depart(self.place.own, self.place.predecessor, self._regrouping.staying[:_MAX_TOLD])
        self._timers.stop()
        self._step_out()
        waiting = len(told)
        if not waiting:
            self._outside.call_later(0.0, done)

        def answered(_reply: object) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                done()

        for member in told:
            self._asker.ask(member.contact, request, answered, tries=1)

    def stabilise(self) -> None:
        """Begin one round of upkeep: ask the neighbours, and renew one finger."""
        if self._forming is not None:
            self._forming.round()
        elif self.place.mode is Mode.RING:
            self._stabiliser.begin()
            self.way.renew_finger(self._asker)

    def serve(self, sender: Contact, request: Request, respond: Respond) -> bool:
        """Answer a request of the ring's; whether it was one. See `Server.serve`."""
        return self._server.serve(sender, request, respond)

    def heard(self, contact: Contact) -> None:
        """Note an answer of a member of our own ring: a finger into another one would lead lookups astray."""
        if not self._joiner.running:
            self.way.fingers.heard(contact)

    def meet(self, contact: Contact) -> None:
        """See whether a server that is at hand is on another ring."""
        if all(member.key != contact.key for member in self._known()):
            self.way.acquaintances.bury(contact)
            self._merger.meet(contact)

    def failed(self, contact: Contact) -> None:
        """Note that a member did not answer what it was asked about records: if it is a neighbour, see for ourselves."""
        self.way.fingers.failed(contact.key)
        if any(member.key == contact.key for member in self._neighbours()):
            self.stabilise()

    def closest(self, position: int) -> tuple[Contact, ...]:
        """What an answer names. See `Wayfinder.closest`."""
        return self.way.closest(position)

    def begin_lookup(self, position: int, count: int) -> RingLookup:
        """Begin a lookup of the `count` members from a position on; drive it by its verbs."""
        return self.way.begin_lookup(position, count)

    def _neighbours(self) -> list[Member]:
        before = self.place.predecessor
        members = {member.key: member for member in (*self.place.successors, *(() if before is None else (before,)))}
        return list(members.values())

    def _begin_lookup_of_us(self, through: Sequence[Contact]) -> RingLookup:
        return self.way.begin_lookup_through(self.place.own.key, through)

    def _begin_lookup_for_owner(self, position: int, through: Sequence[Contact] | None) -> RingLookup:
        return self.begin_lookup(position, 0) if through is None else self.way.begin_lookup_through(position, through)

    def _let_in(self, reply: JoinReply) -> None:
        if reply.verdict is Verdict.FORMING:
            self._form(reply.state.era, reply.entries, confirmed=False)
            return
        self.place.enter(reply.state.era, reply.state.member, reply.state.successors)
        self._announce()
        self._stabiliser.begin()

    def _found(self) -> None:
        self._form(1, (), confirmed=True)

    def _form(self, era: int, entries: Sequence[Entry], *, confirmed: bool) -> Forming:
        self._joiner.stop()
        self._stop_forming()
        calls = FormingCalls(self._formed, self._announce, self._rejoin, self._buried, self._left)
        forming = Forming(self.place, self._asker, calls)
        self._forming = forming
        forming.begin(era, entries, confirmed=confirmed, leaving=self.place.leaving)
        self._announce()
        return forming

    def _formed(self) -> None:
        """The ring has formed: stand where the map says, or, if we are not on everybody's, join it like anybody."""
        forming = self._forming
        if forming is None:
            return
        if forming.confirmed and forming.others:
            members = forming.map.members
            self._stop_forming()
            self.place.arrange(Mode.RING, self.place.era, members)
            self._announce()
            self._stabiliser.begin()
            if forming.leaving:
                self._regrouping.leave()
        else:
            self._rejoin()

    def _left(self) -> None:
        self._depart()

    def _small(self, state: State) -> None:
        self._regrouping.begin(state.successors)

    def _form_again(self, entries: tuple[Entry, ...], era: int) -> None:
        self._form(era, entries, confirmed=True)

    def _stop_forming(self) -> None:
        if self._forming is not None:
            self._forming.end()
            self._forming = None

    def _ran_out(self) -> None:
        self._rejoin()

    def _rejoin(self, through: Sequence[Contact] = ()) -> None:
        if self.place.leaving:
            self._depart()
            return
        for contact in (*self.way.fingers, *(member.contact for member in self._known())):
            self.way.acquaintances.bury(contact)
        self.way.fingers.clear()
        self._asker.turn_away()
        self._step_out()
        self.place.live_again()  # whoever still has this one on a map must not take us for somebody who joins it
        self._joiner.start(through)

    def _known(self) -> list[Member]:
        return self._neighbours() if self._forming is None else self._forming.others

    def _step_out(self) -> None:
        self._stop_forming()
        self.place.leave()
        self._announce()

    def _lose(self, winner: Contact) -> None:
        """Go over to another ring, and have those we knew on ours see for themselves: near ones, so that none is missed, and far ones."""
        known = {contact.key: contact for contact in (*(member.contact for member in self._known()), *self.way.fingers)}
        for contact in list(known.values())[:_MAX_TOLD]:
            self._stranger_asker.ask(contact, Meet(winner), lambda _reply: None, tries=1)
        self._rejoin([winner])

    def _meet_another(self) -> None:
        contact = self.way.acquaintances.next({member.key for member in self._neighbours()})
        if contact is not None:
            self._merger.meet(contact)

    def _server_calls(self) -> ServerCalls:
        return ServerCalls(
            closest=self.closest,
            forming=lambda: self._forming,
            named=self._named,
            forms_again=self._forms_again,
            died=self._died,
            outlived=self._stabiliser.outlived,
            departed=self._departed,
            notified=self._notified,
            meet=self._merger.meet,
        )

    def _named(self, request: ExchangeMap) -> Forming | None:
        return self._form(request.era, request.entries, confirmed=False) if self._joiner.running else None

    def _forms_again(self, request: ExchangeMap) -> None:
        leaving = [entry.member for entry in request.entries if entry.status is Status.LEAVING]
        self._regrouping.begin((entry.member for entry in request.entries), request.era, leaving)

    def _notified(self, member: Member) -> None:
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
        if self._forming is not None:
            self._forming.merge((Entry(member, Status.GONE),))
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

    def _announce(self) -> None:
        if self.place.mode is not self._mode:
            self._mode = self.place.mode
            self._changed(ModeChanged(self._mode))


def _nothing() -> None:
    """What is left to do for who stays, and for who has left."""
