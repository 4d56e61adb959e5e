from __future__ import annotations

import random

from peerstack.config import DialConfig
from peerstack.host.backoff import Backoff


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _backoff(clock: _Clock) -> Backoff:
    return Backoff(DialConfig(backoff_s=4, max_backoff_s=60), random.Random(1), clock)


def test_waits_double_with_jitter_up_to_the_longest() -> None:
    clock = _Clock()
    backoff = _backoff(clock)
    for expected in (4, 8, 16, 32, 60, 60):
        wait = backoff.failed(b"peer", [b"a"], "refused")
        assert 0.75 * expected <= wait <= 1.25 * expected
        remaining, reason = backoff.remaining(b"peer", [b"a"])
        assert abs(remaining - wait) < 1e-9
        assert reason == "refused"
        clock.now += wait
        assert backoff.remaining(b"peer", [b"a"]) == (0.0, "")


def test_peers_wait_for_themselves_only_and_different_times() -> None:
    backoff = _backoff(_Clock())
    waits = {backoff.failed(bytes([number]), [b"a"], "refused") for number in range(10)}
    assert len(waits) == 10
    assert backoff.remaining(b"other", [b"a"]) == (0.0, "")


def test_an_address_that_was_not_tried_may_be_dialled_at_once() -> None:
    backoff = _backoff(_Clock())
    backoff.failed(b"peer", [b"a", b"b"], "refused")
    assert backoff.remaining(b"peer", [b"a"])[0] > 0
    assert backoff.remaining(b"peer", [b"a", b"c"])[0] == 0


def test_success_and_a_long_quiet_time_forget_the_failures() -> None:
    clock = _Clock()
    backoff = _backoff(clock)
    for _ in range(4):
        backoff.failed(b"peer", [b"a"], "refused")
    backoff.succeeded(b"peer")
    assert backoff.remaining(b"peer", [b"a"])[0] == 0
    assert backoff.failed(b"peer", [b"a"], "refused") <= 5
    backoff.failed(b"peer", [b"a"], "refused")
    clock.now += 1000
    assert backoff.failed(b"peer", [b"a"], "refused") <= 5


def test_the_peers_remembered_are_bounded() -> None:
    backoff = _backoff(_Clock())
    for number in range(5000):
        backoff.failed(number.to_bytes(2, "big"), [b"a"], "refused")
    assert backoff.remaining((0).to_bytes(2, "big"), [b"a"])[0] == 0
    assert backoff.remaining((4999).to_bytes(2, "big"), [b"a"])[0] > 0
