"""What is refused because of a limit: counted always, logged at a bounded rate."""

from __future__ import annotations

import logging
from collections.abc import Callable

from peerstack.errors import LimitExceeded
from peerstack.host.metrics import HostMetrics

__all__ = ["Refusals"]

_logger = logging.getLogger(__name__)

_LOG_INTERVAL_S = 10.0  # between two lines about the same limit


class Refusals:
    """One host's refusals, by the name of the limit."""

    def __init__(self, metrics: HostMetrics, clock: Callable[[], float]) -> None:
        """Start counting.

        Args:
            metrics: Where they are counted (``libp2p_rcmgr_blocked_resources``).
            clock: Monotonic seconds.
        """
        self._metrics = metrics
        self._clock = clock
        self._quiet_until: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}

    def refuse(self, limit: str, what: str) -> LimitExceeded:
        """Count and log one refusal; returns the error for whoever asked.

        Args:
            limit: The limit's name, as in the configuration.
            what: What was refused, for people.
        """
        self._metrics.count("libp2p_rcmgr_blocked_resources", resource=limit)
        now = self._clock()
        if now < self._quiet_until.get(limit, now):
            self._unlogged[limit] = self._unlogged.get(limit, 0) + 1
        else:
            more = self._unlogged.pop(limit, 0)
            _logger.warning("refused %s: limit %s reached%s", what, limit, f" ({more} more since the last such line)" if more else "")
            self._quiet_until[limit] = now + _LOG_INTERVAL_S
        return LimitExceeded(limit, f"refused {what}: limit {limit} reached")
