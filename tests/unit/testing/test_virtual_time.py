from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.testing import virtual_time
from peerstack.testing.virtual_time import EPOCH, Stalled, VirtualTimeLoop, seeded_environment, wall_clock

virtual = pytest.mark.asyncio(loop_factories=["virtual"])


@virtual
async def test_a_sleep_moves_the_clock_by_exactly_its_length() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    assert loop.time() == 0.0
    for _ in range(1000):
        before = loop.time()
        await asyncio.sleep(0.1)
        assert loop.time() == before + 0.1


def test_a_year_of_sleep_takes_no_real_year() -> None:
    async def main() -> float:
        await asyncio.sleep(365 * 86_400)
        return asyncio.get_running_loop().time()

    started = time.monotonic()
    assert virtual_time.run(main(), limit_s=1e9) == 365 * 86_400
    assert time.monotonic() - started < 86_400


@virtual
async def test_timers_fire_in_the_order_of_their_times_and_never_early() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(8.5e6)  # an ulp is longer than a nanosecond here
    fired: list[tuple[float, float]] = []
    delays = [3.0, 1.0, 2.0, 1.0 + 1e-8, 1.5]
    for delay in delays:
        when = loop.time() + delay
        loop.call_at(when, lambda when=when: fired.append((when, loop.time())))  # type: ignore[misc]
    await asyncio.sleep(5)
    assert [when for when, _ in fired] == sorted(when for when, _ in fired)
    assert len(fired) == len(delays)
    assert all(now == when for when, now in fired)


@virtual
async def test_a_timer_in_the_past_fires_without_moving_the_clock_back() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(10)
    done = loop.create_future()
    loop.call_at(3, done.set_result, None)
    await done
    assert loop.time() == 10


@virtual
async def test_a_timeout_expires_at_its_deadline() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(7.5):
            await loop.create_future()
    assert loop.time() == 7.5


@virtual
@given(wanted=st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=40))
@settings(max_examples=50)
async def test_scheduled_callbacks_come_in_order_once_each_unless_they_were_unscheduled(wanted: list[tuple[float, bool]]) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    began = loop.time()
    called: list[tuple[float, int]] = []
    timers = [loop.schedule(delay, lambda index=index: called.append((loop.time(), index))) for index, (delay, _) in enumerate(wanted)]
    for timer, (_, kept) in zip(timers, wanted, strict=True):
        if not kept:
            loop.unschedule(timer)
            loop.unschedule(timer)  # once more changes nothing
    left = [(began + delay, index) for index, (delay, kept) in enumerate(wanted) if kept]
    assert loop.timers == len(left)
    await asyncio.sleep(101)
    assert called == sorted(left)
    for timer in timers:
        loop.unschedule(timer)  # called already
    assert loop.timers == 0


@virtual
async def test_a_million_cancelled_timers_take_no_room() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    kept: list[int] = []
    loop.schedule(2, kept.append, 1)
    for _ in range(10_000):
        loop.unschedule(loop.schedule(1, kept.append, 0))
        loop.call_later(1, kept.append, 0).cancel()
    assert loop.timers == 1
    assert len(loop._timers) < 3000
    await asyncio.sleep(3)
    assert kept == [1]


@virtual
async def test_a_timer_set_for_now_waits_for_the_next_turn() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    turns: list[int] = []

    def again() -> None:
        turns.append(len(turns))
        if len(turns) < 5:
            loop.schedule(0, again)

    loop.schedule(0, again)
    for turn in range(5):
        assert len(turns) == turn
        await asyncio.sleep(0)
    assert turns == [0, 1, 2, 3, 4]


def test_an_error_in_a_scheduled_callback_reaches_the_exception_handler_and_stops_nobody_else() -> None:
    told: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.set_exception_handler(lambda _loop, context: told.append(type(context["exception"])))
        loop.schedule(1, lambda: 1 // 0)
        loop.schedule(1, told.append, "the next")
        await asyncio.sleep(2)

    virtual_time.run(main())
    assert told == [ZeroDivisionError, "the next"]


def test_a_program_that_waits_for_nothing_is_told_where_it_waits() -> None:
    async def reader() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await asyncio.sleep(4)
        await asyncio.create_task(reader(), name="the reader")

    with pytest.raises(Stalled, match=r"at 4\.000000 s.*the reader in .*reader at .*test_virtual_time\.py:\d+"):
        virtual_time.run(main())


def test_the_tasks_of_a_stalled_program_are_cancelled() -> None:
    ended: list[str] = []

    async def main() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("main")

    with pytest.raises(Stalled):
        virtual_time.run(main())
    assert ended == ["main"]


def test_a_stall_names_few_tasks_of_many() -> None:
    async def main() -> None:
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(50)))

    with pytest.raises(Stalled, match="and 41 more"):
        virtual_time.run(main())


def test_a_program_that_only_ticks_ends_at_the_limit() -> None:
    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(30)

    with pytest.raises(Stalled, match="limit of 3600 s"):
        virtual_time.run(main(), limit_s=3600)


@virtual
async def test_executor_calls_run_on_the_loops_thread() -> None:
    assert await asyncio.to_thread(threading.get_ident) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 // 0)


@virtual
async def test_call_soon_threadsafe_works_on_the_loops_thread_and_refuses_others() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_soon_threadsafe(done.set_result, 7)
    assert await done == 7

    refused: list[str] = []

    def elsewhere() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(refused) == 1
    assert "other threads" in refused[0]


@virtual
async def test_there_is_no_dns_and_no_socket() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(socket.gaierror, match="no DNS"):
        await loop.getaddrinfo("localhost", 80)
    with pytest.raises(NotImplementedError, match="MemoryTransport"):
        await asyncio.open_connection("127.0.0.1", 9)
    with pytest.raises(NotImplementedError, match="MemoryTransport"):
        await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)


@virtual
async def test_the_wall_clock_follows_the_loop() -> None:
    assert wall_clock() == EPOCH
    await asyncio.sleep(90)
    assert wall_clock() == EPOCH + 90


@virtual
async def test_an_environment_repeats_itself_for_its_seed_only() -> None:
    one, again, other = seeded_environment(1), seeded_environment(1), seeded_environment(2)
    assert one.entropy(32) == again.entropy(32) != other.entropy(32)
    assert one.random.random() == again.random.random() != other.random.random()
    assert one.wall_clock() == EPOCH
    with pytest.raises(socket.gaierror):
        await one.resolver("example.org", socket.AF_UNSPEC)


def test_the_same_program_takes_the_same_steps_twice() -> None:
    def trace() -> list[tuple[float, int]]:
        environment = seeded_environment("trace")
        steps: list[tuple[float, int]] = []

        async def worker(number: int) -> None:
            for _ in range(20):
                await asyncio.sleep(round(environment.random.random(), 1))
                steps.append((asyncio.get_running_loop().time(), number))

        async def main() -> None:
            await asyncio.gather(*(worker(number) for number in range(20)))

        virtual_time.run(main())
        return steps

    assert trace() == trace()


@pytest.mark.asyncio
async def test_an_unmarked_test_runs_on_the_ordinary_loop_in_debug_mode() -> None:
    loop = asyncio.get_running_loop()
    assert not isinstance(loop, VirtualTimeLoop)
    assert loop.get_debug()
