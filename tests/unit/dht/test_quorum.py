from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest

from peerstack.dht.contract import Ack, Refusal, RefusalReason
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.quorum import GetTally, Placement, PutTally, ReadVerdict, Tally, majority, read_quorum
from peerstack.dht.records import Record, Slot
from peerstack.errors import KeyNotFound, QuorumNotMet, Unavailable
from peerstack.identity import PeerId
from peerstack.testing.store_conformance import HOUR, NOW, RecordMaker

SLOT = Slot("kv", b"key")
KV = Namespaces()["kv"]
ALICE = RecordMaker.from_number(1)
PEERS = [PeerId(b"\x00\x04" + n.to_bytes(4, "big")) for n in range(12)]
"""Peer n is the n-th closest to every key."""
RECORD = ALICE.put(SLOT)
NEWER = ALICE.put(SLOT, b"newer", at=NOW + 1)
TIMEOUT = RefusalReason.TIMEOUT


def nearest(position: bytes, peers: Iterable[PeerId]) -> list[PeerId]:
    return sorted(peers)


def place(replicas: int) -> Placement:
    return Placement(replicas, nearest)


def put_tally(replicas: int = 3, *, ack: Ack = "majority", known: int = 3) -> PutTally:
    return PutTally(RECORD, KV, place(replicas), ack=ack, known=PEERS[:known])


def get_tally(replicas: int = 3, *, quorum: int | None = None, known: int = 3) -> GetTally:
    return GetTally(RECORD.position, KV, place(replicas), quorum=quorum, known=PEERS[:known])


@pytest.mark.parametrize(("n", "w", "v"), [(0, 1, 1), (1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 3, 2), (5, 3, 3), (20, 11, 10)])
def test_quorums(n: int, w: int, v: int) -> None:
    assert (majority(n), read_quorum(n)) == (w, v)


@pytest.mark.parametrize("n", range(1, 30))
def test_every_read_meets_every_write(n: int) -> None:
    assert majority(n) + read_quorum(n) == n + 1
    assert 2 * majority(n) > n


def test_the_set_is_recounted_in_the_union_of_what_all_named() -> None:
    tally = get_tally(3, known=0)
    tally.answer(PEERS[5], [], authoritative=True, named=[PEERS[5], PEERS[7], PEERS[9]])
    assert tally.members == (PEERS[5], PEERS[7], PEERS[9])
    tally.answer(PEERS[7], [], authoritative=True, named=[PEERS[2], PEERS[5], PEERS[7]])
    assert tally.members == (PEERS[2], PEERS[5], PEERS[7])
    assert tally.votes == (PEERS[5], PEERS[7])


def test_nobody_can_name_without_bound() -> None:
    crowd = [PeerId(b"\x00\x04" + n.to_bytes(4, "big")) for n in range(10_000)]
    tally = get_tally(3, known=0)
    tally.answer(crowd[0], [], authoritative=True, named=crowd)
    assert len(tally.closest(10_000)) == 6


