"""From mode to mode: how one node comes to stand on a ring, or on the map of one that forms, and goes again. Over the seam.

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
from dataclasses import dataclass

from peerstack.dht.replica.contacts import Contact
from peerstack_chord.asking import Asker
from peerstack_chord.forming import Forming, FormingCalls
from peerstack_chord.joining import Joiner, JoinerCalls
from peerstack_chord.lookup import RingLookup
from peerstack_chord.messages import Entry, ExchangeMap, JoinReply, Status, Verdict
from peerstack_chord.place import Place
from peerstack_chord.regrouping import Regrouping
from peerstack_chord.ring import Member, Mode, State
from peerstack_chord.wayfinding import Wayfinder

__all__ = ["Transitions", "TransitionsCalls"]


@dataclass(slots=True)
class TransitionsCalls:
    """What a `Transitions` tells its node."""

    changed: Callable[[Mode], None]
    """The node stands to the ring in another way."""
    entered: Callable[[], None]
    """It stands on the ring, and has to keep its place there from now on."""
    buried: Callable[[Member], None]
    """A life is over."""
    left: Callable[[], None]
    """Nobody needs us any more, after `Transitions.leave`; or we would have to join again first."""


class Transitions:
    """Takes one node from mode to mode.

    Args:
        place: Whose.
        asker: Asks.
        way: What it knows beside its place.
        stabilise_s: Between two rounds of joining.
        calls: What it tells its node.

    Attributes:
        forming: Its part in a ring that forms, if it has one.
    """

    def __init__(self, place: Place, asker: Asker, way: Wayfinder, stabilise_s: float, calls: TransitionsCalls) -> None:
        self.forming: Forming | None = None
        self._place = place
        self._asker = asker
        self._way = way
        self._calls = calls
        self._mode = Mode.OUTSIDE
        self._promised: tuple[Entry, ...] = ()  # who was joining when the ring formed: it may still count what we confirmed
        self._joiner = Joiner(place, asker, stabilise_s, JoinerCalls(way.contacts, self._begin_lookup_of_us, self.let_in, self._found))
        self._regrouping = Regrouping(place, asker, self._form_again, calls.left, self._met)

    @property
    def joining(self) -> bool:
        """Whether it is about to become a member."""
        return self._joiner.running

    @property
    def known(self) -> list[Member]:
        """Its neighbours, each once; all members while the ring forms."""
        if self.forming is not None:
            return self.forming.others
        return list({member.key: member for member in self._place.neighbours}.values())

    @property
    def staying(self) -> tuple[Member, ...]:
        """See `Regrouping.staying`."""
        return self._regrouping.staying

    # -- in

    def join(self, through: Sequence[Contact] = ()) -> None:
        """Begin to join, in the first round through these contacts alone, if any are given."""
        self._joiner.start(through)

    def let_in(self, reply: JoinReply) -> None:
        """Stand where who lets us in says, on the ring or on the map of one that forms."""
        if reply.verdict is Verdict.FORMING:
            self.form(reply.state.era, reply.entries, confirmed=False)
            return
        self._place.enter(reply.state.era, reply.state.member, reply.state.successors)
        self._announce()
        self._calls.entered()

    def _begin_lookup_of_us(self, through: Sequence[Contact]) -> RingLookup:
        return self._way.begin_lookup_through(self._place.own.key, through)

    def _found(self) -> None:
        self.form(1, (), confirmed=True)

    # -- forming

    def form(self, era: int, entries: Sequence[Entry], *, confirmed: bool) -> Forming:
        """Begin to form a ring with a map, as a member already or as one who joins."""
        self._joiner.stop()
        self._stop_forming()
        calls = FormingCalls(self._formed, self._announce, self.rejoin, self._calls.buried, self._calls.left)
        forming = Forming(self._place, self._asker, calls)
        self.forming = forming
        forming.begin(era, entries, confirmed=confirmed, leaving=self._place.leaving)
        self._announce()
        return forming

    def named(self, request: ExchangeMap) -> Forming | None:
        """See `ServerCalls.named`."""
        return self.form(request.era, request.entries, confirmed=False) if self._joiner.running else None

    def forms_again(self, request: ExchangeMap) -> None:
        """See `ServerCalls.forms_again`."""
        leaving = [entry.member for entry in request.entries if entry.status is Status.LEAVING]
        self._regrouping.begin((entry.member for entry in request.entries), request.era, leaving)

    def notified(self, member: Member) -> None:
        """Hear of a member of the ring that was here before, while we form: before it is on the map, we ask all around, beginning there.

        It may stand among others of whom we do not know either, and a list that named it alone would skip them.
        """
        if self.forming is not None and not self.forming.notified(member):
            self._regrouping.begin([member])

    def _met(self, entries: tuple[Entry, ...]) -> None:
        if self.forming is not None:
            self.forming.merge(entries)

    def regroup(self, state: State) -> None:
        """See whether the ring has to form again: the list of this live successor comes round to us."""
        self._regrouping.begin(state.successors)

    def _form_again(self, entries: tuple[Entry, ...], era: int) -> None:
        self.form(era, (*entries, *self._promised), confirmed=True)

    def _formed(self) -> None:
        """The ring has formed: stand where the map says, or, if we are not on everybody's, join it like anybody."""
        forming = self.forming
        if forming is None:
            return
        if forming.confirmed and forming.others:
            members = forming.map.members
            self._promised = forming.map.joining
            self._stop_forming()
            self._place.arrange(Mode.RING, self._place.era, members)
            self._announce()
            self._calls.entered()
            if forming.leaving:
                self._regrouping.leave()
        else:
            self.rejoin()

    def _stop_forming(self) -> None:
        if self.forming is not None:
            self.forming.end()
            self.forming = None

    # -- out

    def leave(self) -> None:
        """Be about to leave: `left` is called as soon as the ring can do without us.

        If no more than r + 1 stay, they have to form the ring first: two who left a ring of r + 2 at once would make it smaller than Chord
        can bear. That takes a few exchanges with each of them.
        """
        self._joiner.stop()
        self._place.leaving = True
        if self.forming is not None and self.forming.confirmed:
            self.forming.leave()
        elif self._place.mode is Mode.RING:
            self._regrouping.leave()
        else:
            self._calls.left()

    def rejoin(self, through: Sequence[Contact] = ()) -> None:
        """Be no member any more and join again, in the first round through these contacts alone; who is about to leave has left."""
        if self._place.leaving:
            self._calls.left()
            return
        for contact in (*self._way.fingers, *(member.contact for member in self.known)):
            self._way.acquaintances.bury(contact)
        self._way.fingers.clear()
        self._asker.turn_away()
        self.step_out()
        self._place.live_again()  # whoever still has this one on a map must not take us for somebody who joins it
        self._joiner.start(through)

    def step_out(self) -> None:
        """Be no member any more."""
        self._promised = ()
        self._stop_forming()
        self._place.leave()
        self._announce()

    def stop(self) -> None:
        """Be no member any more, and do not become one."""
        self._joiner.stop()
        self.step_out()

    def _announce(self) -> None:
        if self._place.mode is not self._mode:
            self._mode = self._place.mode
            self._calls.changed(self._mode)
