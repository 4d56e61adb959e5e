"""Counting answers, against a reference that starts from nothing for every question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from peerstack.dht.contract import Ack, Refusal, RefusalReason
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.quorum import GetTally, Placement, PutTally, ReadVerdict
from peerstack.dht.records import Record, Slot
from peerstack.identity import PeerId
from peerstack.testing.store_conformance import NOW, RecordMaker

SLOT = Slot("kv", b"key")
KV = Namespaces()["kv"]
ALICE = RecordMaker.from_number(1)
PEERS = [PeerId(b"\x00\x01" + bytes([n])) for n in range(1, 13)]
RECORDS = [ALICE.put(SLOT, b"%d" % n, at=NOW + n) for n in range(3)] + [ALICE.delete(SLOT, at=NOW + 3)]


@dataclass(frozen=True)
class Answer:
    peer: int
    authoritative: bool
    named: tuple[int, ...]
    what: int
    """A put: 0 stored, 1 refused, 2 superseded, 3 no answer. A get: how many records it holds."""


INDEXES = st.integers(0, len(PEERS) - 1)
ANSWERS = st.lists(
    st.builds(Answer, INDEXES, st.booleans(), st.lists(INDEXES, max_size=6, unique=True).map(tuple), st.integers(0, 4)), max_size=14
)
KNOWN = st.lists(INDEXES, max_size=5, unique=True)
REPLICAS = st.integers(1, 6)


def distance(peer: PeerId) -> int:
    return peer.to_bytes()[2] ^ 0b0101


def nearest(position: bytes, peers: Iterable[PeerId]) -> list[PeerId]:
    return sorted(peers, key=distance)


def reference_set(answers: list[Answer], known: list[int], replicas: int, *, silent: int | None) -> list[PeerId]:
    named = {PEERS[index] for index in known}
    for answer in answers:
        if silent is None or answer.what != silent:
            named |= {PEERS[index] for index in answer.named[: 2 * replicas]}
    return sorted(named, key=distance)[:replicas]


@given(ANSWERS, KNOWN, REPLICAS, st.sampled_from(["majority", "one", "all", 1, 2, 3, 7]))
def test_a_put_counts_like_the_reference(answers: list[Answer], known: list[int], replicas: int, ack: Ack) -> None:
    tally = PutTally(RECORDS[1], KV, Placement(replicas, nearest), ack=ack, known=[PEERS[index] for index in known])
    for done in range(len(answers) + 1):
        so_far = answers[:done]
        if done:
            _feed_put(tally, answers[done - 1])
        members = reference_set(so_far, known, replicas, silent=3)
        stored = {PEERS[answer.peer] for answer in so_far if answer.what == 0}
        authority = {PEERS[answer.peer] for answer in so_far if answer.what != 3 and answer.authoritative}
        counting = [peer for peer in members if peer in stored and peer in authority]
        w = len(members) // 2 + 1
        wanted = {"majority": w, "one": 1, "all": len(members)}.get(str(ack), ack)
        assert isinstance(wanted, int)
        assert tally.members == tuple(members)
        assert tally.acknowledged == tuple(counting)
        assert tally.promised == (len(counting) >= w)
        enough = counting if wanted >= w else [peer for peer in members if peer in stored]
        assert tally.satisfied == (len(enough) >= wanted)
        heard = {PEERS[answer.peer] for answer in so_far}
        assert tally.pending == tuple(peer for peer in members if peer not in heard)
        assert tally.hopeless == (len(enough) + len(tally.pending) < wanted)
        assert not (tally.hopeless and tally.satisfied)
        assert (tally.superseded_by is None) == (not _superseded_first(so_far))


def _feed_put(tally: PutTally, answer: Answer) -> None:
    peer, named = PEERS[answer.peer], [PEERS[index] for index in answer.named]
    if answer.what == 3:
        tally.fail(peer, RefusalReason.TIMEOUT)
        return
    refusals = {0: None, 2: Refusal(RefusalReason.SUPERSEDED, "", RECORDS[2])}
    refusal = refusals.get(answer.what, Refusal(RefusalReason.FULL))
    tally.answer(peer, refusal, authoritative=answer.authoritative, named=named)


def _superseded_first(answers: list[Answer]) -> bool:
    """Whether anybody said "superseded" before it said "stored"."""
    stored: set[int] = set()
    for answer in answers:
        if answer.what == 0:
            stored.add(answer.peer)
        elif answer.what == 2 and answer.peer not in stored:
            return True
    return False


@given(ANSWERS, KNOWN, REPLICAS, st.none() | st.integers(1, 7))
def test_a_get_counts_like_the_reference(answers: list[Answer], known: list[int], replicas: int, quorum: int | None) -> None:
    tally = GetTally(RECORDS[0].position, KV, Placement(replicas, nearest), quorum=quorum, known=[PEERS[index] for index in known])
    for done in range(len(answers) + 1):
        so_far = answers[:done]
        if done:
            last = answers[done - 1]
            named = [PEERS[index] for index in last.named]
            tally.answer(PEERS[last.peer], RECORDS[: last.what], authoritative=last.authoritative, named=named)
        members = reference_set(so_far, known, replicas, silent=None)
        voters = [peer for peer in members if any(PEERS[answer.peer] == peer and answer.authoritative for answer in so_far)]
        greatest = max((answer.what for answer in so_far), default=0)
        best: Record | None = RECORDS[greatest - 1] if greatest else None
        found = greatest in (1, 2, 3)
        n = len(members)
        confirmed = n > 0 and len(voters) >= n - (n // 2 + 1) + 1
        assert (tally.members, tally.votes, tally.best(), tally.confirmed) == (tuple(members), tuple(voters), best, confirmed)
        assert tally.verdict(b"", NOW, exhausted=True) is _expected(found, confirmed, len(voters), quorum)
        early = tally.verdict(b"", NOW, exhausted=False)
        assert early in (tally.verdict(b"", NOW, exhausted=True), ReadVerdict.UNDECIDED)
        behind = [peer for peer in members if _held(so_far, peer) not in (None, greatest)]
        assert tally.outdated() == (tuple(behind) if greatest else ())


def _held(answers: list[Answer], peer: PeerId) -> int | None:
    return max((answer.what for answer in answers if PEERS[answer.peer] == peer), default=None)


def _expected(found: bool, confirmed: bool, votes: int, quorum: int | None) -> ReadVerdict:
    if quorum is not None and votes < quorum:
        return ReadVerdict.UNAVAILABLE
    if confirmed:
        return ReadVerdict.FOUND if found else ReadVerdict.NOT_FOUND
    return ReadVerdict.UNCONFIRMED if found else ReadVerdict.UNAVAILABLE