class TestPut:
    def test_a_majority_acknowledges(self) -> None:
        tally = put_tally()
        tally.answer(PEERS[0], None, authoritative=True)
        early = tally.satisfied
        tally.answer(PEERS[2], None, authoritative=True)
        assert (early, tally.satisfied) == (False, True)
        result = tally.conclude()
        assert result.promised
        assert (result.targets, result.acknowledged, result.asked, result.needed) == (tuple(PEERS[:3]), (PEERS[0], PEERS[2]), 2, 2)
        assert (result.namespace, result.key, result.subkey) == SLOT
        assert (result.version, result.expires_at) == (RECORD.version, RECORD.expires_at)

    def test_stand_ins_and_members_without_authority_do_not_count(self) -> None:
        tally = put_tally()
        tally.answer(PEERS[0], None, authoritative=True)
        for stand_in in PEERS[3:9]:
            tally.answer(stand_in, None, authoritative=True)
        tally.answer(PEERS[1], None, authoritative=False)
        assert not tally.satisfied
        assert tally.acknowledged == (PEERS[0],)
        assert tally.pending == (PEERS[2],)
        tally.fail(PEERS[2], TIMEOUT)
        assert tally.hopeless
        with pytest.raises(QuorumNotMet, match=r"1 of 3 .* 2 were asked for \(timeout\)") as caught:
            tally.conclude()
        assert caught.value.result.stored == (PEERS[0], *PEERS[3:9], PEERS[1])
        assert not caught.value.result.promised

    def test_a_newcomer_that_is_named_is_asked_for_too(self) -> None:
        tally = put_tally(known=0)
        for peer in PEERS[1:3]:
            tally.answer(peer, None, authoritative=True, named=PEERS[1:4])
        assert tally.satisfied
        tally.answer(PEERS[3], None, authoritative=True, named=PEERS[0:3])
        assert tally.members == tuple(PEERS[:3])
        assert tally.pending == (PEERS[0],)

    def test_who_refused_is_named_with_the_reason(self) -> None:
        tally = put_tally()
        full = Refusal(RefusalReason.FULL, "no room")
        tally.answer(PEERS[0], full, authoritative=True)
        tally.fail(PEERS[1], RefusalReason.UNREACHABLE, "gone")
        assert tally.hopeless
        assert tally.result().refused == {PEERS[0]: full, PEERS[1]: Refusal(RefusalReason.UNREACHABLE, "gone")}

    def test_an_acknowledgement_stands_whatever_comes_after_and_makes_up_for_what_came_before(self) -> None:
        tally = put_tally()
        tally.fail(PEERS[0], TIMEOUT)
        tally.answer(PEERS[0], None, authoritative=True)
        tally.fail(PEERS[0], TIMEOUT)
        tally.answer(PEERS[0], Refusal(RefusalReason.FULL), authoritative=False)
        assert tally.acknowledged == (PEERS[0],)
        assert tally.result().refused == {}

    def test_the_greatest_superseding_record_is_reported(self) -> None:
        newest = ALICE.put(SLOT, b"newest", at=NOW + 2)
        tally = put_tally()
        for peer, record in zip(PEERS, (NEWER, newest, NEWER), strict=False):
            tally.answer(peer, Refusal(RefusalReason.SUPERSEDED, "", record), authoritative=True)
        assert tally.superseded_by == newest
        assert tally.hopeless

    def test_content_that_is_there_already_and_lives_longer_is_stored(self) -> None:
        slot = Slot("hash", hashlib.sha256(b"content").digest())
        short, long = ALICE.put(slot, b"content"), ALICE.put(slot, b"content", ttl=9 * HOUR)
        tally = PutTally(short, Namespaces()["hash"], place(1), known=PEERS[:1])
        tally.answer(PEERS[0], Refusal(RefusalReason.SUPERSEDED, "", long), authoritative=True)
        assert tally.superseded_by is None
        assert tally.conclude().promised

    def test_all_means_every_member(self) -> None:
        tally = put_tally(ack="all")
        for peer in PEERS[:2]:
            tally.answer(peer, None, authoritative=True)
        assert not tally.satisfied
        tally.fail(PEERS[2], TIMEOUT)
        assert tally.hopeless
        assert tally.promised, "the promise needs the majority only"

    def test_below_the_majority_a_member_without_authority_will_do_but_promises_nothing(self) -> None:
        tally = put_tally(ack="one")
        tally.answer(PEERS[5], None, authoritative=True)
        assert not tally.satisfied, "a stand-in"
        tally.answer(PEERS[1], None, authoritative=False)
        assert tally.conclude().promised is False

    def test_more_than_there_are_members_cannot_be_had(self) -> None:
        tally = put_tally(ack=4)
        for peer in PEERS[:5]:
            tally.answer(peer, None, authoritative=True)
        assert tally.hopeless
        assert not tally.satisfied

    def test_nobody_known_is_hopeless(self) -> None:
        tally = put_tally(known=0)
        assert tally.hopeless
        assert not tally.satisfied

    def test_a_network_of_one(self) -> None:
        tally = put_tally(known=1)
        tally.answer(PEERS[0], None, authoritative=True)
        assert tally.conclude().promised


