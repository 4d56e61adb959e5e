"""The peers that a lookup has heard of, in the order of their distance, path by path. See `lookup`."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from operator import attrgetter
from typing import Final

from peerstack.dht.contract import HopOutcome
from peerstack.dht.replica.contacts import Contact

__all__ = ["Candidate", "Path", "State"]

_MAX_CANDIDATES: Final = 1000  # of one path; a lookup in 10^7 nodes meets a few hundred
_DISTANCE: Final = attrgetter("distance")


class State(Enum):
    """How far asking a candidate has come."""

    UNASKED = auto()
    ASKED = auto()
    OVERDUE = auto()  # asked, given up waiting for, not given up
    ANSWERED = auto()
    FAILED = auto()


@dataclass(slots=True, eq=False)
class Candidate:
    """A peer a lookup has heard of; paths that heard of it share it."""

    contact: Contact
    distance: int
    depth: int
    state: State = State.UNASKED
    path: int = 0
    sent_at: float = 0.0
    patience: float = 0.0
    seconds: float = 0.0
    outcome: HopOutcome = HopOutcome.PENDING
    learned: int = 0


@dataclass(slots=True, eq=False)
class Path:
    """One way to the target: what it has heard of, and its share of what may be spent."""

    parallelism: int
    requests_left: int
    under_way: int = 0
    candidates: list[Candidate] = field(default_factory=list)  # the closest first
    distances: set[int] = field(default_factory=set)  # theirs

    def holds(self, distance: int) -> bool:
        """Whether it has heard of the peer at a distance."""
        return distance in self.distances

    def add(self, candidate: Candidate) -> Candidate | None:
        """Take a candidate in; returns who had to go for it, or itself if there is no room."""
        forgotten = None
        if len(self.candidates) >= _MAX_CANDIDATES:
            forgotten = self.candidates[-1]
            if candidate.distance > forgotten.distance or forgotten.state is not State.UNASKED:
                return candidate
            self.candidates.pop()
            self.distances.discard(forgotten.distance)
        insort(self.candidates, candidate, key=_DISTANCE)
        self.distances.add(candidate.distance)
        return forgotten

    def answered(self, count: int) -> list[Candidate]:
        """The closest `count` that answered."""
        return [each for each in self.candidates if each.state is State.ANSWERED][:count]

    def answered_without_gap(self, count: int) -> tuple[int, bool]:
        """Answers, up to `count`, before the closest candidate that is unasked or on time, and whether there is none such."""
        answered = 0
        for each in self.candidates:
            if each.state is State.ANSWERED:
                answered += 1
                if answered == count:
                    return answered, False
            elif each.state is State.UNASKED or each.state is State.ASKED:
                return answered, False
        return answered, True

    def worth_asking(self, count: int, free: int, rtt: Callable[[Contact], float | None]) -> list[Candidate]:
        """The next `free` to ask of the `count` closest that may be alive, the quick ones first."""
        unasked: list[Candidate] = []
        useful = 0
        for each in self.candidates:
            if each.state is State.UNASKED:
                unasked.append(each)
            if each.state is not State.FAILED and each.state is not State.OVERDUE:
                useful += 1
                if useful == count:
                    break
        if len(unasked) <= free:
            return unasked

        def swiftness(candidate: Candidate) -> float:
            seconds = rtt(candidate.contact)
            return float("inf") if seconds is None else seconds

        # Whoever is among the `parallelism` closest is equally useful.
        return sorted(unasked[: max(free, self.parallelism)], key=swiftness)[:free]
