"""Keeping one's place in ring mode: stabilise, and rectify when notified. State machines over the seam.

The operations are Zave's (IEEE TSE 2017, section 5), and each answer is one of its steps:

* `Stabiliser`: ask the first successor for its state. Dead: drop it, and ask the next. Alive: take over its list; if its predecessor stands
  between the two of us, ask that one for its state *before* adopting it. Then notify whoever is first, unless it has just said that we
  are its predecessor.
* `Rectifier`: a node that notifies us becomes our predecessor if it stands behind the present one, or if that one turns out to be dead.

An answer counts only if the successor list is still the one for which it was asked for: else it could take out a member learned of since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peerstack.dht.replica.messages import Reply
from peerstack_chord.asking import Asker
from peerstack_chord.messages import GetState, Notify, StateReply
from peerstack_chord.place import MAX_INCARNATION, Place
from peerstack_chord.ring import Member, Mode, State, between

__all__ = ["Rectifier", "Stabiliser", "alive"]

_MAX_STEPS: Final = 8  # of one round: better successors may follow one upon the other, for ever if they lie


def alive(asked: Member, reply: Reply | None) -> State | None:
    """The state of a node that answered as a member; None if it is dead, or lives another life and is no member yet."""
    if not isinstance(reply, StateReply):
        return None
    state = reply.state
    sound = state.member.key == asked.key and state.mode is not Mode.OUTSIDE and 0 <= state.member.incarnation < MAX_INCARNATION
    return state if sound else None


class Stabiliser:
    """Runs rounds of stabilise, one at a time.

    Args:
        place: Whose.
        asker: Asks.
        buried: Told of each successor found dead.
        ran_out: Called when the whole list was dead: beyond what Chord can bear.
        small: Called with a live successor's list where that reaches ourselves: the ring has at most r + 1 members.
    """

    def __init__(
        self,
        place: Place,
        asker: Asker,
        *,
        buried: Callable[[Member], None],
        ran_out: Callable[[], None],
        small: Callable[[State], None],
    ) -> None:
        self._place = place
        self._asker = asker
        self._buried = buried
        self._ran_out = ran_out
        self._small = small
        self._running = False
        self._again = False
        self._steps = 0
        self._better: Member | None = None

    def begin(self) -> None:
        """Begin a round; if one is under way, another follows it."""
        if self._running:
            self._again = True
        else:
            self._steps = _MAX_STEPS
            self._ask_first()

    def outlived(self, newcomer: Member) -> None:
        """A node asks to join: what is under way of an earlier life of it counts no more, though that life stood on no list of ours."""
        if self._better is not None and self._better.key == newcomer.key:
            self._better = None

    def _ask_first(self) -> None:
        place = self._place
        first = place.successors.first
        self._running = place.mode is Mode.RING and first is not None
        if not self._running or first is None:
            if place.mode is Mode.RING:
                self._ran_out()
            return
        self._again = False
        version = place.successors.version
        self._asker.ask(first.contact, GetState(), lambda reply: self._first_answered(first, version, alive(first, reply)))

    def _first_answered(self, first: Member, version: int, state: State | None) -> None:
        place = self._place
        if self._outdated(version):
            self._end(again=True)
            return
        if state is None:
            place.drop(first)
            self._buried(first)
            self._ask_first()
            return
        reaches_us = place.successors.comes_round(state.successors)
        place.adopt(state.member, state.successors)
        if reaches_us:
            self._small(state)
        better = state.predecessor
        if better == place.own:
            self._end(again=False)
        elif better is not None and between(place.own.key, better.key, state.member.key):
            version = place.successors.version
            self._better = better
            self._asker.ask(better.contact, GetState(), lambda reply: self._better_answered(better, version, alive(better, reply)))
        else:
            self._notify(again=False)

    def _better_answered(self, better: Member, version: int, state: State | None) -> None:
        outlived = self._better is not better
        self._better = None
        if outlived or self._outdated(version):
            self._end(again=True)
            return
        if state is not None:
            self._place.adopt(state.member, state.successors)
        self._notify(again=state is not None)

    def _notify(self, *, again: bool) -> None:
        first = self._place.successors.first
        if first is None or self._place.mode is not Mode.RING:
            self._end(again=again)
            return
        self._asker.ask(first.contact, Notify(self._place.own), lambda _reply: self._end(again=again), tries=1)

    def _outdated(self, version: int) -> bool:
        return self._place.mode is not Mode.RING or self._place.successors.version != version

    def _end(self, *, again: bool) -> None:
        self._running = False
        self._steps -= 1
        if (again or self._again) and self._steps > 0:
            self._ask_first()


class Rectifier:
    """Decides who the predecessor is.

    Args:
        place: Whose.
        asker: Asks.
        buried: Told of each predecessor found dead.
    """

    def __init__(self, place: Place, asker: Asker, buried: Callable[[Member], None]) -> None:
        self._place = place
        self._asker = asker
        self._buried = buried
        self._candidate: Member | None = None
        self._checking = False

    def notified(self, new: Member) -> None:
        """Take the word of a live member that takes us for its first successor."""
        present = self._place.predecessor
        if new.key == self._place.own.key:
            return
        if present is None or between(present.key, new.key, self._place.own.key):
            self._place.follow(new)
        elif present.key == new.key:
            if new.incarnation > present.incarnation:
                self._place.follow(new)
        else:
            self._consider(new)
            self._check(present)

    def departed(self, leaver: Member, before: Member | None) -> None:
        """Our predecessor has left: who stood before it takes its place, if it is alive."""
        if leaver != self._place.predecessor or before is None or before.key == self._place.own.key:
            return
        self._asker.ask(before.contact, GetState(), lambda reply: self._stood_before(leaver, alive(before, reply)))

    def _stood_before(self, leaver: Member, state: State | None) -> None:
        if state is not None and leaver == self._place.predecessor and self._place.mode is Mode.RING:
            self._place.follow(state.member)

    def _consider(self, new: Member) -> None:
        if self._candidate is None or new.key == self._candidate.key or between(self._candidate.key, new.key, self._place.own.key):
            self._candidate = new

    def _check(self, present: Member) -> None:
        """See whether the present predecessor is alive; one check at a time."""
        if self._checking:
            return
        self._checking = True
        self._asker.ask(present.contact, GetState(), lambda reply: self._checked(present, alive(present, reply)))

    def _checked(self, present: Member, state: State | None) -> None:
        self._checking = False
        candidate, self._candidate = self._candidate, None
        if self._place.predecessor != present or self._place.mode is not Mode.RING or candidate is None:
            return
        if state is not None:
            self._place.follow(state.member)
            return
        self._buried(present)
        self._place.follow(candidate)