class TestGet:
    def test_a_value_that_enough_confirm_is_found(self) -> None:
        tally = get_tally()
        tally.answer(PEERS[0], [RECORD], authoritative=True)
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.UNDECIDED
        tally.answer(PEERS[1], [], authoritative=True)
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.FOUND
        result = tally.conclude(b"", NOW, repaired=1, local=True)
        assert (result.value, result.record, result.confirmed) == (b"value", RECORD, True)
        assert (result.answers, result.asked, result.needed, result.repaired, result.local) == (2, 2, 2, 1, True)

    def test_absence_is_only_ever_confirmed(self) -> None:
        tally = get_tally()
        tally.answer(PEERS[0], [], authoritative=True)
        for stand_in in PEERS[3:9]:
            tally.answer(stand_in, [], authoritative=True)
        tally.answer(PEERS[1], [], authoritative=False)
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.UNDECIDED
        with pytest.raises(Unavailable) as caught:
            tally.conclude(b"", NOW)
        assert (caught.value.answered, caught.value.needed) == (1, 2)
        tally.answer(PEERS[1], [], authoritative=True)
        with pytest.raises(KeyNotFound):
            tally.conclude(b"", NOW)

    def test_a_value_with_too_few_answers_may_be_stale_and_says_so(self) -> None:
        tally = get_tally()
        tally.answer(PEERS[7], [RECORD], authoritative=False)
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.UNDECIDED
        result = tally.conclude(b"", NOW)
        assert (result.confirmed, result.value, result.answers) == (False, b"value", 0)

    def test_the_greatest_wins_and_the_others_are_to_be_repaired(self) -> None:
        tally = get_tally(5, known=5)
        tally.answer(PEERS[0], [RECORD], authoritative=True)
        tally.answer(PEERS[1], [NEWER], authoritative=True)
        tally.answer(PEERS[2], [], authoritative=False)
        tally.answer(PEERS[3], [NEWER.without_value()], authoritative=True)
        tally.answer(PEERS[9], [RECORD], authoritative=True)
        assert tally.conclude(b"", NOW).value == b"newer"
        assert tally.outdated() == (PEERS[0], PEERS[2], PEERS[3])

    def test_members_disagree_once_one_of_them_holds_less_than_another(self) -> None:
        tally = get_tally(5, known=5)
        seen = []
        for peer, records, authoritative in (
            (PEERS[0], [], True),
            (PEERS[9], [], True),  # nobody asks a stand-in to hold anything
            (PEERS[1], [RECORD], True),
            (PEERS[0], [RECORD], True),
            (PEERS[2], [NEWER], False),
        ):
            tally.answer(peer, records, authoritative=authoritative)
            seen.append(tally.disagrees)
        assert seen == [False, False, True, False, True]

    def test_the_dead_beat_older_values(self) -> None:
        delete = ALICE.delete(SLOT, at=NOW + 1)
        tally = get_tally()
        tally.answer(PEERS[0], [RECORD], authoritative=True)
        tally.answer(PEERS[1], [delete], authoritative=True)
        assert tally.best() == delete
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.NOT_FOUND
        assert tally.outdated() == (PEERS[0],)

    def test_the_readers_clock_judges_expiry(self) -> None:
        tally = get_tally(1, known=1)
        tally.answer(PEERS[0], [RECORD], authoritative=True)
        assert tally.verdict(b"", RECORD.expires_at - 1, exhausted=False) is ReadVerdict.FOUND
        assert tally.verdict(b"", RECORD.expires_at, exhausted=False) is ReadVerdict.NOT_FOUND

    def test_a_header_that_died_on_its_holders_clock_is_no_value_on_ours(self) -> None:
        tally = get_tally(1, known=1)
        tally.answer(PEERS[0], [RECORD.without_value()], authoritative=True)
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.NOT_FOUND

    def test_an_explicit_quorum_is_strict(self) -> None:
        tally = get_tally(3, quorum=3)
        for peer in PEERS[:2]:
            tally.answer(peer, [RECORD], authoritative=True)
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.UNDECIDED
        with pytest.raises(Unavailable, match="3 are needed"):
            tally.conclude(b"", NOW)
        tally.answer(PEERS[2], [RECORD], authoritative=True)
        assert tally.conclude(b"", NOW).confirmed

    def test_a_small_quorum_is_quick_but_never_confirms_an_absence(self) -> None:
        tally = get_tally(5, quorum=1, known=5)
        tally.answer(PEERS[0], [], authoritative=True)
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.UNDECIDED
        tally.answer(PEERS[1], [RECORD], authoritative=True)
        assert tally.verdict(b"", NOW, exhausted=False) is ReadVerdict.UNCONFIRMED
        assert tally.conclude(b"", NOW).confirmed is False

    def test_who_knows_nobody_confirms_nothing(self) -> None:
        assert get_tally(known=0).verdict(b"", NOW, exhausted=True) is ReadVerdict.UNAVAILABLE

    def test_a_whole_set_is_merged_by_subkey(self) -> None:
        records: list[Record] = [ALICE.put(Slot("kv", b"key", name), at=NOW + at) for name, at in ((b"b", 0), (b"a", 1), (b"b", 2))]
        tally = get_tally()
        tally.answer(PEERS[0], records[:2], authoritative=True)
        tally.answer(PEERS[1], records[2:], authoritative=True)
        assert tally.merged == [records[1], records[2]]
        assert tally.outdated(b"a") == (PEERS[1],)
        assert tally.outdated(b"b") == (PEERS[0],)
        assert tally.outdated(b"c") == ()


def test_taking_over_hears_a_majority_or_everybody() -> None:
    tally = Tally(RECORD.position, place(2), PEERS[:4])
    assert not tally.all_answered(4)
    get = get_tally(2, known=4)
    for peer in PEERS[:4]:
        assert not get.all_answered(4)
        get.answer(peer, [], authoritative=False)
    assert get.all_answered(4)
    assert len(get.votes) < get.majority
