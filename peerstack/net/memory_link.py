"""One end of a link of the memory network: what is written arrives at the other end in order, later, and no faster than it is read.

A link behaves as TCP does: a full pipe makes the writer pause, a close still delivers what was written, an abort does not, writing to an
end that is gone comes back as a reset, and what is sent into a partition is held back until it has healed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from peerstack.addresses import Address
from peerstack.net.transport import LinkReceiver

__all__ = ["HIGH_WATER_BYTES", "Machine", "MemoryLink", "Node", "Route"]

HIGH_WATER_BYTES: Final = 256 << 10
"""Undelivered bytes of one direction above which the writer is told to pause."""
_LOW_WATER_BYTES: Final = HIGH_WATER_BYTES // 4


class _Sign(Enum):
    """What travels between the bytes."""

    EOF = auto()
    RESET = auto()


@dataclass(eq=False, slots=True)
class Machine:
    """One machine of the network, whatever crashes on it and starts again."""

    name: str
    group: int = 0
    """Machines of different groups do not reach each other."""
    silent: bool = False
    """Whether nothing answers in its place (a dead machine), where a dead process is answered for by resets."""
    slow_s: float = 0.0
    """How long it takes before what it sends leaves."""
    unheard_by: set[str] = field(default_factory=set)
    """Machines that nothing gets to of what it sends, by name."""

    def reaches(self, other: Machine) -> bool:
        """Whether what it sends another one gets through at this moment."""
        return self.group == other.group and not self.silent and not other.silent and other.name not in self.unheard_by


@dataclass(eq=False, slots=True)
class Node:
    """What runs on a machine, from its start to its crash."""

    machine: Machine
    alive: bool = True

    @property
    def name(self) -> str:
        """That of its machine."""
        return self.machine.name


@dataclass(eq=False, slots=True)
class Route:
    """What lies between the two ends of one link."""

    dialer: Node
    listener: Node
    there_s: float
    """What the way from the dialer to the listener takes."""
    back_s: float
    bytes_per_s: float | None


_Item = bytes | bytearray | memoryview | _Sign
_Forget = Callable[["MemoryLink"], None]


class _Pipe:
    """One direction: what was written and not delivered yet, with the times of arrival."""

    __slots__ = ("arrived", "drained", "full", "items", "latency_s", "rate", "sender", "sent_until", "size")

    def __init__(self, sender: Machine, latency_s: float, rate: float | None) -> None:
        self.sender = sender
        self.latency_s = latency_s
        self.rate = rate
        self.items: deque[tuple[float, _Item]] = deque()
        self.size = 0  # bytes
        self.full = False
        self.sent_until = 0.0  # when the last byte queued so far leaves
        self.arrived: Callable[[], None] = _nothing
        self.drained: Callable[[], None] = _nothing

    def put(self, item: _Item, now: float) -> None:
        size = 0 if isinstance(item, _Sign) else len(item)
        if self.rate is not None:
            now = self.sent_until = max(now, self.sent_until) + size / self.rate
        self.items.append((now + self.sender.slow_s + self.latency_s, item))
        self.size += size
        self.arrived()

    def take(self) -> _Item:
        _, item = self.items.popleft()
        if not isinstance(item, _Sign):
            self.size -= len(item)
        return item

    def clear(self) -> None:
        self.items.clear()
        self.size = 0
        self.sent_until = 0.0


class MemoryLink:
    """One end of a link (see `peerstack.net.transport.Link`); made in pairs, silent until `start`."""

    def __init__(
        self, route: Route, *, dialer: bool, addresses: tuple[Address, Address], pipes: tuple[_Pipe, _Pipe], forget: _Forget
    ) -> None:
        """Use `pair` instead. Addresses: ours and theirs; pipes: from and to them; `forget` is called when this end is lost."""
        self.node = route.dialer if dialer else route.listener
        self.dialer = dialer
        self.local_address, self.remote_address = addresses
        self.other = self
        self._inbox, self._outbox = pipes
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._receiver: LinkReceiver | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._eof_sent = False
        self._closing = False
        self._lost = False
        self._inbox.arrived = self.wake
        self._outbox.drained = self._drained

    @classmethod
    def pair(cls, route: Route, dialer: Address, listener: Address, forget: _Forget) -> tuple[MemoryLink, MemoryLink]:
        """Make the two ends of a link, the dialer's first."""
        one = _Pipe(route.listener.machine, route.back_s, route.bytes_per_s)
        two = _Pipe(route.dialer.machine, route.there_s, route.bytes_per_s)
        near = cls(route, dialer=True, addresses=(dialer, listener), pipes=(one, two), forget=forget)
        far = cls(route, dialer=False, addresses=(listener, dialer), pipes=(two, one), forget=forget)
        near.other, far.other = far, near
        return near, far

    @property
    def lost(self) -> bool:
        """Whether this end is over."""
        return self._lost

    def start(self, receiver: LinkReceiver) -> None:
        """Announce the link to its receiver, then deliver."""
        self._receiver = receiver
        receiver.link_made(self)
        self.wake()

    # what the pump calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes; they arrive after the latency of the route. Dropped when this end is closed."""
        if self._closing or self._lost or not data:
            return
        if self._eof_sent:
            raise RuntimeError("write after write_eof: this direction is closed")
        self._outbox.put(data, self._loop.time())
        if not self._outbox.full and self._outbox.size > HIGH_WATER_BYTES:
            self._outbox.full = True
            if self._receiver is not None:
                self._receiver.link_writable(False)

    def write_eof(self) -> None:
        """Close our direction after what is queued."""
        if not self._eof_sent and not self._lost:
            self._eof_sent = True
            self._outbox.put(_Sign.EOF, self._loop.time())

    def close(self) -> None:
        """Close both directions; the link is lost once what was written has left, which is when the pipe is not full."""
        if self._closing or self._lost:
            return
        self.write_eof()
        self._closing = True
        if not self._outbox.full:
            self._lose(None)
        self.wake()

    def abort(self) -> None:
        """Close at once; what is queued is lost and the other end is reset."""
        self.fail(None)

    def pause_reading(self) -> None:
        """Hold deliveries back."""
        self._paused = True

    def resume_reading(self) -> None:
        """Deliver again, in a later turn of the loop."""
        self._paused = False
        self.wake()

    # what the network calls

    def fail(self, error: Exception | None) -> None:
        """Lose this end with `error`, as `abort` does."""
        if self._lost:
            return
        self._inbox.clear()
        self._outbox.clear()
        self._outbox.put(_Sign.RESET, self._loop.time())
        self._lose(error)

    def wake(self) -> None:
        """Look for what can be delivered by now."""
        if self._timer is None and self._inbox.items:
            self._timer = self._loop.call_at(self._inbox.items[0][0], self._deliver)

    # the way of a byte

    def _deliver(self) -> None:
        self._timer = None
        items = self._inbox.items
        while items and self.other.node.machine.reaches(self.node.machine) and not self._is_held(items[0][1]):
            if items[0][0] > self._loop.time():
                self.wake()
                return
            item = self._inbox.take()
            if isinstance(item, _Sign):
                self._take_sign(item)
            else:
                self._take_data(item)

    def _is_held(self, item: _Item) -> bool:
        if self._closing or self._lost or item is _Sign.RESET:
            return False
        return self._paused or self._receiver is None

    def _take_sign(self, sign: _Sign) -> None:
        if sign is _Sign.RESET:
            self._inbox.clear()
            self._lose(ConnectionResetError("the other end reset the link"))
        elif self._receiver is not None and not self._closing and not self._lost:
            self._receiver.link_eof()

    def _take_data(self, data: bytes | bytearray | memoryview) -> None:
        if self._receiver is None or self._closing or self._lost:  # nobody reads it any more
            self._outbox.put(_Sign.RESET, self._loop.time())
            return
        self._receiver.link_received(memoryview(data) if isinstance(data, bytearray) else data)
        if self._inbox.full and self._inbox.size <= _LOW_WATER_BYTES:
            self._loop.call_soon(self._inbox.drained)

    def _drained(self) -> None:
        if self._lost or not self._outbox.full or self._outbox.size > _LOW_WATER_BYTES:
            return
        self._outbox.full = False
        if self._closing:
            self._lose(None)
        elif self._receiver is not None:
            self._receiver.link_writable(True)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._forget(self)
        if self._receiver is not None:
            self._loop.call_soon(self._receiver.link_lost, error)


def _nothing() -> None:
    """Stand in for a callback until the pipe's ends are made."""
