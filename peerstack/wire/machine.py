"""The shape that every sans-IO machine in `peerstack.wire` has.

A machine has a few verbs and no ``await``. It never raises on what a peer sent: a violation becomes closing bytes plus a
`ConnectionFailed` event. It raises only on our own misuse. Time is an argument (seconds of any monotonic clock).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from peerstack.errors import PeerstackError

__all__ = ["Buffer", "ConnectionFailed", "Machine"]

Buffer = bytes | memoryview
"""Bytes handed over, never changed afterwards."""


@dataclass(slots=True)
class ConnectionFailed:
    """The machine is over: the peer broke a rule, or said goodbye for a reason."""

    error: PeerstackError
    """What happened, ready to be raised to whoever waits."""


EventT = TypeVar("EventT")


class Machine(Protocol, Generic[EventT]):
    """Bytes and time in, bytes and events out."""

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes that arrived. `bytes` may be kept; a memoryview is valid during the call only."""

    def feed_eof(self, now: float) -> None:
        """Take the news that no more bytes will arrive."""

    def tick(self, now: float) -> None:
        """Do what is due at `now` (see `deadline`)."""

    def deadline(self) -> float | None:
        """When `tick` wants to be called next, or None."""

    def take_output(self, limit: int) -> list[Buffer]:
        """Take at most about `limit` bytes to be sent, in order."""

    def take_events(self) -> list[EventT]:
        """Take what happened since the last call, in order."""
