from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from peerstack_chord.fingers import FingerTable
from peerstack_chord.ring import between, clockwise

from tests.unit.chord.ring_world import contact

KEYS = st.lists(st.integers(0, (1 << 256) - 1), max_size=40)


def test_of_an_interval_the_first_stay() -> None:
    fingers = FingerTable(0, width=2)
    for key in (1 << 10 | 5, 1 << 10 | 9, 1 << 10 | 1, 1 << 20):
        fingers.heard(contact(key))
    assert {each.key for each in fingers} == {1 << 10 | 1, 1 << 10 | 5, 1 << 20}


def test_a_finger_is_dropped_at_its_first_failure() -> None:
    fingers = FingerTable(0)
    fingers.heard(contact(8))
    fingers.failed(8)
    fingers.failed(8)
    fingers.failed(0)
    assert len(fingers) == 0
    assert 8 not in fingers


def test_of_equally_useful_fingers_the_quicker_goes_first() -> None:
    rtt = {9: 0.5, 3: 0.01, 8: 0.02}
    fingers = FingerTable(0, rtt=lambda each: rtt.get(each.key))
    for key in (8, 9, 10, 15, 3):
        fingers.heard(contact(key))
    assert [each.key for each in fingers.closest(24, 5)] == [9, 15, 10, 3, 8]


@given(st.integers(0, (1 << 256) - 1), KEYS, st.integers(0, (1 << 256) - 1))
def test_only_those_on_the_way_are_named_and_the_closest_first(own: int, keys: list[int], position: int) -> None:
    fingers = FingerTable(own, width=100)
    for key in keys:
        fingers.heard(contact(key))
    on_the_way = {key for key in keys if between(own, key, position)}
    assert [each.key for each in fingers.closest(position, 100)] == sorted(on_the_way, key=lambda key: clockwise(key, position))


def test_every_interval_beyond_the_successors_has_its_turn() -> None:
    fingers = FingerTable(100)
    for _ in range(3):
        starts = [fingers.next_start(100 + 1000) for _ in range(246)]
        assert {(start or 0) - 100 & (1 << 256) - 1 for start in starts} == {1 << power for power in range(10, 256)}
        fingers.heard(contact((starts[7] or 0) - len(starts)))
        fingers.failed((starts[7] or 0) - len(starts))
    assert fingers.next_start(100 + (1 << 255)) is None


def test_a_turn_that_changed_nothing_is_followed_by_a_rest_of_ten_calls() -> None:
    fingers, beyond, turn = FingerTable(0), 1 << 252, [1 << 255, 1 << 254, 1 << 253]
    assert [fingers.next_start(beyond) for _ in range(3)] == turn
    assert [fingers.next_start(beyond) for _ in range(10)] == [None] * 10
    assert [fingers.next_start(beyond) for _ in range(3)] == turn
    assert fingers.next_start(beyond) is None


def test_there_is_no_rest_while_fingers_change_and_a_failure_ends_it() -> None:
    fingers, beyond, turn = FingerTable(0), 1 << 252, [1 << 255, 1 << 254, 1 << 253]
    for new in range(3):
        assert [fingers.next_start(beyond) for _ in range(3)] == turn
        fingers.heard(contact(1 << 255 | new))
    assert [fingers.next_start(beyond) for _ in range(3)] == turn
    fingers.heard(contact(1 << 255))  # known already
    assert fingers.next_start(beyond) is None
    fingers.failed(1 << 100)  # unknown
    assert fingers.next_start(beyond) is None
    fingers.failed(1 << 255)
    assert [fingers.next_start(beyond) for _ in range(3)] == turn
