"""How long to wait for whom: round-trip times per peer, and the timeouts that follow from them.

The estimate is TCP's (RFC 6298): a smoothed round-trip time and its mean deviation. `patience` is when somebody else is asked as well,
`timeout` when an answer is no longer waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["RoundTrips"]

_MAX_PEERS: Final = 2048
_MAX_TIMEOUT_S: Final = 10.0
_MIN_TIMEOUT_S: Final = 1.0
_UNKNOWN_PATIENCE_S: Final = 1.0
_MIN_PATIENCE_S: Final = 0.05


@dataclass(slots=True)
class _Estimate:
    smoothed: float
    deviation: float


class RoundTrips:
    """Round-trip times of the peers spoken to most recently.

    Args:
        fixed_timeout_s: The network's timeout; 0 is adaptive.
    """

    def __init__(self, fixed_timeout_s: float = 0.0) -> None:
        self._fixed = fixed_timeout_s
        self._peers: dict[int, _Estimate] = {}  # the one measured last comes last

    def measured(self, key: int, seconds: float) -> None:
        """Take one measurement."""
        estimate = self._peers.pop(key, None)
        if estimate is None:
            self._peers[key] = _Estimate(seconds, seconds / 2)
            if len(self._peers) > _MAX_PEERS:
                del self._peers[next(iter(self._peers))]
            return
        self._peers[key] = estimate
        estimate.deviation += (abs(seconds - estimate.smoothed) - estimate.deviation) / 4
        estimate.smoothed += (seconds - estimate.smoothed) / 8

    def rtt(self, key: int) -> float | None:
        """The smoothed round-trip time in seconds."""
        estimate = self._peers.get(key)
        return None if estimate is None else estimate.smoothed

    def timeout(self, key: int) -> float:
        """Seconds after which a peer's silence is a failure."""
        if self._fixed:
            return self._fixed
        estimate = self._peers.get(key)
        if estimate is None:
            return _MAX_TIMEOUT_S
        return min(_MAX_TIMEOUT_S, max(_MIN_TIMEOUT_S, 8 * (estimate.smoothed + 4 * estimate.deviation)))

    def patience(self, key: int) -> float:
        """Seconds after which a peer is slow."""
        timeout = self.timeout(key)
        estimate = self._peers.get(key)
        if estimate is None:
            return min(_UNKNOWN_PATIENCE_S, timeout / 2)
        return min(timeout, max(_MIN_PATIENCE_S, estimate.smoothed + 4 * estimate.deviation))
