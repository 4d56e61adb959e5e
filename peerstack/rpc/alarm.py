"""One timer for a deadline that moves with every message and hardly ever passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Alarm", "Timers"]


class Timers(Protocol):
    """What an alarm needs of a plugin's context."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after `delay` seconds unless the returned function is called."""


class Alarm:
    """Rings once its deadline has passed. Moving the deadline back costs nothing: a timer that fires early is set anew.

    Attributes:
        deadline: Monotonic seconds; None while there is none.

    Args:
        timers: The clock, and one timer at a time.
        ring: Called with the time; the deadline is None by then.
    """

    def __init__(self, timers: Timers, ring: Callable[[float], None]) -> None:
        self.deadline: float | None = None
        self._timers = timers
        self._ring = ring
        self._fires_at: float | None = None
        self._cancel: Callable[[], None] = lambda: None

    def set(self, deadline: float) -> None:
        """Ring at `deadline` and not before, whatever was set until now."""
        self.deadline = deadline
        if self._fires_at is None or deadline < self._fires_at:
            self._cancel()
            self._arm(deadline, self._timers.time())

    def clear(self) -> None:
        """Do not ring."""
        self.deadline = None

    def close(self) -> None:
        """Do not ring, and keep no timer."""
        self.deadline = self._fires_at = None
        self._cancel()

    def _arm(self, deadline: float, now: float) -> None:
        self._fires_at = deadline
        self._cancel = self._timers.call_later(max(0.0, deadline - now), self._fire)

    def _fire(self) -> None:
        self._fires_at = None
        if self.deadline is None:
            return
        now = self._timers.time()
        if now < self.deadline:
            self._arm(self.deadline, now)
        else:
            self.deadline = None
            self._ring(now)
