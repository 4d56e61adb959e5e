"""Joining: find the member before us, and have it let us in; found a ring where there is none. Over the seam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Reply
from peerstack_chord.asking import Asker, Finding
from peerstack_chord.lookup import RingLookup
from peerstack_chord.messages import Join, JoinReply, Verdict
from peerstack_chord.place import Place
from peerstack_chord.ring import Mode, between

__all__ = ["Joiner", "JoinerCalls"]

_ROUNDS_BEFORE_FOUNDING: Final = 3
_ATTEMPTS: Final = 4  # of one round: the place may be taken while we ask for it


@dataclass(slots=True)
class JoinerCalls:
    """What a `Joiner` needs of its node."""

    contacts: Callable[[], Sequence[Contact]]
    """Whom it may ask: configured, remembered, met before."""
    begin_lookup: Callable[[Sequence[Contact]], RingLookup]
    """Begins a lookup of our own position through some of them."""
    joined: Callable[[JoinReply], None]
    """Called with the answer of who lets us in, whether into a ring or onto the map of one that forms."""
    found: Callable[[], None]
    """Called when a ring is to be founded: there is nobody to ask, or in three rounds nobody answered as a member."""


class Joiner:
    """Tries to join until it has joined, or founds.

    Args:
        place: Whose.
        asker: Asks.
        pause_s: Between two rounds; spread by half.
        calls: What it needs of its node.
    """

    def __init__(self, place: Place, asker: Asker, pause_s: float, calls: JoinerCalls) -> None:
        self._place = place
        self._asker = asker
        self._pause_s = pause_s
        self._calls = calls
        self._finding: Finding | None = None
        self._cancel_pause: Callable[[], None] | None = None
        self._running = False
        self._unanswered = 0
        self._attempts = 0
        self._turn = 0  # answers of earlier rounds are not read

    @property
    def running(self) -> bool:
        """Whether it is at it."""
        return self._running

    def start(self, through: Sequence[Contact] = ()) -> None:
        """Begin, in the first round through these contacts alone, if any are given."""
        self.stop()
        self._running = True
        self._unanswered = 0
        self._round(through or self._calls.contacts())

    def stop(self) -> None:
        """Give up."""
        self._running = False
        self._turn += 1
        if self._finding is not None:
            self._finding.stop()
        if self._cancel_pause is not None:
            self._cancel_pause()
            self._cancel_pause = None

    def _round(self, contacts: Sequence[Contact]) -> None:
        self._cancel_pause = None
        if not contacts:
            self._found()
            return
        self._attempts = _ATTEMPTS
        self._look_up(contacts)

    def _look_up(self, contacts: Sequence[Contact]) -> None:
        self._attempts -= 1
        self._turn += 1
        self._finding = Finding(self._asker, self._calls.begin_lookup(contacts), self._found_way)
        self._finding.step()

    def _found_way(self, lookup: RingLookup) -> None:
        before = lookup.predecessor()
        if before is None:
            self._unanswered += 1
            if self._unanswered >= _ROUNDS_BEFORE_FOUNDING:
                self._found()
            else:
                self._pause()
            return
        self._unanswered = 0
        self._place.live_again()
        turn = self._turn
        self._asker.ask(before, Join(self._place.own), lambda reply: self._answered(before, turn, reply), tries=1)

    def _answered(self, before: Contact, turn: int, reply: Reply | None) -> None:
        if turn != self._turn or not self._running:
            return
        if not isinstance(reply, JoinReply) or reply.verdict is Verdict.BUSY or reply.state.member.key != before.key:
            self._pause()
        elif reply.verdict is Verdict.ELSEWHERE or not self._lets_us_in(reply):
            if self._attempts:
                self._look_up([before])
            else:
                self._pause()
        else:
            self._running = False
            self._calls.joined(reply)

    def _lets_us_in(self, reply: JoinReply) -> bool:
        if reply.verdict is Verdict.FORMING:
            return True
        state = reply.state
        return (
            state.mode is Mode.RING and bool(state.successors) and between(state.member.key, self._place.own.key, state.successors[0].key)
        )

    def _pause(self) -> None:
        pause_s = self._pause_s * (0.75 + self._asker.outside.random_bits(16) / (1 << 17))
        self._cancel_pause = self._asker.outside.call_later(pause_s, lambda: self._round(self._calls.contacts()))

    def _found(self) -> None:
        self._running = False
        self._place.live_again()
        self._calls.found()
