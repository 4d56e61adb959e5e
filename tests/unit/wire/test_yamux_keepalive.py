from __future__ import annotations

import pytest

from peerstack.errors import LimitExceeded
from peerstack.wire.yamux_keepalive import Keepalive


def keepalive() -> Keepalive:
    return Keepalive(interval_s=30.0, timeout_s=10.0, now=100.0)


def test_a_ping_is_due_after_the_interval_of_silence() -> None:
    alive = keepalive()
    assert alive.due == 130.0
    assert alive.rearm(130.0)


def test_bytes_heard_put_the_next_ping_off() -> None:
    alive = keepalive()
    alive.heard_at = 125.0
    assert not alive.rearm(130.0)
    assert alive.due == 155.0


def test_the_remote_is_gone_when_a_ping_and_all_else_stays_unanswered() -> None:
    alive = keepalive()
    alive.ping(130.0)
    assert alive.due <= 140.0
    assert not alive.expired(139.9)
    assert alive.expired(140.0)


def test_a_remote_that_sends_other_bytes_is_not_gone() -> None:
    alive = keepalive()
    alive.ping(130.0)
    alive.heard_at = 135.0
    assert not alive.expired(140.0)
    assert not alive.rearm(140.0)
    assert alive.due == 145.0
    assert alive.expired(145.0)


def test_silence_without_a_ping_is_not_an_end() -> None:
    assert not keepalive().expired(10_000.0)


def test_round_trip_time_is_that_of_the_ping_with_the_same_value() -> None:
    alive = keepalive()
    first, second = alive.ping(100.0), alive.ping(101.0)
    assert first != second
    assert alive.rtt is None
    alive.pong(second, 101.25)
    assert alive.rtt == pytest.approx(0.25)
    assert alive.awaiting_pong
    alive.pong(first, 101.5)
    assert alive.rtt == pytest.approx(1.5)
    assert not alive.awaiting_pong


def test_the_path_time_is_the_shortest_of_the_last_eight() -> None:
    alive = keepalive()
    for n, rtt in enumerate([0.010, *([0.5] * 7)]):
        alive.pong(alive.ping(n), n + rtt)
    assert alive.path_rtt == pytest.approx(0.010)
    alive.pong(alive.ping(50.0), 50.5)
    assert alive.path_rtt == pytest.approx(0.5)


@pytest.mark.parametrize("value", [1, 0xFFFF_FFFF])
def test_an_unknown_pong_is_ignored(value: int) -> None:
    alive = keepalive()
    alive.ping(100.0)
    alive.pong(value, 101.0)
    assert alive.rtt is None
    assert alive.awaiting_pong


def test_a_pong_counts_once() -> None:
    alive = keepalive()
    value = alive.ping(100.0)
    alive.pong(value, 101.0)
    alive.pong(value, 109.0)
    assert alive.rtt == pytest.approx(1.0)


def test_unanswered_pings_are_bounded() -> None:
    alive = keepalive()
    for _ in range(16):
        alive.ping(100.0)
    with pytest.raises(LimitExceeded):
        alive.ping(100.0)
