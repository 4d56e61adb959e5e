from __future__ import annotations

import pytest

from peerstack.wire.yamux_window import ReceiveBudget, ReceiveWindow, WindowBudget

KIB = 1 << 10
MIB = 1 << 20
INITIAL = 256 * KIB


def test_a_window_starts_with_what_the_protocol_fixes() -> None:
    window = ReceiveWindow(0.0)
    assert (window.size, window.available, window.owed) == (INITIAL, INITIAL, 0)
    assert window.expect(INITIAL)
    assert not window.expect(1)


def test_credit_is_due_at_half_the_window_and_not_before() -> None:
    window = ReceiveWindow(0.0)
    window.expect(INITIAL)
    window.deliver(INITIAL)
    assert not window.consume(INITIAL // 2 - 1)
    assert window.consume(1)
    assert window.grant() == INITIAL // 2
    assert window.grant() == 0
    assert window.expect(INITIAL // 2)


@pytest.mark.parametrize("n", [-1, 11])
def test_credit_for_bytes_never_handed_over_is_misuse(n: int) -> None:
    window = ReceiveWindow(0.0)
    window.expect(20)
    window.deliver(10)
    with pytest.raises(ValueError, match="10 are unread"):
        window.consume(n)
    assert window.unread == 10


def transfer(window: ReceiveWindow, n: int) -> None:
    assert window.expect(n)
    window.deliver(n)
    window.consume(n)
    window.grant()


class Path:
    """A sender that always has data, behind a link of a given rate and round-trip time, and a receiver that reads at once."""

    def __init__(self, *, rate: float, rtt: float) -> None:
        self.rate = rate
        self.rtt = rtt

    def settle(self, *, limit: int = 16 * MIB) -> int:
        window = ReceiveWindow(0.0)
        now = 0.0
        arrivals = [self.rtt / 2]  # when half a window is there for the receiver
        for _ in range(200):
            half = window.size // 2
            # Two halves are under way at most: each leaves when its grant arrives, or when the link is free.
            now = max(now + half / self.rate, arrivals[-2] + self.rtt if len(arrivals) > 1 else 0.0)
            arrivals.append(now)
            assert window.expect(half)
            window.deliver(half)
            window.consume(half)
            more = min(window.measure(now, self.rtt), limit) - window.size
            if more:
                window.grow(more)
            window.grant()
        return window.size


@pytest.mark.parametrize(
    ("rate", "rtt", "low", "high"),
    [
        pytest.param(1.25e6, 0.05, INITIAL, INITIAL, id="10 Mbit/s needs no more than the initial window"),
        pytest.param(125e6, 0.06, 15_000_000, 16 * MIB, id="1 Gbit/s over 60 ms needs twice 7.5 MB"),
        pytest.param(12.5e6, 0.06, 1_500_000, 3_000_000, id="100 Mbit/s over 60 ms needs twice 750 kB"),
        pytest.param(1.2e9, 0.0002, 1 * MIB - 1, 1 * MIB, id="loopback stops at 1 MiB"),
    ],
)
def test_a_window_settles_at_twice_the_bandwidth_delay_product(rate: float, rtt: float, low: int, high: int) -> None:
    assert low <= Path(rate=rate, rtt=rtt).settle() <= high


def test_a_slow_reader_does_not_grow_the_window() -> None:
    window = ReceiveWindow(0.0)
    for second in range(1, 100):
        transfer(window, INITIAL // 2)
        assert window.measure(float(second), 0.1) == INITIAL


def test_the_first_burst_after_a_pause_does_not_count_the_pause_twice() -> None:
    window = ReceiveWindow(0.0)
    transfer(window, INITIAL // 2)
    assert window.measure(60.0, 0.125) == INITIAL
    transfer(window, INITIAL)
    assert window.measure(60.125, 0.125) == 2 * INITIAL


def test_no_size_is_concluded_from_less_than_a_round_trip() -> None:
    window = ReceiveWindow(0.0)
    transfer(window, INITIAL)
    assert window.measure(0.099, 0.1) == INITIAL
    assert window.measure(0.1, 0.1) == 2 * INITIAL


def test_measuring_without_time_passing_is_harmless() -> None:
    window = ReceiveWindow(5.0)
    transfer(window, INITIAL)
    assert window.measure(5.0, 0.0) == INITIAL


def test_a_window_at_most_doubles_at_once() -> None:
    window = ReceiveWindow(0.0)
    for _ in range(5):
        transfer(window, INITIAL)
    assert window.measure(0.002, 0.002) == 2 * INITIAL


def test_growth_leaves_with_the_next_grant() -> None:
    window = ReceiveWindow(0.0)
    window.grow(1000)
    assert window.available == INITIAL
    assert window.grant() == 1000
    assert window.available == window.size == INITIAL + 1000


def budget(
    *, growth: int = MIB, unread: int = 8 * MIB, host_growth: WindowBudget | None = None, host_unread: WindowBudget | None = None
) -> ReceiveBudget:
    return ReceiveBudget(growth_limit=growth, unread_limit=unread, host_growth=host_growth, host_unread=host_unread)


def test_a_host_budget_gives_all_or_nothing() -> None:
    host = WindowBudget(100)
    assert host.reserve(60)
    assert not host.reserve(41)
    assert host.used == 60
    assert host.reserve(40)
    host.release(100)
    assert host.used == 0


def test_growth_stays_within_the_connection_and_the_host() -> None:
    host = WindowBudget(3 * MIB // 2)
    first, second = budget(host_growth=host), budget(host_growth=host)
    assert first.grow(MIB)
    assert not first.grow(1)
    assert not second.grow(MIB)
    assert second.grow(MIB // 2)
    assert host.used == 3 * MIB // 2
    first.shrink(MIB)
    assert second.grow(MIB // 2)


def test_unread_bytes_of_a_quiet_connection_reserve_nothing() -> None:
    host = WindowBudget(0)
    quiet = budget(host_unread=host)
    assert quiet.add(INITIAL)
    assert not quiet.add(1)
    quiet.remove(1)
    assert quiet.within()


def test_unread_bytes_reserve_in_steps_and_give_back() -> None:
    host = WindowBudget(64 * MIB)
    busy = budget(host_unread=host)
    assert busy.add(3 * MIB)
    assert host.used >= 3 * MIB - INITIAL
    busy.remove(3 * MIB)
    assert host.used <= 2 * INITIAL
    busy.close()
    assert host.used == 0


def test_unread_bytes_over_the_connection_bound_are_over_budget() -> None:
    small = budget(unread=100)
    assert small.add(100)
    assert not small.add(1)
    assert not small.within()
    small.remove(1)
    assert small.within()


def test_the_host_bound_holds_over_several_connections() -> None:
    host = WindowBudget(2 * INITIAL)
    first, second = budget(host_unread=host), budget(host_unread=host)
    assert first.add(3 * INITIAL)
    assert not second.add(INITIAL + 1)
    first.close()
    assert second.within()


def test_closing_gives_everything_back() -> None:
    growth, unread = WindowBudget(10 * MIB), WindowBudget(10 * MIB)
    session = budget(host_growth=growth, host_unread=unread)
    assert session.grow(MIB)
    assert session.add(4 * MIB)
    session.close()
    assert session.within()
    assert (growth.used, unread.used) == (0, 0)
