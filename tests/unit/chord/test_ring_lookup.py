from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peerstack_chord.fingers import FingerTable
from peerstack_chord.lookup import RingLookup
from peerstack_chord.lookup_rules import LookupRules
from peerstack_chord.ring import between

from peerstack.dht.contract import HopOutcome
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.routing import Progress
from tests.unit.chord.ring_world import contact

Answer = Callable[[int, int], Sequence[int] | None]


class StaticRing:
    """A ring that nobody keeps up: everybody's fingers and successors as they were before some of them died."""

    def __init__(self, keys: Sequence[int], r: int, *, with_fingers: bool = True) -> None:
        self.keys = sorted(keys)
        self.r = r
        self.dead: set[int] = set()
        self.fingers: dict[int, FingerTable] = {}
        for key in self.keys:
            table = self.fingers[key] = FingerTable(key, width=1)
            for power in range(256 if with_fingers else 0):
                table.heard(contact(self.owners((key + (1 << power)) % (1 << 256), 1)[0]))

    def owners(self, position: int, count: int) -> list[int]:
        first = bisect_left(self.keys, position)
        return [key for key in self.keys[first:] + self.keys[:first] if key not in self.dead][:count]

    def successors(self, key: int) -> list[int]:
        index = self.keys.index(key)
        return [self.keys[(index + step) % len(self.keys)] for step in range(1, min(self.r, len(self.keys) - 1) + 1)]

    def answer(self, key: int, position: int) -> Sequence[int] | None:
        if key in self.dead:
            return None
        near = self.successors(key)
        on_the_way = [other for other in near if between(key, other, position)][-1:]
        return [*on_the_way, *(each.key for each in self.fingers[key].closest(position, 4)), *near]


def drive(progress: RingLookup, answer: Answer, chosen: random.Random | None = None) -> list[int]:
    """Answer in any order until it is over; returns who was asked."""
    asked: list[int] = []
    waiting: list[Contact] = []
    while not progress.done:
        new = [ask.contact for ask in progress.next(0.0)]
        asked += [each.key for each in new]
        waiting += new
        assert waiting, "it is not over, and asks nobody"
        peer = waiting.pop(chosen.randrange(len(waiting)) if chosen else 0)
        named = answer(peer.key, progress.target)
        if named is None:
            progress.on_failure(peer, 0.0)
        else:
            progress.on_reply(peer, [contact(key) for key in named], 0.0)
    return asked


def begin(target: int, *seeds: int, count: int = 1, own: int = 1 << 255, rules: LookupRules | None = None) -> RingLookup:
    return RingLookup(target, [contact(key) for key in seeds], rules or LookupRules(count=count), own=contact(own), now=0.0)


def keys_of(found: Sequence[Contact]) -> list[int]:
    return [each.key for each in found]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1 << 32), st.integers(1, 40), st.integers(1, 4), st.integers(0, 3), st.booleans())
def test_it_finds_the_owner_and_those_after_it_as_brute_force_does(seed: int, n: int, r: int, more: int, with_fingers: bool) -> None:
    chosen = random.Random(seed)
    world = StaticRing([chosen.getrandbits(256) for _ in range(n)], r + more, with_fingers=with_fingers)
    for _ in range(3):
        target = chosen.choice([chosen.getrandbits(256), *world.keys])
        progress = begin(target, chosen.choice(world.keys), count=r)
        asked = drive(progress, world.answer, chosen)
        assert progress.complete
        assert keys_of(progress.result()) == world.owners(target, r)
        assert len(asked) == len(set(asked))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1 << 32), st.booleans())
def test_it_goes_round_the_dead_along_successor_lists(seed: int, with_fingers: bool) -> None:
    chosen = random.Random(seed)
    world = StaticRing([chosen.getrandbits(256) for _ in range(60)], 8, with_fingers=with_fingers)
    for key in chosen.sample(world.keys, 30):
        world.dead.add(key)
        if any(world.dead.issuperset(world.successors(each)) for each in world.keys):
            world.dead.discard(key)  # nobody is cut off
    target = chosen.getrandbits(256)
    progress = begin(target, *world.owners(chosen.getrandbits(256), 1), count=3)
    drive(progress, world.answer, chosen)
    assert keys_of(progress.result())[:1] == world.owners(target, 1)
    assert progress.complete


def test_a_path_halves_with_every_hop() -> None:
    chosen = random.Random(7)
    world = StaticRing([chosen.getrandbits(256) for _ in range(256)], 4)
    hops = []
    for _ in range(100):
        progress = begin(chosen.getrandbits(256), chosen.choice(world.keys))
        drive(progress, world.answer)
        hops.append(max(hop.depth for hop in progress.trace(0.0)))
    assert sum(hops) / len(hops) < 8 / 2 + 2  # half of log2 N, and the first and the last


