from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from peerstack_chord.geometry import RingGeometry, RingSurroundings

from peerstack.dht.replica.contacts import KEY_BITS, key_bytes
from peerstack.dht.replica.geometry import closest

RING = 1 << KEY_BITS
GEOMETRY = RingGeometry()
# Keys that crowd around zero and around each other, and keys anywhere.
KEYS = st.one_of(st.integers(0, 40), st.integers(RING - 40, RING - 1), st.integers(0, RING - 1))


def survey(own: int, *members: int, replicas: int = 2, size: int = 8) -> RingSurroundings:
    return GEOMETRY.survey(own, members, replicas=replicas, size=size)


def clockwise(keys: set[int], position: int) -> list[int]:
    """All keys from a position on, by walking."""
    order = sorted(keys)
    return [key for key in order if key >= position] + [key for key in order if key < position]


def grown(own: int, others: list[int], *, replicas: int, size: int) -> tuple[set[int], RingSurroundings]:
    """Count in one after the other, as a neighbourhood does, and let go of whoever is beyond."""
    members: set[int] = set()
    around = survey(own, replicas=replicas, size=size)
    for key in others:
        if around.is_near(key):
            members.add(key)
            around = survey(own, *members, replicas=replicas, size=size)
            members -= set(around.beyond)
    return members, around


def within(position: int, sender: int, region: int) -> bool:
    where = key_bytes(position)
    return any(low <= where and (high is None or where < high) for low, high in GEOMETRY.ranges(sender, region))


def test_the_first_servers_clockwise_are_the_closest() -> None:
    assert closest(GEOMETRY, [10, 20, 30], 20, 3) == [20, 30, 10]
    assert closest(GEOMETRY, [10, 20, 30], 21, 2) == [30, 10]
    assert closest(GEOMETRY, [10, 20, 30], 31, 2) == [10, 20]


def test_half_of_those_wanted_is_kept_on_either_side_and_who_is_on_neither_is_let_go() -> None:
    around = survey(100, *(100 + 10 * step for step in (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)))
    assert sorted(around.beyond) == [50, 150]
    assert not around.whole
    assert around.is_near(131)
    assert around.is_near(69)
    assert not around.is_near(141)
    assert not around.is_near(59)


def test_whoever_counts_everybody_knows_the_whole_ring() -> None:
    around = survey(100, 10, 20, 30)
    assert all(around.knows(position) for position in (0, 10, 99, 100, 101, RING - 1))
    assert within(5, 100, around.region)
    assert within(RING - 1, 100, around.region)


def test_an_arc_is_known_from_the_last_server_behind_to_where_a_whole_set_still_fits_ahead() -> None:
    around = survey(100, 50, 60, 70, 80, 90, 110, 120, 130, 140, 150)
    known = [position for position in range(40, 160) if around.knows(position)]
    assert (known[0], known[-1]) == (60, 130)
    assert len(known) == 71
    assert not around.knows(RING - 1)


def test_a_node_that_counts_as_many_as_it_wants_cannot_know_of_others_beyond() -> None:
    members = [60, 70, 80, 90, 110, 120, 130, 140]
    assert not survey(100, *members).whole
    assert survey(100, *members[1:]).whole


def test_the_region_ends_behind_the_server_before_which_others_hold_everything() -> None:
    around = survey(100, 60, 70, 80, 90, 110, 120, 130, 140)
    assert around.region == 39
    assert GEOMETRY.ranges(100, around.region) == [(key_bytes(61), key_bytes(101))]


def test_an_arc_past_zero_is_two_ranges() -> None:
    assert GEOMETRY.ranges(5, 10) == [(key_bytes(0), key_bytes(6)), (key_bytes(RING - 5), None)]
    assert GEOMETRY.ranges(5, 5) == [(key_bytes(0), key_bytes(6))]
    assert GEOMETRY.ranges(RING - 1, 1) == [(key_bytes(RING - 2), None)]
    assert GEOMETRY.ranges(5, RING - 1) == GEOMETRY.ranges(5, RING * 2) == [(key_bytes(0), None)]


def test_who_counts_fewer_than_it_wants_would_count_anybody() -> None:
    reach = GEOMETRY.reach(100, [100, 110, 90], 8)
    assert reach(RING - 1)
    reach = GEOMETRY.reach(100, [100, 60, 70, 80, 90, 110, 120, 130, 140], 8)
    assert reach(140)
    assert reach(60)
    assert reach(65)
    assert not reach(141)
    assert not reach(59)


@settings(max_examples=150, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=24), st.lists(KEYS, max_size=20), st.integers(1, 3))
def test_a_node_that_met_everybody_is_right_about_all_it_claims_to_know(network: set[int], positions: list[int], replicas: int) -> None:
    own, *others = network
    members, around = grown(own, others, replicas=replicas, size=5 * replicas)
    counted = {own, *members}
    for position in {*positions, *network, *((key + 1) % RING for key in network), *((key - 1) % RING for key in network)}:
        order = clockwise(network, position)
        responsible = order[:replicas]
        if own in responsible:
            assert around.knows(position), "a node knows about everything that it is responsible for"
        if around.knows(position):
            assert closest(GEOMETRY, counted, position, replicas) == responsible
        if own in order[: 2 * replicas]:
            assert within(position, own, around.region), "and asks for everything that it may have to hold"


@settings(max_examples=150, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=24), st.integers(1, 3))
def test_the_nearest_on_both_sides_are_kept_in_whatever_order_they_come(network: set[int], replicas: int) -> None:
    own, *others = network
    size = 5 * replicas
    half = (size + 1) // 2
    members, around = grown(own, others, replicas=replicas, size=size)
    order = [key for key in clockwise(network, own) if key != own]
    assert members == {*order[:half], *order[max(0, len(order) - half) :]}
    assert {key for key in others if around.is_near(key)} >= members
    reach = GEOMETRY.reach(own, {own, *members}, size)
    assert {key for key in others if reach(key)} == members


@settings(max_examples=150, deadline=None)
@given(KEYS, st.one_of(KEYS, st.just(RING - 1)), st.lists(KEYS, min_size=1, max_size=20))
def test_ranges_cover_the_arc_and_nothing_else(sender: int, region: int, positions: list[int]) -> None:
    for position in {*positions, sender, (sender + 1) % RING, (sender - region) % RING, (sender - region - 1) % RING}:
        assert within(position, sender, region) == ((sender - position) % RING <= region)
    ranges = GEOMETRY.ranges(sender, region)
    assert ranges == sorted(ranges)
    assert all(high is not None and high <= low for (_, high), (low, _) in pairwise(ranges))


@given(st.sets(st.integers(1, 63), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 3))
def test_who_shares_a_set_with_this_node_and_one_that_is_gone_is_told_from_who_does_not(
    places: set[int], replicas: int, going: int
) -> None:
    members = sorted(places)
    gone = members[:: max(1, len(members) // going)][:going]
    sharing = set(survey(0, *members, replicas=replicas, size=256).sharing(gone))
    for position in range(64):
        nearest = set(closest(GEOMETRY, [0, *members], position, replicas + len(gone)))
        if 0 in nearest and nearest & set(gone):
            assert nearest - {0} <= sharing


def test_nobody_shares_a_set_with_who_is_far_along_the_ring() -> None:
    around = survey(0, *range(1, 30), replicas=2, size=64)
    assert around.sharing([15]) == ()
    assert around.sharing([]) == ()
