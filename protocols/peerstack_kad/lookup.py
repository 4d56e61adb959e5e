"""The iterative lookup as a pure object: it says whom to ask, is told what came of it, and knows when it is over.

It keeps the candidates in the order of their distance, has at most `parallelism` requests under way, and ends when the closest `count`
candidates that are not known dead have all answered (Maymounkov and Mazieres 2002, 2.3). A request that takes longer than its peer usually
needs no longer counts towards the parallelism: one slow peer never holds a lookup up, and its answer is still used when it comes.

Only the closest unanswered candidates are worth asking. Among those the lower round-trip time goes first, and where none is known the
closer one.

It may go along several disjoint paths (Baumgart and Mies 2007, 4.4): the peers known at first are dealt out to them, a path follows only
what its own peers named, and nobody is asked by two of them. Who lies to one path says nothing to the others. Each path has its own share
of the parallelism and of the requests, so that none starves another. The result is what all of them found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from peerstack.dht.contract import Hop, HopOutcome
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.routing import Ask
from peerstack_kad.candidates import Candidate, Path, State

__all__ = ["MAX_CLOSER", "LookupProgress", "LookupRules"]

MAX_CLOSER: Final = 40
"""Peers accepted from one answer: the closest that it knows, and those it counts as responsible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupRules:
    """How a lookup goes about it."""

    count: int = 20
    """How many closest peers to find."""
    parallelism: int = 10
    """Requests under way at once, overdue ones not counted. Every path has at least one."""
    paths: int = 1
    """Disjoint paths to go along."""
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
    """

    def __init__(self, target: int, seeds: Iterable[Contact], rules: LookupRules, *, own: int, now: float) -> None:
        """Begin.

        Args:
            target: The position to look up.
            seeds: The closest peers already known.
            rules: Parallelism, count, paths, timeouts.
            own: Our own position: never a candidate.
            now: Monotonic seconds.
        """
        self.target = target
        self._rules = rules
        self._count = rules.count
        self._own = own
        self._began = now
        self._known: dict[int, Candidate] = {}  # by distance
        self._sent: list[Candidate] = []
        self._under_way: dict[int, Candidate] = {}  # asked and not overdue, by distance, in order of sending
        self._overdue = 0
        self._paths = [Path(share, budget) for share, budget in zip(_shares(rules), _budgets(rules), strict=True)]
        for turn, contact in enumerate(sorted(seeds, key=lambda seed: seed.key ^ target)):
            self._learn(contact, self._paths[turn % len(self._paths)], depth=1)

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return len(self._sent)

    def next(self, now: float) -> list[Ask]:
        """Whom to ask now; call again after every report and at `deadline`."""
        self._note_overdue(now)
        asks: list[Ask] = []
        for number, path in enumerate(self._paths):
            free = min(path.parallelism - path.under_way, path.requests_left)
            if free <= 0:
                continue
            for candidate in path.worth_asking(self._count, free, self._rules.rtt):
                self._send(candidate, number, now)
                asks.append(Ask(candidate.contact, self._rules.timeout(candidate.contact)))
        return asks

    def on_reply(self, peer: Contact, closer: Sequence[Contact], now: float) -> None:
        """Take an answer; late ones count too."""
        candidate = self._settle(peer, State.ANSWERED, HopOutcome.ANSWERED, now)
        if candidate is None:
            return
        path = self._paths[candidate.path]
        for contact in closer[:MAX_CLOSER]:
            if contact.key ^ self.target not in path.distances:  # most of them are known
                candidate.learned += self._learn(contact, path, depth=candidate.depth + 1)

    def on_failure(self, peer: Contact, now: float, outcome: HopOutcome = HopOutcome.TIMEOUT) -> None:
        """Take the news that a peer does not answer."""
        self._settle(peer, State.FAILED, outcome, now)

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
        return self.complete or not any(path.requests_left and path.worth_asking(self._count, 1, self._rules.rtt) for path in self._paths)

    @property
    def complete(self) -> bool:
        """Whether on every path the closest `count` candidates that are not dead have all answered (there may be fewer in all)."""
        return self._has_converged(but_for_overdue=not self._overdue)

    @property
    def converged(self) -> bool:
        """As `complete`, but without waiting for those who are overdue: they may still be alive, and are not worth the caller's time."""
        return self._has_converged(but_for_overdue=True)

    def result(self) -> list[Contact]:
        """The closest `count` peers of every path that answered, closest first."""
        found = {each.distance: each.contact for path in self._paths for each in path.answered(self._count)}
        return [found[distance] for distance in sorted(found)]

    def trace(self, now: float) -> tuple[Hop, ...]:
        """What was asked of whom, in order of sending; who has not answered by now is pending."""
        return tuple(
            Hop(
                peer=each.contact.peer_id,
                distance=each.distance,
                depth=each.depth,
                path=each.path,
                sent_at=each.sent_at - self._began,
                seconds=now - each.sent_at if each.outcome is HopOutcome.PENDING else each.seconds,
                outcome=each.outcome,
                learned=each.learned,
            )
            for each in self._sent
        )

    def _has_converged(self, *, but_for_overdue: bool) -> bool:
        anybody = False
        for path in self._paths:
            answered, ended = path.answered_without_gap(self._count)
            if answered < self._count and not (ended and but_for_overdue):
                return False
            anybody = anybody or answered > 0
        return anybody

    def _learn(self, contact: Contact, path: Path, *, depth: int) -> int:
        """Add a peer to a path; returns 1 if it is new to the path, else 0."""
        distance = contact.key ^ self.target
        if contact.key == self._own or path.holds(distance):
            return 0
        candidate = self._known.get(distance) or Candidate(contact, distance, depth)
        forgotten = path.add(candidate)
        if forgotten is not candidate:
            self._known[distance] = candidate
        if forgotten is not None and not any(each.holds(forgotten.distance) for each in self._paths):
            self._known.pop(forgotten.distance, None)
        return int(forgotten is not candidate)

    def _send(self, candidate: Candidate, number: int, now: float) -> None:
        path = self._paths[number]
        candidate.state = State.ASKED
        candidate.path = number
        candidate.sent_at = now
        candidate.patience = self._rules.patience(candidate.contact)
        self._sent.append(candidate)
        self._under_way[candidate.distance] = candidate
        path.under_way += 1
        path.requests_left -= 1

    def _settle(self, peer: Contact, state: State, outcome: HopOutcome, now: float) -> Candidate | None:
        candidate = self._known.get(peer.key ^ self.target)
        if candidate is None:
            return None
        if candidate.state is State.ASKED:
            del self._under_way[candidate.distance]
            self._paths[candidate.path].under_way -= 1
        elif candidate.state is State.OVERDUE:
            self._overdue -= 1
        else:
            return None
        candidate.state = state
        candidate.outcome = outcome
        candidate.seconds = now - candidate.sent_at
        return candidate

    def _note_overdue(self, now: float) -> None:
        late = [c for c in self._under_way.values() if c.sent_at + c.patience <= now]
        for candidate in late:
            candidate.state = State.OVERDUE
            del self._under_way[candidate.distance]
            self._paths[candidate.path].under_way -= 1
        self._overdue += len(late)


def _shares(rules: LookupRules) -> list[int]:
    """The parallelism of each path: what there is, divided evenly, and one at least."""
    whole, rest = divmod(rules.parallelism, rules.paths)
    return [max(1, whole + (number < rest)) for number in range(rules.paths)]


def _budgets(rules: LookupRules) -> list[int]:
    """The requests of each path, likewise."""
    whole, rest = divmod(rules.max_requests, rules.paths)
    return [whole + (number < rest) for number in range(rules.paths)]
