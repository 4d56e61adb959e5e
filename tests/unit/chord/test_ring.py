from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from peerstack_chord import ring
from peerstack_chord.ring import Member, Mode, State

from tests.unit.chord.ring_world import member, members

POSITIONS = st.integers(0, 15) | st.integers(0, (1 << 256) - 1)


def state(key: int, *successors: int, before: int | None = None) -> State:
    return State(member(key), Mode.RING, 1, None if before is None else member(before), members(*successors))


def ideal_ring(r: int, *keys: int) -> list[State]:
    n = len(keys)
    return [
        state(key, *(keys[(index + step) % n] for step in range(1, min(r, n - 1) + 1)), before=keys[index - 1])
        for index, key in enumerate(keys)
    ]


@given(POSITIONS, POSITIONS, POSITIONS)
def test_between_is_what_walking_clockwise_meets(low: int, position: int, high: int) -> None:
    whole = ring.clockwise(low, high) or 1 << 256
    assert ring.between(low, position, high) == (0 < ring.clockwise(low, position) < whole)
    assert ring.in_range(low, position, high) == (0 < (ring.clockwise(low, position) or 1 << 256) <= whole)


def test_an_ideal_ring_keeps_the_invariant_and_all_that_follows_from_it() -> None:
    states = ideal_ring(2, 1, 4, 9, 12)
    assert ring.ideal(states, 2)
    assert ring.zave_invariant(states, 2)
    assert ring.no_duplicates(states)
    assert ring.ordered_successor_lists(states)
    assert ring.one_ordered_ring(states)
    assert ring.connected_appendages(states)


def test_a_member_whose_list_is_dead_has_no_live_successor() -> None:
    states = [*ideal_ring(2, 1, 4, 9, 12), state(6, 7, 8)]
    assert not ring.one_live_successor(states)
    assert not ring.connected_appendages(states)


def test_whoever_is_skipped_is_no_principal() -> None:
    states = [*ideal_ring(2, 1, 4, 9, 12), state(6, 9, 12)]
    assert [each.key for each in ring.principals(states, [each.extended for each in states])] == [1, 4, 9, 12]
    assert ring.sufficient_principals(states, 2)
    assert not ring.sufficient_principals(states, 4)


def test_naming_another_life_of_a_member_is_skipping_it() -> None:
    again = State(Member(member(4).contact, 2), Mode.RING, 1, None, members(9, 12))
    states = [*(each for each in ideal_ring(2, 1, 4, 9, 12) if each.member.key != 4), again]
    assert again.member not in ring.principals(states, [each.extended for each in states])


def test_each_alarm_sees_what_it_is_named_after() -> None:
    assert not ring.no_duplicates([state(1, 4, 4)])
    assert not ring.ordered_successor_lists([state(1, 9, 4)])
    two_rings = [state(1, 4), state(4, 1), state(9, 12), state(12, 9)]
    assert not ring.one_ordered_ring(two_rings)
    twice_round = [state(1, 9), state(9, 4), state(4, 12), state(12, 1)]
    assert not ring.one_ordered_ring(twice_round)
    assert ring.connected_appendages([*ideal_ring(2, 1, 4, 9, 12), state(6, 9)])
    assert not ring.ideal([*ideal_ring(2, 1, 4, 9, 12), state(6, 9)], 2)


def test_a_ring_of_one_is_ideal() -> None:
    assert ring.ideal([state(1)], 3)
    assert ring.one_ordered_ring([state(1)])
