"""One timer for deadlines that move, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from peerstack.rpc.alarm import Alarm

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


class LoopTimers:
    """The event loop's clock and timers, the timers counted."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.made = 0
        self.handles: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.loop.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        self.made += 1
        self.handles.append(self.loop.call_later(delay, callback))
        return self.handles[-1].cancel

    @property
    def under_way(self) -> int:
        return sum(not handle.cancelled() and handle.when() > self.loop.time() for handle in self.handles)


async def test_it_rings_at_its_deadline_and_once() -> None:
    rung: list[float] = []
    alarm = Alarm(timers := LoopTimers(), rung.append)
    due = timers.time() + 5
    alarm.set(due)
    await asyncio.sleep(20)
    assert rung == [pytest.approx(due)]
    assert alarm.deadline is None


async def test_moving_the_deadline_back_makes_no_timer() -> None:
    rung: list[float] = []
    alarm = Alarm(timers := LoopTimers(), rung.append)
    for _ in range(1000):
        alarm.set(timers.time() + 10)
        await asyncio.sleep(0.01)
    assert not rung
    assert timers.made <= 2
    due = timers.time() + 9.99
    await asyncio.sleep(20)
    assert rung == [pytest.approx(due)]
    assert timers.made <= 3


async def test_an_earlier_deadline_is_kept_too() -> None:
    rung: list[float] = []
    alarm = Alarm(timers := LoopTimers(), rung.append)
    alarm.set(timers.time() + 10)
    alarm.set(due := timers.time() + 1)
    await asyncio.sleep(20)
    assert rung == [pytest.approx(due)]


async def test_cleared_or_closed_it_never_rings_and_closed_it_keeps_no_timer() -> None:
    rung: list[float] = []
    alarm = Alarm(timers := LoopTimers(), rung.append)
    alarm.set(timers.time() + 1)
    alarm.clear()
    await asyncio.sleep(5)
    alarm.set(timers.time() + 1)
    alarm.close()
    assert timers.under_way == 0
    await asyncio.sleep(5)
    assert not rung


async def test_it_may_be_set_again_while_it_rings() -> None:
    rung: list[float] = []

    def ring(now: float) -> None:
        rung.append(now)
        if len(rung) < 3:
            alarm.set(now + 2)

    alarm = Alarm(timers := LoopTimers(), ring)
    begun = timers.time()
    alarm.set(begun + 1)
    await asyncio.sleep(20)
    assert rung == [pytest.approx(begun + after) for after in (1, 3, 5)]
