"""An asyncio event loop whose clock jumps to the next timer instead of waiting for it.

A day of timers takes as long as its callbacks take, and the same program with the same seeds runs the same way every time. There is no
selector, socket, thread or DNS: the network is `peerstack.net.memory.MemoryNetwork`, and `run_in_executor` calls its function at once. A
program that waits for something that cannot come is told so (`Stalled`) instead of hanging.

::

    virtual_time.run(main())
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NoReturn, TypeVar

from peerstack.environment import Environment

__all__ = ["EPOCH", "Stalled", "VirtualTimeLoop", "run", "seeded_environment", "wall_clock"]

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""What `wall_clock` says when a loop starts, in seconds since the Unix epoch."""

_DEFAULT_LIMIT_S = 100 * 86_400.0
_TASKS_NAMED = 10


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
        self._selector = self  # BaseEventLoop._run_once() calls self._selector.select(timeout)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """Jump to the next timer, where a selector would sleep (called by `asyncio.BaseEventLoop`)."""
        if timeout is None:
            raise Stalled(f"nothing is ready and no timer is set at {self._now:.6f} s of virtual time; {self._waiting()}")
        if timeout > 0:
            self._now = self._scheduled[0]._when  # type: ignore[attr-defined]  # noqa: SLF001  (exact, where now + timeout may be an ulp off)
            self._clock_resolution = math.ulp(self._now)  # timers run when they are due, not a nanosecond before
            if self._now > self._limit_s:
                raise Stalled(f"virtual time passed its limit of {self._limit_s:.0f} s; {self._waiting()}")
        return ()

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

    def _process_events(self, event_list: tuple[()]) -> None:
        """There are none (required by `asyncio.BaseEventLoop`)."""

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: (len(task.get_name()), task.get_name()))
        places = [_place(task) for task in tasks[:_TASKS_NAMED]]
        more = [f"and {len(tasks) - _TASKS_NAMED} more"] if len(tasks) > _TASKS_NAMED else []
        return "waiting: " + ("; ".join(places + more) or "no task at all")


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
