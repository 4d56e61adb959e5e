"""Two sides of a muxer, and bytes carried between them: what the muxer conformance suite is written with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from peerstack.errors import PeerstackError
from peerstack.wire.machine import Buffer
from peerstack.wire.yamux_events import ConnectionFailed, DataReceived, StreamFinished, StreamOpened, StreamReset, Writable

__all__ = ["Carrier", "Muxer", "Side", "Split"]

_ROUNDS = 100_000
_OUTPUT_BYTES = 64 << 10

Split = Callable[[bytes], list[bytes]]
"""Cuts what is carried into the pieces it arrives in."""


def _whole(data: bytes) -> list[bytes]:
    return [data]


class Muxer(Protocol):
    """One side of a multiplexed connection; events are those of `peerstack.wire.yamux_events`."""

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes that arrived."""

    def feed_eof(self, now: float) -> None:
        """Take the news that no more bytes will arrive."""

    def tick(self, now: float) -> None:
        """Do what is due."""

    def deadline(self) -> float | None:
        """When `tick` wants to be called next, or None."""

    def take_output(self, limit: int) -> Sequence[Buffer]:
        """Take at most about `limit` bytes to be sent."""

    def take_events(self) -> Sequence[object]:
        """Take what happened since the last call."""

    def open_stream(self, now: float) -> int:
        """Open a stream and return its id."""

    def send(self, stream_id: int, data: bytes) -> int:
        """Queue data; how many bytes were taken."""

    def finish(self, stream_id: int, now: float) -> None:
        """Close our side behind what is queued."""

    def credit(self, stream_id: int, n: int, now: float) -> None:
        """Tell that `n` received bytes were consumed."""

    def reset(self, stream_id: int, code: int = 0) -> None:
        """End a stream both ways at once."""


class Side:
    """One muxer and what it has told; received bytes are consumed at once while `consuming`."""

    def __init__(self, muxer: Muxer) -> None:
        self.muxer = muxer
        self.consuming = True
        self.now = 0.0
        self.events: list[object] = []
        self.received: dict[int, bytearray] = {}
        self.unread: dict[int, int] = {}
        self.opened: list[int] = []
        self.finished: list[int] = []
        self.resets: list[StreamReset] = []
        self.writable: list[int] = []
        self.failure: PeerstackError | None = None

    def collect(self) -> None:
        """Take and sort the events; none may follow `ConnectionFailed`."""
        for event in self.muxer.take_events():
            assert self.failure is None, f"{event} after ConnectionFailed"
            self.events.append(event)
            self._sort(event)

    def consume(self, stream_id: int) -> None:
        """Give credit for everything a stream has received."""
        self.muxer.credit(stream_id, self.unread.pop(stream_id), self.now)

    def _sort(self, event: object) -> None:
        if isinstance(event, StreamOpened):
            assert event.stream_id not in self.opened
            self.opened.append(event.stream_id)
        elif isinstance(event, DataReceived):
            assert event.stream_id not in self.finished, "data after the end of its stream"
            self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
            self.unread[event.stream_id] = self.unread.get(event.stream_id, 0) + len(event.data)
            if self.consuming:
                self.consume(event.stream_id)
        elif isinstance(event, StreamFinished):
            assert event.stream_id not in self.finished
            self.finished.append(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets.append(event)
        elif isinstance(event, Writable):
            self.writable.append(event.stream_id)
        elif isinstance(event, ConnectionFailed):
            self.failure = event.error


class Carrier:
    """Carries bytes between two sides until neither has any left."""

    def __init__(self, dialer: Muxer, listener: Muxer) -> None:
        self.dialer = Side(dialer)
        self.listener = Side(listener)
        self.sides = ((self.dialer, self.listener), (self.listener, self.dialer))

    def exchange(self, *, split: Split = _whole, limit: int = _OUTPUT_BYTES) -> int:
        """Carry everything there is to carry; how many bytes that were."""
        carried = 0
        for _ in range(_ROUNDS):
            moved = sum(self.carry(source, target, split=split, limit=limit) for source, target in self.sides)
            carried += moved
            if not moved:
                return carried
        raise AssertionError("the two sides never fall silent")

    def carry(self, source: Side, target: Side, *, split: Split = _whole, limit: int = _OUTPUT_BYTES) -> int:
        """Carry one batch of output from one side to the other."""
        data = b"".join(source.muxer.take_output(limit))
        for piece in split(data) if data else ():
            target.muxer.feed(piece, target.now)
            target.collect()
        source.collect()
        return len(data)

    def open(self, source: Side, target: Side) -> int:
        """Open a stream and let the other side know."""
        stream_id = source.muxer.open_stream(source.now)
        self.exchange()
        assert target.opened[-1] == stream_id
        return stream_id

    def send_all(self, source: Side, stream_id: int, data: bytes) -> None:
        """Send all of `data`, carrying whenever the stream takes no more."""
        for _ in range(_ROUNDS):
            data = data[source.muxer.send(stream_id, data) :]
            self.exchange()
            if not data:
                return
        raise AssertionError("the stream never takes the rest")

    def fill(self, source: Side, stream_id: int, *, bound: int) -> int:
        """Send until the stream takes no more, which must be within `bound` bytes; how many it took."""
        taken, moved = 0, True
        while moved:
            taken_now = source.muxer.send(stream_id, bytes(64 << 10))
            taken += taken_now
            assert taken <= bound, f"the stream took {taken} bytes that nobody consumes"
            moved = bool(taken_now) or bool(self.exchange())
        source.writable.clear()
        return taken
