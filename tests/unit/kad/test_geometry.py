from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from peerstack_kad.geometry import XorSurroundings
from peerstack_kad.keys import closest

_LOW_BITS = 256 - 8
OWN = 0


def _at(place: int) -> int:
    return place << _LOW_BITS


@given(st.sets(st.integers(1, 255), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 3))
@example({1, 128, 129, 130, 131}, 3, 1)
def test_who_shares_a_set_with_this_node_and_one_that_is_gone_is_told_from_who_does_not(
    places: set[int], replicas: int, going: int
) -> None:
    members = [_at(place) for place in sorted(places)]
    gone = members[:: max(1, len(members) // going)][:going]
    sharing = set(XorSurroundings(OWN, members, replicas=replicas, size=256).sharing(gone))
    for place in range(256):
        nearest = {*closest([OWN, *members], _at(place), replicas + len(gone))}
        if OWN in nearest and nearest & set(gone):
            assert nearest - {OWN} <= sharing


def test_of_a_large_network_few_share_a_set_with_a_neighbour_and_nobody_with_who_is_far_away() -> None:
    members = [_at(place) for place in range(1, 256)]
    around = XorSurroundings(OWN, members, replicas=3, size=256)
    assert around.sharing([_at(1)]) == [_at(place) for place in range(1, 4)]
    assert around.sharing([_at(200)]) == []
    assert around.sharing([]) == []
