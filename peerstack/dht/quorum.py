"""Counting answers: when a put is acknowledged, a get confirmed, an absence certain.

The responsible set S of a key is its `replicas` closest servers known, recounted in the union of what everybody who answered named. Of
its n members a write needs W = n // 2 + 1 and a read V = n - W + 1, so that every read meets every acknowledged write in one of them. S is
a set and not a number: what a stand-in stored or does not know never counts, and neither does the word of a member without authority. Both
DHTs count with this; they differ in `Placement.closest` alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from peerstack.dht.arguments import wanted_acks
from peerstack.dht.contract import Ack, GetResult, PutResult, Refusal, RefusalReason
from peerstack.dht.namespaces import Namespace
from peerstack.dht.records import Record
from peerstack.errors import KeyNotFound, QuorumNotMet, Unavailable
from peerstack.identity import PeerId

__all__ = ["GetTally", "Placement", "PutTally", "ReadVerdict", "Tally", "majority", "read_quorum"]


def majority(n: int) -> int:
    """W: how many of n members a write needs."""
    return n // 2 + 1


def read_quorum(n: int) -> int:
    """V: how many of n members a read needs to meet every write; who knows nobody never has it."""
    return max(1, n - majority(n) + 1)


@dataclass(frozen=True, slots=True)
class Placement:
    """Who is responsible for what."""

    replicas: int
    closest: Callable[[bytes, Iterable[PeerId]], Sequence[PeerId]]
    """``(position, peers)`` -> the peers, closest first."""


class Tally:
    """The responsible set of one key, as the answers to one operation make it known.

    Args:
        position: Where the key lies (32 bytes).
        placement: Who is responsible for what.
        known: Servers the caller knows of itself (with itself, where it is one).
    """

    def __init__(self, position: bytes, placement: Placement, known: Iterable[PeerId] = ()) -> None:
        self._position = position
        self._placement = placement
        self._named: dict[PeerId, None] = dict.fromkeys(known)
        self._ranked: list[PeerId] | None = None
        self._members: tuple[PeerId, ...] | None = None  # None: to be counted anew
        self._member_set: frozenset[PeerId] = frozenset()
        self._last_named: Sequence[PeerId] = ()
        self._heard: set[PeerId] = set()
        self._authorities: set[PeerId] = set()  # who answered with authority

    @property
    def members(self) -> tuple[PeerId, ...]:
        """The responsible set S, closest first."""
        if self._members is None:
            self._members = self.closest(self._placement.replicas)
            self._member_set = frozenset(self._members)
        return self._members

    def _as_set(self) -> frozenset[PeerId]:
        """The members, for counting: sets keep the hashes of what they hold, so that intersecting them asks no peer id for its own."""
        return self._member_set if self.members else frozenset()

    @property
    def majority(self) -> int:
        """W of the present S."""
        return majority(len(self.members))

    @property
    def read_quorum(self) -> int:
        """V of the present S."""
        return read_quorum(len(self.members))

    @property
    def votes(self) -> tuple[PeerId, ...]:
        """Members of S that answered with authority."""
        return tuple([peer for peer in self.members if peer in self._authorities])

    @property
    def vote_count(self) -> int:
        """How many `votes` there are."""
        return len(self._as_set() & self._authorities)

    def closest(self, count: int) -> tuple[PeerId, ...]:
        """The closest servers named so far."""
        if self._ranked is None:
            self._ranked = list(self._placement.closest(self._position, self._named))
        return tuple(self._ranked[:count])

    def all_answered(self, count: int) -> bool:
        """Whether each of the `count` closest servers named so far answered, with authority or without."""
        return all(peer in self._heard for peer in self.closest(count))

    def _hear(self, peer: PeerId, authoritative: bool, named: Sequence[PeerId]) -> None:
        self._heard.add(peer)
        if authoritative:
            self._authorities.add(peer)
        if named == self._last_named:  # as a rule they all name the same
            return
        self._last_named = named
        # Nobody has reason to name more than the closest of whom a taking-over asks.
        for each in named[: 2 * self._placement.replicas]:
            if each not in self._named:
                self._named[each] = None
                self._ranked = self._members = None


class PutTally(Tally):
    """The answers to one put.

    Args:
        record: What is put.
        namespace: Its namespace's rules.
        placement: Who is responsible for what.
        ack: Acknowledgements the caller asked for.
        known: Servers the caller knows of itself, and those its lookup heard of.
    """

    def __init__(
        self, record: Record, namespace: Namespace, placement: Placement, *, ack: Ack = "majority", known: Iterable[PeerId] = ()
    ) -> None:
        super().__init__(record.position, placement, known)
        self._record = record
        self._namespace = namespace
        self._ack = ack
        self._stored: dict[PeerId, None] = {}
        self._refused: dict[PeerId, Refusal] = {}
        self._superseded_by: Record | None = None

    def answer(self, peer: PeerId, refusal: Refusal | None, *, authoritative: bool, named: Sequence[PeerId] = ()) -> None:
        """Count an answer.

        Args:
            peer: Who answered.
            refusal: None where its store committed the record.
            authoritative: Whether it claims authority for the key.
            named: The responsible set as it knows it.
        """
        self._hear(peer, authoritative, named)
        superseding = refusal.record if refusal is not None and refusal.reason is RefusalReason.SUPERSEDED else None
        if superseding is not None and self._namespace.satisfies(superseding, self._record):
            refusal = None
        if refusal is None:
            self._stored[peer] = None
            self._refused.pop(peer, None)
        elif peer not in self._stored:
            self._refused[peer] = refusal
            if superseding is not None:
                known = self._superseded_by
                self._superseded_by = superseding if known is None else self._namespace.merge(known, superseding)

    def fail(self, peer: PeerId, reason: RefusalReason, message: str = "") -> None:
        """Count a peer that did not answer."""
        if peer not in self._stored:
            self._refused[peer] = Refusal(reason, message)

    @property
    def superseded_by(self) -> Record | None:
        """The greatest record that a holder has instead: the put has to be stamped anew, past it."""
        return self._superseded_by

    @property
    def acknowledged(self) -> tuple[PeerId, ...]:
        """Members whose acknowledgement counts."""
        return tuple(peer for peer in self.votes if peer in self._stored)

    @property
    def promised(self) -> bool:
        """Whether a majority acknowledged."""
        return len(self._acknowledging()) >= self.majority

    @property
    def wanted(self) -> int:
        """How many acknowledgements the caller asked for, of the present S."""
        return wanted_acks(self._ack, len(self.members), self.majority)

    @property
    def satisfied(self) -> bool:
        """Whether the caller has what it asked for."""
        return len(self._counted()) >= self.wanted

    @property
    def pending(self) -> tuple[PeerId, ...]:
        """Members that neither stored nor refused yet."""
        pending = self._pending()
        return tuple([peer for peer in self.members if peer in pending])

    @property
    def hopeless(self) -> bool:
        """Whether even if every pending member acknowledged, it would not be enough."""
        return len(self._counted()) + len(self._pending()) < self.wanted

    def result(self) -> PutResult:
        """What is known now."""
        return PutResult(
            namespace=self._record.namespace,
            key=self._record.key,
            subkey=self._record.subkey,
            version=self._record.version,
            expires_at=self._record.expires_at,
            targets=self.members,
            acknowledged=self.acknowledged,
            stored=tuple(self._stored),
            refused=dict(self._refused),
            asked=self.wanted,
            needed=self.majority,
        )

    def conclude(self) -> PutResult:
        """The result, where the caller has what it asked for.

        Raises:
            QuorumNotMet: It has not: the write is undecided.
        """
        result = self.result()
        if self.satisfied:
            return result
        reasons = sorted({refusal.reason.value for refusal in self._refused.values()})
        why = f" ({', '.join(reasons)})" if reasons else ""
        raise QuorumNotMet(
            f"{len(self._counted())} of {len(result.targets)} responsible nodes acknowledged, {self.wanted} were asked for{why}: "
            "the write is undecided, put again to settle it",
            result=result,
        )

    def _counted(self) -> frozenset[PeerId]:
        if self.wanted >= self.majority:
            return self._acknowledging()
        # Below the majority no promise is made, so members without authority will do; stand-ins still will not.
        return self._as_set() & set(self._stored)

    def _acknowledging(self) -> frozenset[PeerId]:
        return self._as_set() & self._authorities & set(self._stored)

    def _pending(self) -> frozenset[PeerId]:
        return self._as_set() - set(self._stored) - set(self._refused)


class ReadVerdict(enum.Enum):
    """Where a get stands."""

    UNDECIDED = "undecided"
    """More answers may still help."""
    FOUND = "found"
    """Confirmed."""
    UNCONFIRMED = "unconfirmed"
    """A value was found, but it may be stale."""
    NOT_FOUND = "not_found"
    """Confirmed: there is no such value."""
    UNAVAILABLE = "unavailable"
    """Too few answered."""


class GetTally(Tally):
    """The answers to one get, or to one get of a key's whole set, or to the look-up before a put.

    Args:
        position: Where the key lies (32 bytes).
        namespace: Its namespace's rules.
        placement: Who is responsible for what.
        quorum: Authoritative answers the caller insists on, or None.
        known: Servers the caller knows of itself.
    """

    def __init__(
        self, position: bytes, namespace: Namespace, placement: Placement, *, quorum: int | None = None, known: Iterable[PeerId] = ()
    ) -> None:
        super().__init__(position, placement, known)
        self._namespace = namespace
        self._quorum = quorum
        self._merged: dict[bytes, Record] = {}
        self._held: dict[PeerId, dict[bytes, Record]] = {}

    def answer(self, peer: PeerId, records: Iterable[Record], *, authoritative: bool, named: Sequence[PeerId] = ()) -> None:
        """Count an answer.

        Args:
            peer: Who answered.
            records: What it holds, the dead included; checked by `peerstack.dht.policy.validate`. A record it does not hold is a "no".
            authoritative: Whether it claims authority for the key.
            named: The responsible set as it knows it.
        """
        self._hear(peer, authoritative, named)
        held = self._held.setdefault(peer, {})
        for record in records:
            for known in (held, self._merged):
                other = known.get(record.subkey)
                known[record.subkey] = record if other is None else self._namespace.merge(other, record)

    @property
    def merged(self) -> list[Record]:
        """The greatest record of each subkey that anybody holds, the dead included, ordered by subkey."""
        return [self._merged[subkey] for subkey in sorted(self._merged)]

    @property
    def confirmed(self) -> bool:
        """Whether enough members answered to have met every acknowledged write."""
        return self.vote_count >= self.read_quorum

    def best(self, subkey: bytes = b"") -> Record | None:
        """The greatest record of a subkey that anybody holds, dead or alive."""
        return self._merged.get(subkey)

    def outdated(self, subkey: bytes = b"") -> tuple[PeerId, ...]:
        """Members that answered and hold something lesser than `best`, or nothing: whom to repair."""
        best = self._merged.get(subkey)
        if best is None:
            return ()
        return tuple(peer for peer in self.members if peer in self._heard and not _equal(self._held[peer].get(subkey), best))

    @property
    def disagrees(self) -> bool:
        """Whether a member that answered holds something lesser than another holder, or nothing."""
        return any(self.outdated(subkey) for subkey in self._merged)

    def verdict(self, subkey: bytes, now: int, *, exhausted: bool) -> ReadVerdict:
        """Where the get stands.

        Args:
            subkey: Which record is wanted.
            now: The reader's wall clock, microseconds: it judges expiry.
            exhausted: Whether nobody is left to ask, or no time.
        """
        found = self._live(subkey, now) is not None
        reached = self._quorum is None or self.vote_count >= self._quorum
        if self.confirmed and reached:
            return ReadVerdict.FOUND if found else ReadVerdict.NOT_FOUND
        if found and reached and (exhausted or self._quorum is not None):
            return ReadVerdict.UNCONFIRMED
        return ReadVerdict.UNAVAILABLE if exhausted else ReadVerdict.UNDECIDED

    def conclude(self, subkey: bytes, now: int, *, repaired: int = 0, local: bool = False) -> GetResult:
        """The result, when no more answers are waited for.

        Args:
            subkey: Which record is wanted.
            now: The reader's wall clock, microseconds.
            repaired: Holders that were sent the record.
            local: Whether our own copy was one of the answers.

        Raises:
            KeyNotFound: Confirmed.
            Unavailable: Too few answered.
        """
        verdict = self.verdict(subkey, now, exhausted=True)
        needed = max(self.read_quorum, self._quorum or 0)
        record = self._live(subkey, now)
        if verdict is ReadVerdict.NOT_FOUND:
            raise KeyNotFound(f"no value: {len(self.votes)} of {len(self.members)} responsible nodes answered, {needed} confirm it")
        if verdict is ReadVerdict.UNAVAILABLE or record is None or record.value is None:
            raise Unavailable(
                f"{len(self.votes)} of {len(self.members)} responsible nodes answered, {needed} are needed to be sure: try again",
                answered=len(self.votes),
                needed=needed,
            )
        return GetResult(
            value=record.value,
            record=record,
            confirmed=verdict is ReadVerdict.FOUND,
            answers=len(self.votes),
            asked=len(self._heard),
            needed=self.read_quorum,
            repaired=repaired,
            local=local,
        )

    def _live(self, subkey: bytes, now: int) -> Record | None:
        record = self._merged.get(subkey)
        # A header alone has died on its holder's clock, which may be a little ahead of ours.
        return None if record is None or record.value is None or record.is_dead(now) else record


def _equal(held: Record | None, best: Record) -> bool:
    return held is not None and held.digest == best.digest and (held.value is not None or best.value is None)
