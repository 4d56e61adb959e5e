"""One end of a link of the memory network: what was written arrives at the other end in order, later, and not faster than it is read.

A link behaves as TCP does: a full pipe makes the writer wait, a close still delivers what was written, an abort does not, writing to an end
that is gone comes back as a reset, and what is sent into a partition is held back and arrives when it has healed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from peerstack.addresses import Address
from peerstack.net.transport import LinkReceiver

__all__ = ["HIGH_WATER_BYTES", "LinkPath", "MemoryLink"]

HIGH_WATER_BYTES: Final = 256 << 10
"""Undelivered bytes of one direction above which the writer is told to pause."""
_LOW_WATER_BYTES: Final = HIGH_WATER_BYTES // 4


class _Sign(Enum):
    """What travels between the bytes."""

    EOF = auto()
    RESET = auto()


class LinkPath:
    """What lies between two nodes: the latency and rate of one link, and whether anything passes at this moment."""

    __slots__ = ("bytes_per_s", "latency_s", "open", "passes")

    def __init__(self, *, latency_s: float, bytes_per_s: float | None, passes: Callable[[], bool]) -> None:
        self.latency_s = latency_s
        self.bytes_per_s = bytes_per_s
        self.passes = passes
        self.open: dict[MemoryLink, None] = {}


class MemoryLink:
    """One end of a link; made in pairs by `pair`, silent until `start`."""

    def __init__(self, path: LinkPath, local: Address, remote: Address, forget: Callable[[MemoryLink], None]) -> None:
        self.local_address = local
        self.remote_address = remote
        self._path = path
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._other: MemoryLink = self  # set by pair()
        self._receiver: LinkReceiver | None = None
        self._inbox: deque[tuple[float, bytes | bytearray | _Sign]] = deque()
        self._inbox_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sender_free_at = 0.0
        self._writable = True
        self._paused = False
        self._eof_sent = False
        self._closing = False
        self._lost = False