def test_members_count_themselves_but_are_never_asked_nor_returned() -> None:
    own, successors = contact(50), [contact(60), contact(70)]
    progress = RingLookup(45, successors, LookupRules(count=2), own=own, now=0.0, successors=successors)
    asked = drive(progress, lambda key, _: {60: [70, 10], 70: [10, 50], 10: [50, 60]}[key])
    assert 50 not in asked
    assert keys_of(progress.result()) == [60]
    assert progress.complete


def test_the_closest_predecessor_alone_is_found_for_who_joins() -> None:
    world = StaticRing([10, 20, 30, 40], 2)
    progress = begin(25, 40, count=0, own=25)
    asked = drive(progress, world.answer)
    before = progress.predecessor()
    assert before is not None
    assert before.key == 20
    assert progress.result() == []
    assert asked[-1] == 20


def test_it_can_be_extended_to_more_members() -> None:
    world = StaticRing([10, 20, 30, 40, 50], 2)
    progress = begin(15, 50, count=1)
    drive(progress, world.answer)
    assert keys_of(progress.result()) == [20]
    progress.extend(3)
    assert [progress.done] == [False]
    drive(progress, world.answer)
    assert keys_of(progress.result()) == [20, 30, 40]


def test_an_overdue_member_does_not_hold_it_up_and_its_answer_is_still_used() -> None:
    rules = LookupRules(count=1, patience=lambda _: 1.0)
    progress = begin(100, 90, 80, rules=rules)
    assert [ask.contact.key for ask in progress.next(0.0)] == [90]
    assert progress.deadline() == 1.0
    assert [ask.contact.key for ask in progress.next(1.0)] == [80]
    progress.on_reply(contact(80), [contact(110)], 1.1)
    assert [ask.contact.key for ask in progress.next(1.1)] == [110]
    progress.on_reply(contact(110), [], 1.2)
    assert (progress.converged, progress.complete, progress.done) == (True, False, False)
    progress.on_reply(contact(90), [contact(105)], 1.3)
    assert [ask.contact.key for ask in progress.next(1.3)] == [105]


def test_of_equally_useful_predecessors_the_quicker_is_asked() -> None:
    rtt = {1000 - 40: 0.01}
    progress = begin(1000, 1000 - 33, 1000 - 40, 1000 - 100, rules=LookupRules(rtt=lambda each: rtt.get(each.key)))
    assert [ask.contact.key for ask in progress.next(0.0)] == [1000 - 40]


def test_answers_nobody_asked_for_teach_nothing() -> None:
    progress = begin(100, 50)
    progress.on_reply(contact(50), [contact(90)], 0.0)
    progress.on_reply(contact(70), [contact(91)], 0.0)
    assert [ask.contact.key for ask in progress.next(0.0)] == [50]


def test_whatever_drives_a_lookup_can_drive_this_one() -> None:
    progress: Progress = begin(100, 50)  # for the type checker
    assert [ask.timeout for ask in progress.next(0.0)] == [10.0]


def test_the_trace_tells_whom_it_asked_and_what_came_of_it() -> None:
    progress = begin(100, 50)
    progress.next(0.0)
    progress.on_reply(contact(50), [contact(90), contact(110)], 0.25)
    progress.next(0.25)
    progress.on_failure(contact(90), 0.5, HopOutcome.UNREACHABLE)
    progress.next(0.5)
    assert [(hop.distance, hop.depth, hop.outcome, hop.learned) for hop in progress.trace(0.75)] == [
        ((1 << 256) - 50, 1, HopOutcome.ANSWERED, 2),
        ((1 << 256) - 10, 2, HopOutcome.UNREACHABLE, 0),
        (10, 2, HopOutcome.PENDING, 0),
    ]
    assert progress.trace(0.75)[2].seconds == 0.25


@pytest.mark.parametrize("fake_answers", [True, False])
def test_a_liar_can_neither_make_it_loop_nor_grow(fake_answers: bool) -> None:
    rules = LookupRules(count=3, max_requests=50, max_hops=20, max_named=8)
    target = 1 << 200
    made_up = iter(range(1, 1 << 40))

    def lie(key: int, _position: int) -> Sequence[int] | None:
        if key != 1 and not fake_answers:
            return None
        return [target - (1 << 190) + next(made_up) for _ in range(1000)]

    progress = begin(target, 1, rules=rules)
    asked = drive(progress, lie)
    assert len(asked) <= 50
    assert len(progress._candidates) <= 50 * 8 + 1
    assert max(hop.depth for hop in progress.trace(0.0)) <= 20


def test_a_circle_of_liars_is_walked_once() -> None:
    progress = begin(100, 10)
    asked = drive(progress, lambda key, _: {10: [20], 20: [30], 30: [10, 20]}.get(key, []))
    assert sorted(asked) == [10, 20, 30]


def test_it_ends_incomplete_where_nobody_answers_or_nobody_is_known() -> None:
    progress = begin(100, 50, 60)
    drive(progress, lambda _key, _position: None)
    assert (progress.done, progress.complete, progress.result()) == (True, False, [])
    assert begin(100).done
