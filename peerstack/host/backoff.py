"""When a peer that could not be dialled may be dialled again."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from peerstack.config import DialConfig

__all__ = ["Backoff"]

_CAPACITY = 4096  # peers remembered; the one that failed first is forgotten first
_JITTER = 0.25  # each way, so that peers cut off together do not come back together


@dataclass(slots=True)
class _Failures:
    count: int
    until: float
    tried: frozenset[bytes]
    reason: str


class Backoff:
    """Exponential back-off per peer. An address that was not among those that failed is worth a dial at once."""

    def __init__(self, config: DialConfig, rng: random.Random, clock: Callable[[], float]) -> None:
        """Start with no failures.

        Args:
            config: First and longest wait.
            rng: For jitter.
            clock: Monotonic seconds.
        """
        self._config = config
        self._rng = rng
        self._clock = clock
        self._failures: dict[bytes, _Failures] = {}

    def remaining(self, peer: bytes, addresses: Collection[bytes]) -> tuple[float, str]:
        """Seconds until these addresses of a peer may be dialled (0.0: now), and why not before."""
        failures, now = self._failures.get(peer), self._clock()
        if failures is None or failures.until <= now or not failures.tried.issuperset(addresses):
            return 0.0, ""
        return failures.until - now, failures.reason

    def failed(self, peer: bytes, addresses: Collection[bytes], reason: str) -> float:
        """Note a failed dial; returns the wait, in seconds."""
        previous, now = self._failures.pop(peer, None), self._clock()
        fresh = previous is None or now > previous.until + self._config.max_backoff_s
        count = 1 if fresh or previous is None else previous.count + 1
        wait = min(self._config.backoff_s * 2.0 ** min(count - 1, 30), self._config.max_backoff_s)
        wait *= self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        self._failures[peer] = _Failures(count, now + wait, frozenset(addresses), reason)
        if len(self._failures) > _CAPACITY:
            del self._failures[next(iter(self._failures))]
        return wait

    def succeeded(self, peer: bytes) -> None:
        """Forget a peer's failures."""
        self._failures.pop(peer, None)
