"""The iterative lookup on the ring as a pure object: it says whom to ask, is told what came of it, and knows when it is over.

It goes in two stages. On the *approach* it asks the closest predecessor of the position that it has heard of, then the closest that this
one named, and so on: one at a time, because what comes back makes the rest needless (ToN 2003, IV-D). Who fails is passed over, and the
next closest is asked; where fingers fail, the successor lists that every answer carries lead on. The approach ends when the closest
predecessor that is not known dead has answered. Its successor list begins with the position's owner.

Then the first `count` members from the position on are asked, all at once, since it is they who have what the request is about. Theirs
are successor lists too, so that enough are found although some are dead. It ends when `count` have answered without a gap.

Nobody is asked twice, every answer teaches a bounded number of members, and no way is longer than `max_hops`: a liar can spend requests,
up to `max_requests`, but not lead in circles.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from operator import attrgetter
from typing import Final

from peerstack.dht.contract import Hop, HopOutcome
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.routing import Ask
from peerstack_chord.lookup_rules import LookupRules
from peerstack_chord.ring import POSITIONS, clockwise

__all__ = ["RingLookup"]

_MAX_CANDIDATES: Final = 1024
_NO_RTT: Final = float("inf")


class _Asked(Enum):
    """How far asking a candidate has come."""

    NOT_YET = auto()
    ON_TIME = auto()
    OVERDUE = auto()  # somebody else is asked as well
    ANSWERED = auto()
    FAILED = auto()


@dataclass(slots=True, eq=False)
class _Candidate:
    contact: Contact
    ahead: int  # from the position looked up, clockwise: the owner's is the least, its closest predecessor's the greatest
    depth: int
    asked: _Asked = _Asked.NOT_YET
    sent_at: float = 0.0
    patience: float = 0.0
    seconds: float = 0.0
    outcome: HopOutcome = HopOutcome.PENDING
    learned: int = 0


class RingLookup:
    """One lookup under way.

    Attributes:
        target: The position looked up.
    """

    def __init__(
        self,
        target: int,
        seeds: Iterable[Contact],
        rules: LookupRules,
        *,
        own: Contact,
        now: float,
        successors: Sequence[Contact] | None = None,
    ) -> None:
        """Begin.

        Args:
            target: The position to look up.
            seeds: Members already known.
            rules: Count, timeouts and bounds.
            own: Ourselves: never asked, never in the result.
            now: Monotonic seconds.
            successors: Our successor list if we are a member: we have answered already, then.
        """
        self.target = target
        self._rules = rules
        self._count = rules.count
        self._own = own.key
        self._began = now
        self._known: dict[int, _Candidate] = {}  # by position
        self._candidates: list[_Candidate] = []  # clockwise from the target
        self._sent: list[_Candidate] = []
        for contact in seeds:
            self._learn(contact, depth=1)
        if successors is not None:
            self._add(_Candidate(own, clockwise(target, own.key), 0, _Asked.ANSWERED))
            for contact in successors:
                self._learn(contact, depth=1)

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return len(self._sent)

    def next(self, now: float) -> list[Ask]:
        """Whom to ask now; call again after every report and at `deadline`."""
        for candidate in self._under_way():
            if candidate.sent_at + candidate.patience <= now:
                candidate.asked = _Asked.OVERDUE
        chosen = self._worth_asking()
        return [self._send(candidate, now) for candidate in chosen]

    def on_reply(self, peer: Contact, closer: Sequence[Contact], now: float) -> None:
        """Take an answer: the best predecessors of the target that the member knows, and its successors. Late ones count too."""
        candidate = self._settle(peer, _Asked.ANSWERED, HopOutcome.ANSWERED, now)
        if candidate is not None and candidate.depth < self._rules.max_hops:
            for contact in closer[: self._rules.max_named]:
                candidate.learned += self._learn(contact, candidate.depth + 1)

    def on_failure(self, peer: Contact, now: float, outcome: HopOutcome = HopOutcome.TIMEOUT) -> None:
        """Take the news that a member does not answer, or is none."""
        self._settle(peer, _Asked.FAILED, outcome, now)

    def deadline(self) -> float | None:
        """When `next` wants to be called although nothing was reported: a request becomes overdue."""
        return min((each.sent_at + each.patience for each in self._under_way()), default=None)

    def extend(self, count: int) -> None:
        """Look for more members from the position on than the rules said."""
        self._count = max(self._count, count)

    @property
    def done(self) -> bool:
        """Whether it is over: complete, or nobody is left to ask or to wait for."""
        waiting = any(each.asked in (_Asked.ON_TIME, _Asked.OVERDUE) for each in self._sent)
        return self.complete or not (waiting or self._worth_asking())

    @property
    def complete(self) -> bool:
        """Whether the closest predecessor that is not dead has answered, and without a gap the first `count` members after it."""
        return self._has_converged(passed_over=(_Asked.FAILED,))

    @property
    def converged(self) -> bool:
        """As `complete`, but without waiting for those who are overdue: they may still be alive, and are not worth the caller's time."""
        return self._has_converged(passed_over=(_Asked.FAILED, _Asked.OVERDUE))

    def result(self) -> list[Contact]:
        """Those of the first `count` members from the position on that answered, in order; ourselves left out, but counted."""
        answered = [each.contact for each in self._candidates if each.asked is _Asked.ANSWERED][: self._count]
        return [contact for contact in answered if contact.key != self._own]

    def predecessor(self) -> Contact | None:
        """The closest predecessor of the position that answered; it may be ourselves."""
        return next((each.contact for each in reversed(self._candidates) if each.asked is _Asked.ANSWERED), None)

    def trace(self, now: float) -> tuple[Hop, ...]:
        """What was asked of whom, in order of sending; distances are from the position clockwise to the member."""
        return tuple(
            Hop(
                peer=each.contact.peer_id,
                distance=each.ahead,
                depth=each.depth,
                sent_at=each.sent_at - self._began,
                seconds=now - each.sent_at if each.outcome is HopOutcome.PENDING else each.seconds,
                outcome=each.outcome,
                learned=each.learned,
            )
            for each in self._sent
        )

    def _under_way(self) -> Iterator[_Candidate]:
        return (each for each in self._sent if each.asked is _Asked.ON_TIME)

    def _worth_asking(self) -> list[_Candidate]:
        left = self._rules.max_requests - len(self._sent)
        if left <= 0:
            return []
        on_the_way = self._approaching()
        if on_the_way:
            return [] if any(each.asked is _Asked.ON_TIME for each in on_the_way) else self._most_useful(on_the_way)
        if not any(each.asked is _Asked.ANSWERED for each in self._candidates):
            return []
        free = self._rules.parallelism - sum(1 for _ in self._under_way())
        wanted = [each for each in self._candidates if each.asked is not _Asked.FAILED][: self._count]
        return [each for each in wanted if each.asked is _Asked.NOT_YET][: max(0, min(free, left))]

    def _approaching(self) -> list[_Candidate]:
        """Who may still turn out as the closest predecessor, closest first; empty at the end of the approach."""
        found = []
        for each in reversed(self._candidates):
            if each.asked is _Asked.ANSWERED:
                break
            if each.asked in (_Asked.NOT_YET, _Asked.ON_TIME):
                found.append(each)
        return found

    def _most_useful(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Of those that leave equally little of the way (up to a factor of two), the quickest."""
        magnitude = (POSITIONS - candidates[0].ahead).bit_length()
        equal = [each for each in candidates if (POSITIONS - each.ahead).bit_length() == magnitude]

        def rtt(candidate: _Candidate) -> float:
            known = self._rules.rtt(candidate.contact)
            return _NO_RTT if known is None else known

        return [min(equal, key=rtt)]

    def _has_converged(self, passed_over: tuple[_Asked, ...]) -> bool:
        alive = [each for each in self._candidates if each.asked not in passed_over]
        if not alive or alive[-1].asked is not _Asked.ANSWERED:
            return False
        return all(each.asked is _Asked.ANSWERED for each in alive[: self._count])

    def _learn(self, contact: Contact, depth: int) -> int:
        """Add a member; returns 1 if it is new, else 0."""
        if contact.key == self._own or contact.key in self._known or len(self._candidates) >= _MAX_CANDIDATES:
            return 0
        self._add(_Candidate(contact, clockwise(self.target, contact.key), depth))
        return 1

    def _add(self, candidate: _Candidate) -> None:
        self._known[candidate.contact.key] = candidate
        insort(self._candidates, candidate, key=attrgetter("ahead"))

    def _send(self, candidate: _Candidate, now: float) -> Ask:
        candidate.asked = _Asked.ON_TIME
        candidate.sent_at = now
        candidate.patience = self._rules.patience(candidate.contact)
        self._sent.append(candidate)
        return Ask(candidate.contact, self._rules.timeout(candidate.contact))

    def _settle(self, peer: Contact, asked: _Asked, outcome: HopOutcome, now: float) -> _Candidate | None:
        candidate = self._known.get(peer.key)
        if candidate is None or candidate.asked not in (_Asked.ON_TIME, _Asked.OVERDUE):
            return None
        candidate.asked = asked
        candidate.outcome = outcome
        candidate.seconds = now - candidate.sent_at
        return candidate
