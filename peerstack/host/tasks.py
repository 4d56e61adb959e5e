"""Task scopes: every background task has one owner, and one way to end.

`asyncio.TaskGroup` cancels in the order of memory addresses and ends everything when one task fails. A `TaskScope` cancels in the order of
creation, so that the same program runs the same way twice, and reports a crash without ending the other tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from peerstack.errors import Closed

__all__ = ["OnCrash", "TaskScope"]

OnCrash = Callable[[str, BaseException], None]
"""``(task name, error)``"""


class TaskScope:
    """Tasks that end together, in order of their creation."""

    def __init__(self, name: str, on_crash: OnCrash) -> None:
        """Make an empty scope.

        Args:
            name: Prefix of its tasks' names.
            on_crash: Called when a task ends with an error.
        """
        self._name = name
        self._on_crash = on_crash
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._timers: dict[asyncio.TimerHandle, None] = {}
        self._closed = False

    def __len__(self) -> int:
        """Tasks that have not ended."""
        return len(self._tasks)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str = "") -> asyncio.Task[None]:
        """Run a coroutine as a task of this scope.

        Raises:
            Closed: The scope has ended (the coroutine never runs).
        """
        if self._closed:
            coroutine.close()
            raise Closed(f"{self._name} has ended: no new task {name!r}")
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._name}: {name}" if name else self._name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after `delay` seconds unless the scope ends first, or the function returned is called.

        Raises:
            Closed: The scope has ended.
        """
        if self._closed:
            raise Closed(f"{self._name} has ended: no new timer")

        def run() -> None:
            self._timers.pop(timer, None)
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - task boundary: a crash is reported and ends nothing else
                self._on_crash(f"{self._name}: timer", error)

        def cancel() -> None:
            if timer in self._timers:
                del self._timers[timer]
                timer.cancel()

        timer = asyncio.get_running_loop().call_later(delay, run)
        self._timers[timer] = None
        return cancel

    async def close(self, *, patience: float = 1.0) -> list[str]:
        """Cancel everything in order of creation and wait until it has ended. Idempotent.

        A cancelled caller still waits for the tasks, then sees its cancellation. The calling task, if it is of this scope, is left alone.

        Args:
            patience: Seconds for tasks that clean up, or resist.

        Returns:
            The names of tasks that had not ended by then, in order of creation.
        """
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        loop = asyncio.get_running_loop()
        deadline, interrupted = loop.time() + patience, False
        current = asyncio.current_task()
        for task in [task for task in self._tasks if task is not current]:
            task.cancel()
        while waiting := [task for task in self._tasks if task is not current and not task.done()]:
            left = deadline - loop.time()
            if left <= 0:
                break
            try:
                await asyncio.wait(waiting[:1], timeout=left)
            except asyncio.CancelledError:
                interrupted = True
        if interrupted:
            raise asyncio.CancelledError
        return [task.get_name() for task in waiting]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._on_crash(task.get_name(), error)
