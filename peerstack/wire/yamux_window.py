"""Receive windows: what the remote may send, what the application has not consumed, and how windows grow.

Every byte of a window is in exactly one of four places: *available* (the remote may send it), *arriving* (a header announced it), *unread*
(handed to the application) or *owed* (consumed, to be granted again). Their sum is the window's size, always.

A window should hold twice the bandwidth-delay product: half of it is on its way while the update for the other half travels. The product
is measured as consumed bytes per time, times the round-trip time. On a fast path the product is tiny and the delay that counts is that of
two event loops taking turns, so windows of up to 1 MiB are granted for that; larger ones were measured to be slower there.
"""

from __future__ import annotations

from typing import Final

from peerstack.wire.yamux_frames import INITIAL_WINDOW_BYTES

__all__ = ["ReceiveBudget", "ReceiveWindow", "WindowBudget"]

_TURN_S: Final = 0.001  # what two event loops need to take turns
_FAST_PATH_WINDOW_BYTES: Final = 1 << 20
_QUANTUM_BYTES: Final = INITIAL_WINDOW_BYTES  # unread bytes are reserved from the host in steps


class WindowBudget:
    """Bytes that all sessions of a host share.

    Attributes:
        limit: Bytes there are.
        used: Bytes handed out.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def reserve(self, n: int) -> bool:
        """Take `n` bytes, or nothing and return False if they are not there."""
        if self.used + n > self.limit:
            return False
        self.used += n
        return True

    def release(self, n: int) -> None:
        """Give `n` reserved bytes back."""
        assert 0 <= n <= self.used, "more released than reserved"
        self.used -= n


class ReceiveWindow:
    """The receive window of one stream, and all of its accounting.

    Attributes:
        size: The window: available + arriving + unread + owed.
        available: What the remote may still send.
        arriving: Announced by a header that is being received.
        unread: Handed to the application and not consumed yet.
        owed: Consumed and not granted to the remote again.
    """

    __slots__ = ("_epoch_bytes", "_epoch_start", "arriving", "available", "owed", "size", "unread")

    def __init__(self, now: float) -> None:
        self.size = INITIAL_WINDOW_BYTES
        self.available = INITIAL_WINDOW_BYTES
        self.arriving = 0
        self.unread = 0
        self.owed = 0
        self._epoch_start = now
        self._epoch_bytes = 0

    def expect(self, n: int) -> bool:
        """Account for a header that announces `n` bytes; False if the remote may not send that many."""
        if n > self.available:
            return False
        self.available -= n
        self.arriving += n
        return True

    def deliver(self, n: int) -> None:
        """`n` announced bytes arrived and go to the application."""
        self.arriving -= n
        self.unread += n

    def consume(self, n: int) -> bool:
        """The application consumed `n` bytes; True once half the window waits to be granted again.

        Raises:
            ValueError: `n` is negative, or more than was handed over.
        """
        if not 0 <= n <= self.unread:
            raise ValueError(f"cannot give credit for {n} bytes: {self.unread} are unread")
        self.unread -= n
        self.owed += n
        self._epoch_bytes += n
        return 2 * self.owed >= self.size

    def grant(self) -> int:
        """Return the credit to send to the remote now."""
        credit = self.owed
        self.owed = 0
        self.available += credit
        return credit

    def measure(self, now: float, rtt: float) -> int:
        """Return the size that the window should have, twice its present one at most.

        Args:
            now: The present time.
            rtt: The round-trip time of the path, in seconds.
        """
        elapsed = now - self._epoch_start
        if elapsed < rtt or elapsed < _TURN_S:
            return self.size
        rate = self._epoch_bytes / elapsed
        self._epoch_start = now
        self._epoch_bytes = 0
        target = max(2 * rate * rtt, min(2 * rate * _TURN_S, _FAST_PATH_WINDOW_BYTES))
        return max(self.size, min(int(target), 2 * self.size))

    def grow(self, n: int) -> None:
        """Make the window `n` bytes larger; they leave with the next grant."""
        self.size += n
        self.owed += n


class ReceiveBudget:
    """The receive memory of one session: what its windows grew by, and its unread bytes.

    Unread bytes are reserved from the host's budget in steps beyond a first one that is free, so that quiet connections reserve nothing.

    Attributes:
        grown: What the windows of live streams grew by, together.
        unread: Bytes of all streams that were handed over and not consumed.
    """

    __slots__ = ("_allowance", "_growth_limit", "_host_growth", "_host_unread", "_unread_limit", "grown", "unread")

    def __init__(self, *, growth_limit: int, unread_limit: int, host_growth: WindowBudget | None, host_unread: WindowBudget | None) -> None:
        self.grown = 0
        self.unread = 0
        self._growth_limit = growth_limit
        self._unread_limit = unread_limit
        self._host_growth = host_growth
        self._host_unread = host_unread
        self._allowance = min(_QUANTUM_BYTES, unread_limit)

    def grow(self, n: int) -> bool:
        """Reserve `n` bytes for a larger window; False if they are not there."""
        if self.grown + n > self._growth_limit or (self._host_growth is not None and not self._host_growth.reserve(n)):
            return False
        self.grown += n
        return True

    def shrink(self, n: int) -> None:
        """A window that had grown by `n` bytes is gone."""
        self.grown -= n
        if self._host_growth is not None:
            self._host_growth.release(n)

    def add(self, n: int) -> bool:
        """Count `n` more unread bytes; False if that is over the budget (they are counted all the same)."""
        self.unread += n
        return self.unread <= self._allowance or self._extend()

    def remove(self, n: int) -> None:
        """`n` unread bytes were consumed or dropped."""
        self.unread -= n
        if self._allowance - self.unread >= 4 * _QUANTUM_BYTES:
            self._set_allowance(self.unread + 2 * _QUANTUM_BYTES)

    def within(self) -> bool:
        """Whether the unread bytes are within the budget."""
        return self.unread <= self._allowance or self._extend()

    def close(self) -> None:
        """Give everything back to the host: the session is over."""
        self.shrink(self.grown)
        self.unread = 0
        self._set_allowance(min(_QUANTUM_BYTES, self._unread_limit))

    def _extend(self) -> bool:
        steps = -(-(self.unread - self._allowance) // _QUANTUM_BYTES)
        allowance = min(self._allowance + steps * _QUANTUM_BYTES, self._unread_limit)
        if allowance < self.unread:
            return False
        if self._host_unread is not None and not self._host_unread.reserve(allowance - self._allowance):
            return False
        self._allowance = allowance
        return True

    def _set_allowance(self, allowance: int) -> None:
        if self._host_unread is not None:
            self._host_unread.release(self._allowance - allowance)
        self._allowance = allowance
