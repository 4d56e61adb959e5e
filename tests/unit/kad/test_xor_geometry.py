from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from peerstack_kad.geometry import XorGeometry
from peerstack_kad.keys import common_prefix

from peerstack.dht.replica.contacts import KEY_BITS, key_bytes
from peerstack.dht.replica.geometry import closest

SPACE = 1 << KEY_BITS
GEOMETRY = XorGeometry()
# Keys in buckets of all depths, seen from 0, and keys anywhere.
KEYS = st.one_of(
    st.integers(0, 255).flatmap(lambda bit: st.integers(1 << bit, (1 << bit) + min(1 << bit, 16) - 1)), st.integers(0, SPACE - 1)
)


def test_the_closest_are_those_of_the_least_xor() -> None:
    assert closest(GEOMETRY, [0b1000, 0b0001, 0b0111], 0b0110, 2) == [0b0111, 0b0001]


def test_the_whole_space_and_its_last_prefix_end_where_the_space_ends() -> None:
    assert GEOMETRY.ranges(SPACE - 1, 0) == [(key_bytes(0), None)]
    assert GEOMETRY.ranges(SPACE - 1, 1) == [(key_bytes(SPACE // 2), None)]
    assert GEOMETRY.ranges(0, 1) == [(key_bytes(0), key_bytes(SPACE // 2))]
    assert GEOMETRY.ranges(5, KEY_BITS) == [(key_bytes(5), key_bytes(6))]


@settings(max_examples=100, deadline=None)
@given(KEYS, st.integers(0, KEY_BITS), KEYS)
def test_a_region_is_every_position_that_shares_the_prefix(sender: int, region: int, position: int) -> None:
    ((low, high),) = GEOMETRY.ranges(sender, region)
    where = key_bytes(position)
    assert (low <= where and (high is None or where < high)) == (common_prefix(sender, position) >= region)


@settings(max_examples=100, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=40), st.integers(1, 3), st.integers(1, 20))
def test_only_whole_buckets_are_known_and_of_what_lies_beyond_some_outposts_are_kept(members: set[int], replicas: int, size: int) -> None:
    members.discard(0)
    around = GEOMETRY.survey(0, members, replicas=replicas, size=size)
    kept = members - set(around.beyond)
    known = {key for key in kept if around.knows(key)}
    outposts = kept - known
    assert {common_prefix(0, key) for key in known}.isdisjoint(common_prefix(0, key) for key in members - known)
    assert len(known) >= min(size, len(members))
    assert max(kept, default=0) < min(around.beyond, default=SPACE)
    assert not any(around.knows(key) or around.is_near(key) for key in around.beyond)
    assert len({common_prefix(0, key) for key in outposts}) == bool(members - known)
    assert len(outposts) <= 3 * replicas


@settings(max_examples=100, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=40), st.integers(1, 3), st.integers(1, 20), KEYS)
def test_what_is_let_go_is_not_known_later_either(members: set[int], replicas: int, size: int, position: int) -> None:
    members.discard(0)
    around = GEOMETRY.survey(0, members, replicas=replicas, size=size)
    again = GEOMETRY.survey(0, members - set(around.beyond), replicas=replicas, size=size)
    assert not again.beyond
    assert again.knows(position) == around.knows(position)


@settings(max_examples=100, deadline=None)
@given(st.sets(KEYS, max_size=40), st.integers(1, 3), st.lists(KEYS, max_size=20))
def test_the_region_covers_all_that_a_node_may_have_to_hold(members: set[int], replicas: int, positions: list[int]) -> None:
    members.discard(0)
    around = GEOMETRY.survey(0, members, replicas=replicas, size=5 * replicas)
    counted = {0, *members} - set(around.beyond)
    for position in positions:
        if around.knows(position) and 0 in closest(GEOMETRY, counted, position, 2 * replicas):
            assert common_prefix(0, position) >= around.region


def test_who_counts_as_many_as_it_wants_would_count_nobody_farther() -> None:
    assert GEOMETRY.reach(0, [0, 1, 2], 8)(SPACE - 1)
    reach = GEOMETRY.reach(0, [0, 1, 4], 3)
    assert reach(3)
    assert reach(4)
    assert not reach(5)
