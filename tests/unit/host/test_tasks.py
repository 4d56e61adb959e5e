from __future__ import annotations

import asyncio

import pytest

from peerstack.errors import Closed
from peerstack.host.tasks import TaskScope

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


class _Crashes(list[tuple[str, str]]):
    def __call__(self, name: str, error: BaseException) -> None:
        self.append((name, str(error)))


async def test_tasks_are_cancelled_in_the_order_of_their_creation() -> None:
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(number)

    scope = TaskScope("scope", _Crashes())
    for number in range(20):
        scope.spawn(wait(number))
    await asyncio.sleep(0)
    assert await scope.close() == []
    assert ended == list(range(20))
    assert len(scope) == 0


async def test_a_crash_is_reported_and_the_other_tasks_live_on() -> None:
    crashes = _Crashes()
    scope = TaskScope("scope", crashes)

    async def crash() -> None:
        raise ValueError("broken")

    living = scope.spawn(asyncio.sleep(10), name="living")
    scope.spawn(crash(), name="crashing")
    await asyncio.sleep(1)
    assert crashes == [("scope: crashing", "broken")]
    assert not living.done()
    await scope.close()


async def test_a_crash_while_cleaning_up_is_reported() -> None:
    crashes = _Crashes()
    scope = TaskScope("scope", crashes)

    async def crash_at_the_end() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise ValueError("broken")

    scope.spawn(crash_at_the_end(), name="task")
    await asyncio.sleep(0)
    await scope.close()
    assert crashes == [("scope: task", "broken")]


async def test_closing_waits_for_tasks_that_clean_up() -> None:
    cleaned: list[str] = []

    async def clean_up() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append("done")

    scope = TaskScope("scope", _Crashes())
    scope.spawn(clean_up())
    await asyncio.sleep(0)
    await scope.close()
    assert cleaned == ["done"]


async def test_a_task_that_resists_is_named_when_patience_ends() -> None:
    release = asyncio.Event()

    async def resist() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    scope = TaskScope("scope", _Crashes())
    task = scope.spawn(resist(), name="stubborn")
    await asyncio.sleep(0)
    assert await scope.close(patience=2) == ["scope: stubborn"]
    release.set()
    await task


async def test_a_cancelled_closer_still_waits_for_the_tasks() -> None:
    cleaned: list[str] = []

    async def clean_up() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append("done")

    scope = TaskScope("scope", _Crashes())
    scope.spawn(clean_up())
    await asyncio.sleep(0)
    closer = asyncio.create_task(scope.close())
    await asyncio.sleep(0.1)
    closer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closer
    assert cleaned == ["done"]


async def test_a_task_that_closes_its_own_scope_is_left_alone() -> None:
    scope = TaskScope("scope", _Crashes())
    other = scope.spawn(asyncio.sleep(1000))
    ended: list[bool] = []

    async def close() -> None:
        await scope.close()
        ended.append(other.cancelled())

    await scope.spawn(close())
    assert ended == [True]


async def test_a_closed_scope_takes_neither_tasks_nor_timers() -> None:
    scope = TaskScope("scope", _Crashes())
    await scope.close()
    with pytest.raises(Closed):
        scope.spawn(asyncio.sleep(1))
    with pytest.raises(Closed):
        scope.call_later(1, lambda: None)


async def test_timers_run_once_and_end_with_the_scope() -> None:
    crashes, called = _Crashes(), list[str]()
    scope = TaskScope("scope", crashes)

    def crash() -> None:
        raise ValueError("broken")

    scope.call_later(1, lambda: called.append("first"))
    cancel = scope.call_later(2, lambda: called.append("cancelled"))
    scope.call_later(3, crash)
    scope.call_later(1000, lambda: called.append("too late"))
    cancel()
    await asyncio.sleep(10)
    cancel()
    await scope.close()
    await asyncio.sleep(2000)
    assert called == ["first"]
    assert crashes == [("scope: timer", "broken")]
