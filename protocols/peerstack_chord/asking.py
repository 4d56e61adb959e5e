"""Asking other nodes: twice where a verdict hangs on it, with timeouts from their round-trip times. Over the seam; nothing here awaits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peerstack.dht.contract import HopOutcome
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import FindNode, NodesReply, Reply, Request
from peerstack.dht.replica.rtt import RoundTrips
from peerstack.dht.replica.seam import Outside, Rpc
from peerstack.errors import DeadlineExceeded, DialError, PeerstackError
from peerstack_chord.lookup import RingLookup
from peerstack_chord.messages import NotMember

__all__ = ["Answered", "Asker", "Finding"]

Answered = Callable[[Reply | None], None]
"""Gets the answer, or None where there was none."""

_TRIES: Final = 2


class Asker:
    """Sends the ring's requests.

    Args:
        rpc: Sends.
        outside: Clock and timers.
        round_trips: What is known of how long whom takes.
        heard: Told of each member that answered.
        failed: Told of each request that nobody, or no member, answered.
    """

    def __init__(
        self, rpc: Rpc, outside: Outside, round_trips: RoundTrips, heard: Callable[[Contact], None], failed: Callable[[Contact], None]
    ) -> None:
        self.outside = outside
        self.round_trips = round_trips
        self._rpc = rpc
        self._heard = heard
        self._failed = failed
        self._turn = 0
        self._stopped = False

    def stop(self) -> None:
        """Pass no answers on any more, and ask nobody."""
        self._stopped = True

    def turn_away(self) -> None:
        """Go to another ring: who answers now what was asked before is on the old one, and not heard."""
        self._turn += 1

    def ask(self, contact: Contact, request: Request, done: Answered, *, tries: int = _TRIES) -> None:
        """Ask a node, and once more if it does not answer: silence will count as its death."""

        def answered(reply: Reply | PeerstackError) -> None:
            if not isinstance(reply, PeerstackError):
                done(reply)
            elif tries > 1:
                self.ask(contact, request, done, tries=tries - 1)
            else:
                done(None)

        self.ask_once(contact, request, answered)

    def ask_once(
        self, contact: Contact, request: Request, done: Callable[[Reply | PeerstackError], None], timeout: float | None = None
    ) -> None:
        """Ask a node once."""
        if self._stopped:
            return
        sent_at, turn = self.outside.time(), self._turn

        def answered(reply: Reply | PeerstackError, now: float) -> None:
            if self._stopped:
                return
            if isinstance(reply, (PeerstackError, NotMember)):
                self._failed(contact)
            else:
                self.round_trips.measured(contact.key, now - sent_at)
                if turn == self._turn:
                    self._heard(contact)
            done(reply)

        self._rpc.request(contact, request, self.round_trips.timeout(contact.key) if timeout is None else timeout, answered)


class Finding:
    """Drives one lookup.

    Args:
        asker: Asks.
        lookup: Whom to ask.
        done: Called once, when it is over.
    """

    def __init__(self, asker: Asker, lookup: RingLookup, done: Callable[[RingLookup], None]) -> None:
        self._asker = asker
        self._lookup = lookup
        self._done: Callable[[RingLookup], None] | None = done
        self._cancel_wake: Callable[[], None] | None = None

    def step(self) -> None:
        """Ask whom there is to ask, or end."""
        if self._done is None:
            return
        now = self._asker.outside.time()
        for ask in self._lookup.next(now):
            self._ask(ask.contact, ask.timeout)
        if self._cancel_wake is not None:
            self._cancel_wake()
            self._cancel_wake = None
        if self._lookup.done or self._lookup.converged:
            done, self._done = self._done, None
            done(self._lookup)
            return
        wake_at = self._lookup.deadline()
        if wake_at is not None:
            self._cancel_wake = self._asker.outside.call_later(max(0.0, wake_at - now), self._wake)

    def stop(self) -> None:
        """End without a result."""
        self._done = None
        if self._cancel_wake is not None:
            self._cancel_wake()
            self._cancel_wake = None

    def _ask(self, contact: Contact, timeout: float) -> None:
        def answered(reply: Reply | PeerstackError) -> None:
            now = self._asker.outside.time()
            if isinstance(reply, NodesReply):
                self._lookup.on_reply(contact, reply.closer, now)
            else:
                self._lookup.on_failure(contact, now, _outcome(reply))
            self.step()

        self._asker.ask_once(contact, FindNode(position=self._lookup.target), answered, timeout)

    def _wake(self) -> None:
        self._cancel_wake = None
        self.step()


def _outcome(reply: Reply | PeerstackError) -> HopOutcome:
    if isinstance(reply, DeadlineExceeded):
        return HopOutcome.TIMEOUT
    return HopOutcome.UNREACHABLE if isinstance(reply, DialError) else HopOutcome.FAILED
