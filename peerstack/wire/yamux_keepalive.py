"""Pings of a yamux session: is the remote alive, and how long is a round trip?

Whatever the remote sends shows that it lives; a ping goes out after silence only, and once at the start for the round-trip time.
"""

from __future__ import annotations

from typing import Final

from peerstack.errors import LimitExceeded
from peerstack.wire.yamux_frames import MAX_U32

__all__ = ["Keepalive"]

_SAMPLES: Final = 8
_MAX_PINGS: Final = 16


class Keepalive:
    """Decides when to ping, and when the remote is gone.

    Args:
        interval_s: Silence after which a ping goes out.
        timeout_s: Silence after an unanswered ping after which the remote is gone.
        now: The present time.

    Attributes:
        due: When to look again.
        heard_at: When the last bytes arrived; set by the session.
        rtt: The last round-trip time in seconds, None before the first pong.
        path_rtt: The shortest of the last ones: the path's own, without queues.
    """

    __slots__ = ("_interval", "_next_value", "_pings", "_samples", "_timeout", "due", "heard_at", "path_rtt", "rtt")

    def __init__(self, interval_s: float, timeout_s: float, now: float) -> None:
        self._interval = interval_s
        self._timeout = timeout_s
        self._next_value = 0
        self._pings: dict[int, float] = {}  # value -> when it was queued
        self._samples: tuple[float, ...] = ()
        self.heard_at = now
        self.due = now + interval_s
        self.rtt: float | None = None
        self.path_rtt: float | None = None

    @property
    def awaiting_pong(self) -> bool:
        """Whether a ping has not been answered yet."""
        return bool(self._pings)

    def ping(self, now: float) -> int:
        """Register a ping that is sent now, and return its value.

        Raises:
            LimitExceeded: Too many are unanswered.
        """
        if len(self._pings) >= _MAX_PINGS:
            raise LimitExceeded("unanswered_pings", f"{_MAX_PINGS} pings are unanswered")
        value = self._next_value
        self._next_value = (value + 1) & MAX_U32
        self._pings[value] = now
        self.due = min(self.due, now + self._timeout)
        return value

    def pong(self, value: int, now: float) -> None:
        """Take an answer; one to no ping of ours is ignored."""
        sent_at = self._pings.pop(value, None)
        if sent_at is None:
            return
        self.rtt = max(0.0, now - sent_at)
        self._samples = (*self._samples[1 - _SAMPLES :], self.rtt)
        self.path_rtt = min(self._samples)

    def expired(self, now: float) -> bool:
        """Whether the remote is gone: nothing was heard for the timeout after a ping."""
        return bool(self._pings) and now >= self._gone_at()

    def rearm(self, now: float) -> bool:
        """Set `due` anew; True if a ping should go out now."""
        if self._pings:
            self.due = self._gone_at()
            return False
        self.due = self.heard_at + self._interval
        if now < self.due:
            return False
        self.due = now + self._timeout
        return True

    def _gone_at(self) -> float:
        oldest = next(iter(self._pings.values()))
        return max(oldest, self.heard_at) + self._timeout
