"""Periodic work: timers that do not march in step."""

from __future__ import annotations

from collections.abc import Callable

from peerstack.dht.replica.seam import Outside

__all__ = ["Timers"]


class Timers:
    """Named periodic actions.

    Args:
        outside: Timers and random bits.
    """

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._cancels: dict[str, Callable[[], None]] = {}
        self._stopped = False

    def every(self, name: str, period_s: float, action: Callable[[], None]) -> None:
        """Call an action again and again.

        Periods are spread by a quarter, so that nodes started together do not all act at once.
        """
        jitter = 0.875 + self._outside.random_bits(16) / (1 << 16) / 4

        def fire() -> None:
            if not self._stopped:
                self.every(name, period_s, action)
                action()

        self._cancels[name] = self._outside.call_later(period_s * jitter, fire)

    def stop(self) -> None:
        """End them all."""
        self._stopped = True
        for cancel in self._cancels.values():
            cancel()
        self._cancels.clear()
