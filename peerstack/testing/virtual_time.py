"""An asyncio event loop whose clock jumps to the next timer instead of waiting for it.

A day of timers takes as long as its callbacks take, and the same program with the same seeds runs the same way every time. There is no
selector, socket, thread or DNS: the network is `peerstack.net.memory.MemoryNetwork`, and `run_in_executor` calls its function at once. A
program that waits for something that cannot come is told so (`Stalled`) instead of hanging.

::

    virtual_time.run(main())
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import Any, NoReturn, TypeVar

from peerstack.environment import Environment

__all__ = ["EPOCH", "Stalled", "Timer", "VirtualTimeLoop", "run", "seeded_environment", "wall_clock"]

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""What `wall_clock` says when a loop starts, in seconds since the Unix epoch."""

_DEFAULT_LIMIT_S = 100 * 86_400.0
_TASKS_NAMED = 10
_FEW_TOMBSTONES = 1000

Timer = list[Any]
"""``[when, number, callback, arguments]``: compared by the first two, and nothing that is called in Python for it; the callback is None
once it was called or cancelled."""


class Stalled(RuntimeError):
    """Virtual time cannot go on: nothing is ready and no timer is set, or the limit has passed. Says which tasks wait, and where."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time; it starts at 0.0 seconds.

    Args:
        limit_s: Virtual seconds after which a program that still runs is `Stalled` (periodic timers alone would keep it busy for ever).
    """

    def __init__(self, *, limit_s: float = _DEFAULT_LIMIT_S) -> None:
        super().__init__()
        self._now = 0.0
        self._limit_s = limit_s
        self._timers: list[Timer] = []  # a heap
        self._numbered = 0  # timers ever set: of two for the same time the one set first is called first
        self._tombstones = 0  # cancelled timers that are still in the heap
        self._due: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return len(self._timers) - self._tombstones

    def schedule(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call back after `delay` virtual seconds: `call_later` for simulations of millions of timers.

        The callback is called by the loop itself, in no context of its own and ahead of what `call_soon` made ready in the meantime.

        Returns:
            What `unschedule` takes.
        """
        self._numbered += 1
        timer: Timer = [self._now + delay, self._numbered, callback, args]
        heappush(self._timers, timer)
        return timer

    def unschedule(self, timer: Timer) -> None:
        """Cancel what `schedule` returned, unless it was called or cancelled already."""
        if timer[2] is None:
            return
        timer[2], timer[3] = None, ()
        self._tombstones += 1
        if self._tombstones > _FEW_TOMBSTONES and 2 * self._tombstones > len(self._timers):
            self._timers[:] = [each for each in self._timers if each[2] is not None]
            heapify(self._timers)
            self._tombstones = 0

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back at a time of the loop's clock; one that has passed is now."""
        self._check_closed()  # type: ignore[attr-defined]
        handle = _Handle(when, callback, args, self, context)
        handle.timer = self.schedule(when - self._now, self._due.append, handle)
        handle.timer[0] = when  # exact, where now + (when - now) may be an ulp off
        return handle

    def close(self) -> None:
        """Drop every timer, and close."""
        super().close()
        self._timers.clear()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Told by a handle of `call_at` that it is cancelled (called by asyncio)."""
        assert isinstance(handle, _Handle)
        self.unschedule(handle.timer)

    def _run_once(self) -> None:
        """Take one turn: the timers that are due, then what was ready before or is by now (called by `asyncio.BaseEventLoop`)."""
        self._run_timers()
        for _ in range(len(self._due)):
            handle = self._due.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001  (a loop is what runs handles)

    def _run_timers(self) -> None:
        """Call what is due, and jump from timer to timer while nothing is ready."""
        timers, due = self._timers, self._due
        last = self._numbered  # a timer set from here on waits for the next turn
        while timers:
            timer = timers[0]
            when, number, callback, args = timer
            if callback is None:
                heappop(timers)
                self._tombstones -= 1
                continue
            if when > self._now or number > last:
                if due or self._stopping:  # type: ignore[attr-defined]
                    return
                if when > self._limit_s:
                    raise Stalled(f"virtual time passed its limit of {self._limit_s:.0f} s; {self._waiting()}")
                if when > self._now:
                    self._now = when
                last = self._numbered
            heappop(timers)
            timer[2], timer[3] = None, ()
            try:
                callback(*args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001  (as asyncio does with its handles)
                self.call_exception_handler({"message": f"Exception in callback {callback!r}", "exception": error})
        if not due and not self._stopping:  # type: ignore[attr-defined]
            raise Stalled(f"nothing is ready and no timer is set at {self._now:.6f} s of virtual time; {self._waiting()}")

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Call `func` at once, on the loop's own thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (the future carries it)
            future.set_exception(error)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no executor."""

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Same as `call_soon`; other threads have no place in virtual time and get a RuntimeError."""
        if self.is_running() and threading.get_ident() != self._thread_id:  # type: ignore[attr-defined]
            raise RuntimeError("virtual time cannot wait for other threads: run this test on the ordinary event loop")
        return self.call_soon(callback, *args, context=context)

    async def getaddrinfo(self, host: Any, port: Any, **_options: Any) -> NoReturn:
        """Resolve nothing."""
        raise _no_dns(host)

    async def _no_sockets(self, *_args: Any, **_options: Any) -> Any:
        raise NotImplementedError("virtual time has no sockets: use peerstack.net.memory.MemoryTransport")

    create_connection = create_server = create_datagram_endpoint = _no_sockets
    connect_read_pipe = connect_write_pipe = subprocess_exec = subprocess_shell = _no_sockets

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: (len(task.get_name()), task.get_name()))
        places = [_place(task) for task in tasks[:_TASKS_NAMED]]
        more = [f"and {len(tasks) - _TASKS_NAMED} more"] if len(tasks) > _TASKS_NAMED else []
        return "waiting: " + ("; ".join(places + more) or "no task at all")


class _Handle(asyncio.TimerHandle):
    """What `VirtualTimeLoop.call_at` returns."""

    __slots__ = ("timer",)
    timer: Timer


def _place(task: asyncio.Task[Any]) -> str:
    """Name a task and the innermost line it is suspended at."""
    coroutine: Any = task.get_coro()
    while hasattr(inner := getattr(coroutine, "cr_await", None), "cr_frame"):
        coroutine = inner
    frame = getattr(coroutine, "cr_frame", None)
    where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
    return f"{task.get_name()} in {getattr(coroutine, '__qualname__', '?')} at {where}"


def _no_dns(name: object) -> socket.gaierror:
    return socket.gaierror(socket.EAI_NONAME, f"virtual time has no DNS ({name!r}): give the Environment a resolver of your own")


def run(main: Coroutine[Any, Any, T], *, limit_s: float = _DEFAULT_LIMIT_S, debug: bool = False) -> T:
    """Run a coroutine in virtual time and return its result, as `asyncio.run` does on the real clock.

    Args:
        main: What to run.
        limit_s: See `VirtualTimeLoop`.
        debug: asyncio's debug mode; it makes a simulation some 15 times slower.

    Raises:
        Stalled: `main` waits for something that cannot come, or ran past `limit_s`.
    """
    with asyncio.Runner(debug=debug, loop_factory=lambda: VirtualTimeLoop(limit_s=limit_s)) as runner:
        return runner.run(main)


def wall_clock() -> float:
    """Seconds since the Unix epoch by the running loop's clock, counted from `EPOCH`."""
    return EPOCH + asyncio.get_running_loop().time()


async def _resolve_nothing(name: str, family: int) -> list[str]:
    raise _no_dns(name)


def seeded_environment(seed: int | str) -> Environment:
    """Return an environment that is the same on every run: clocks from the loop, entropy and randomness from `seed`, no DNS.

    Its keys are guessable: for tests only.
    """
    return Environment(
        wall_clock=wall_clock,
        entropy=random.Random(f"entropy of {seed}").randbytes,
        random=random.Random(f"random of {seed}"),
        resolver=_resolve_nothing,
    )
