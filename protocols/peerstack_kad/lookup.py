"""The iterative lookup as a pure object: it says whom to ask, is told what came of it, and knows when it is over.

It keeps the candidates in the order of their distance, has at most `parallelism` requests under way, and ends when the closest `count`
candidates that are not known dead have all answered (Maymounkov and Mazieres 2002, 2.3). A request that takes longer than its peer usually
needs no longer counts towards the parallelism: one slow peer never holds a lookup up, and its answer is still used when it comes.

Only the closest unanswered candidates are worth asking. Among those the lower round-trip time goes first, and where none is known the
closer one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from peerstack.dht.contract import Hop, HopOutcome
from peerstack_kad.keys import Contact

__all__ = ["MAX_CLOSER", "Ask", "Candidate", "LookupProgress", "LookupRules"]

MAX_CLOSER: Final = 40
"""Peers accepted from one answer: the closest that it knows, and those it counts as responsible."""

_MAX_CANDIDATES: Final = 1000  # a lookup in 10^7 nodes meets a few hundred


class _State(Enum):
    UNASKED = auto()
    ASKED = auto()
    OVERDUE = auto()  # asked, given up waiting for, not given up
    ANSWERED = auto()
    FAILED = auto()


@dataclass(slots=True, eq=False)
class Candidate:
    """A peer the lookup has heard of."""

    contact: Contact
    distance: int
    depth: int
    state: _State = _State.UNASKED
    sent_at: float = 0.0
    patience: float = 0.0


@dataclass(slots=True)
class Ask:
    """Send the lookup's question to this peer."""

    contact: Contact
    timeout: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupRules:
    """How a lookup goes about it."""

    count: int = 20
    """How many closest peers to find."""
    parallelism: int = 10
    """Requests under way at once, overdue ones not counted."""
    max_requests: int = 500
    """Over all; then the lookup ends incomplete."""
    timeout: Callable[[Contact], float] = lambda _contact: 10.0
    """Seconds after which a peer's silence is a failure."""
    patience: Callable[[Contact], float] = lambda _contact: 10.0
    """Seconds after which somebody else is asked as well."""
    rtt: Callable[[Contact], float | None] = lambda _contact: None
    """A peer's round-trip time in seconds, where known."""


