from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peerstack.dht.clock import MAX_AHEAD_US, HybridClock, to_microseconds

WALL = 1_800_000_000_000_000


def test_a_reading_is_the_wall_clocks_where_that_moves() -> None:
    clock = HybridClock()
    assert [clock.next(WALL), clock.next(WALL + 5)] == [WALL, WALL + 5]


def test_a_reading_is_never_given_twice() -> None:
    clock = HybridClock()
    assert [clock.next(wall) for wall in (WALL, WALL, WALL - 100)] == [WALL, WALL + 1, WALL + 2]


def test_it_moves_past_a_version_it_observes() -> None:
    clock = HybridClock()
    assert clock.observe(WALL + MAX_AHEAD_US, WALL)
    assert clock.next(WALL) == WALL + MAX_AHEAD_US + 1


def test_a_version_too_far_ahead_is_not_followed() -> None:
    clock = HybridClock()
    assert not clock.observe(WALL + MAX_AHEAD_US + 1, WALL)
    assert clock.next(WALL) == WALL


def test_it_goes_on_from_its_persisted_state() -> None:
    clock = HybridClock()
    clock.observe(WALL + 7, WALL)
    assert HybridClock(clock.state).next(WALL) == WALL + 8


def test_after_the_wall_clock_was_set_right_versions_are_ones_that_holders_accept() -> None:
    clock = HybridClock(WALL + 10 * MAX_AHEAD_US)
    assert clock.next(WALL) == WALL


@given(st.lists(st.tuples(st.booleans(), st.integers(0, MAX_AHEAD_US), st.integers(-1000, 1000))))
def test_each_reading_is_later_than_all_seen_before(steps: list[tuple[bool, int, int]]) -> None:
    clock, seen, wall = HybridClock(), 0, WALL
    for observes, ahead, moved in steps:
        wall = max(WALL, wall + moved)
        if observes:
            assert clock.observe(wall + ahead, wall)
            seen = max(seen, wall + ahead)
        elif seen <= wall + MAX_AHEAD_US:
            reading = clock.next(wall)
            assert reading > seen
            assert reading == max(seen + 1, wall)
            seen = reading
        assert clock.state == seen


def test_seconds_become_whole_microseconds() -> None:
    assert to_microseconds(1.5) == 1_500_000
    assert to_microseconds(1_800_000_000.000001) == 1_800_000_000_000_001