class LookupProgress:
    """One lookup under way.

    Attributes:
        target: The position looked up.
        requests: Requests sent so far.
        hops: What was asked of whom, in order of sending, if traced.
    """

    def __init__(self, target: int, seeds: Iterable[Contact], rules: LookupRules, *, own: int, trace: bool = False, now: float) -> None:
        """Begin.

        Args:
            target: The position to look up.
            seeds: The closest peers already known.
            rules: Parallelism, count, timeouts.
            own: Our own position: never a candidate.
            trace: Whether to keep hops.
            now: Monotonic seconds.
        """
        self.target = target
        self.requests = 0
        self.hops: list[Hop] = []
        self._rules = rules
        self._count = rules.count
        self._own = own
        self._trace = trace
        self._began = now
        self._order: list[int] = []  # distances of all candidates, ascending
        self._known: dict[int, Candidate] = {}  # by distance
        self._under_way: dict[int, Candidate] = {}  # asked and not overdue, by distance, in order of sending
        self._overdue = 0
        for contact in seeds:
            self._learn(contact, depth=1)

    def next(self, now: float) -> list[Ask]:
        """Whom to ask now; call again after every report and at `deadline`."""
        self._note_overdue(now)
        asks: list[Ask] = []
        free = self._rules.parallelism - len(self._under_way)
        if free <= 0:
            return asks
        for candidate in self._worth_asking(free):
            if self.requests >= self._rules.max_requests:
                break
            contact = candidate.contact
            candidate.state = _State.ASKED
            candidate.sent_at = now
            candidate.patience = self._rules.patience(contact)
            self.requests += 1
            self._under_way[candidate.distance] = candidate
            asks.append(Ask(contact, self._rules.timeout(contact)))
        return asks

    def on_reply(self, peer: Contact, closer: Sequence[Contact], now: float) -> None:
        """Take an answer; late ones count too."""
        candidate = self._settle(peer, _State.ANSWERED)
        if candidate is None:
            return
        learned = 0
        for contact in closer[:MAX_CLOSER]:
            learned += self._learn(contact, depth=candidate.depth + 1)
        self._note_hop(candidate, HopOutcome.ANSWERED, learned, now)

    def on_failure(self, peer: Contact, now: float, outcome: HopOutcome = HopOutcome.TIMEOUT) -> None:
        """Take the news that a peer does not answer."""
        candidate = self._settle(peer, _State.FAILED)
        if candidate is not None:
            self._note_hop(candidate, outcome, 0, now)

    def deadline(self) -> float | None:
        """When `next` wants to be called although nothing was reported: a request becomes overdue."""
        return min((c.sent_at + c.patience for c in self._under_way.values()), default=None)

    def extend(self, count: int) -> None:
        """Look for more of the closest than the rules said."""
        self._count = max(self._count, count)

    @property
    def done(self) -> bool:
        """Whether it is over: complete, or nobody is left to ask or to wait for."""
        if self._under_way or self._overdue:
            return self.complete
        return self.complete or self.requests >= self._rules.max_requests or not self._worth_asking(1)

    @property
    def complete(self) -> bool:
        """Whether the closest `count` candidates that are not dead have all answered (there may be fewer in all)."""
        answered, ended = self._answered_without_gap()
        return answered >= self._count or (ended and answered > 0 and not self._overdue)

    @property
    def converged(self) -> bool:
        """As `complete`, but without waiting for those who are overdue: they may still be alive, and are not worth the caller's time."""
        answered, ended = self._answered_without_gap()
        return answered >= self._count or (ended and answered > 0)

    def result(self) -> list[Contact]:
        """The closest `count` peers that answered, closest first."""
        found: list[Contact] = []
        for distance in self._order:
            candidate = self._known[distance]
            if candidate.state is _State.ANSWERED:
                found.append(candidate.contact)
                if len(found) == self._count:
                    break
        return found

    def alive(self, count: int) -> list[Contact]:
        """The closest `count` candidates not known dead, asked or not, closest first."""
        found = [c.contact for distance in self._order if (c := self._known[distance]).state is not _State.FAILED]
        return found[:count]

    def _answered_without_gap(self) -> tuple[int, bool]:
        """Answers before the closest candidate that is unasked or on time, and whether there is none such."""
        answered = 0
        for distance in self._order:
            state = self._known[distance].state
            if state is _State.ANSWERED:
                answered += 1
                if answered == self._count:
                    return answered, False
            elif state is _State.UNASKED or state is _State.ASKED:
                return answered, False
        return answered, True

    def _worth_asking(self, free: int) -> list[Candidate]:
        unasked: list[Candidate] = []
        useful = 0
        for distance in self._order:
            candidate = self._known[distance]
            state = candidate.state
            if state is _State.UNASKED:
                unasked.append(candidate)
            if state is not _State.FAILED and state is not _State.OVERDUE:
                useful += 1
                if useful == self._count:
                    break
        if len(unasked) <= free:
            return unasked
        # Whoever is among the `parallelism` closest is equally useful; of those the quick ones first.
        near = unasked[: max(free, self._rules.parallelism)]
        return sorted(near, key=self._swiftness)[:free]

    def _swiftness(self, candidate: Candidate) -> float:
        rtt = self._rules.rtt(candidate.contact)
        return float("inf") if rtt is None else rtt

    def _learn(self, contact: Contact, *, depth: int) -> int:
        distance = contact.key ^ self.target
        if contact.key == self._own or distance in self._known:
            return 0
        if len(self._order) >= _MAX_CANDIDATES:
            farthest = self._order[-1]
            if distance > farthest or self._known[farthest].state is not _State.UNASKED:
                return 0
            self._order.pop()
            del self._known[farthest]
        self._order.insert(bisect_left(self._order, distance), distance)
        self._known[distance] = Candidate(contact, distance, depth)
        return 1

    def _settle(self, peer: Contact, state: _State) -> Candidate | None:
        candidate = self._known.get(peer.key ^ self.target)
        if candidate is None:
            return None
        if candidate.state is _State.ASKED:
            del self._under_way[candidate.distance]
        elif candidate.state is _State.OVERDUE:
            self._overdue -= 1
        else:
            return None
        candidate.state = state
        return candidate

    def _note_overdue(self, now: float) -> None:
        late = [c for c in self._under_way.values() if c.sent_at + c.patience <= now]
        for candidate in late:
            candidate.state = _State.OVERDUE
            del self._under_way[candidate.distance]
        self._overdue += len(late)

    def _note_hop(self, candidate: Candidate, outcome: HopOutcome, learned: int, now: float) -> None:
        if self._trace:
            self.hops.append(
                Hop(
                    peer=candidate.contact.peer_id,
                    distance=candidate.distance,
                    depth=candidate.depth,
                    sent_at=candidate.sent_at - self._began,
                    seconds=now - candidate.sent_at,
                    outcome=outcome,
                    learned=learned,
                )
            )
