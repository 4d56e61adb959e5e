"""The streams of one yamux session: how many there are, what memory they hold, and which have been half-closed for too long."""

from __future__ import annotations

from peerstack.errors import LimitExceeded
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_frames import ACK, INITIAL_WINDOW_BYTES, MAX_U32, SYN
from peerstack.wire.yamux_stream import YamuxStream
from peerstack.wire.yamux_window import ReceiveBudget

__all__ = ["StreamTable"]


class StreamTable:
    """Live streams by id, and those that are over but hold bytes the application has not consumed.

    Args:
        config: Bounds and periods.
        budget: The session's receive memory.
        initiator: Whether our stream ids are odd.

    Attributes:
        live: Streams that are open at least one way.
        lingering: Streams closed both ways with unread bytes; their ids stay taken.
        untold: Ids of streams that ended since the session's events were last taken; they stay taken as well, so that within one batch of
            events an id means one stream.
    """

    __slots__ = ("_budget", "_config", "_finishing", "_inbound", "_next_id", "_outbound", "_unacked", "lingering", "live", "untold")

    def __init__(self, config: YamuxConfig, budget: ReceiveBudget, *, initiator: bool) -> None:
        self._config = config
        self._budget = budget
        self._next_id = 1 if initiator else 2
        self._inbound = 0
        self._outbound = 0
        self._unacked = 0
        self._finishing: dict[int, float] = {}  # stream id -> since when the remote is silent; about in that order
        self.live: dict[int, YamuxStream] = {}
        self.lingering: dict[int, YamuxStream] = {}
        self.untold: set[int] = set()

    def open(self, now: float) -> YamuxStream:
        """Add a stream of ours.

        Raises:
            LimitExceeded: Too many are open or unanswered.
        """
        if self._outbound >= self._config.max_streams_out:
            raise LimitExceeded("max_streams_out", f"{self._outbound} streams are open on this connection: close some")
        if self._unacked >= self._config.max_unacked_streams:
            raise LimitExceeded("max_unacked_streams", f"the remote has not answered {self._unacked} streams yet: try again later")
        stream_id = self._next_id
        if stream_id > MAX_U32:
            raise LimitExceeded("stream_ids", "this connection's stream ids are used up: reconnect")
        self._next_id = stream_id + 2
        self._outbound += 1
        self._unacked += 1
        stream = YamuxStream(stream_id, outbound=True, flags=SYN, now=now)
        self.live[stream_id] = stream
        return stream

    def accept(self, stream_id: int, now: float) -> YamuxStream | None:
        """Add a stream of the remote's, or return None if it has too many or the id is not free yet.

        Those that linger count as well: else there would be no end to streams with one unread byte each.
        """
        if self._inbound + len(self.lingering) >= self._config.max_streams_in or stream_id in self.untold:
            return None
        self._inbound += 1
        stream = YamuxStream(stream_id, outbound=False, flags=ACK, now=now)
        self.live[stream_id] = stream
        return stream

    def find(self, stream_id: int) -> YamuxStream | None:
        """The stream that holds an id."""
        return self.live.get(stream_id) or self.lingering.get(stream_id)

    def acknowledge(self, stream: YamuxStream) -> None:
        """The remote answered on a stream of ours."""
        stream.unacked = False
        self._unacked -= 1

    def finish(self, stream: YamuxStream, now: float) -> None:
        """We are done with our side: from now on the remote may not be silent on this stream for too long."""
        stream.finishing = True
        stream.heard_at = now
        self._finishing[stream.stream_id] = now

    def forget(self, stream: YamuxStream, *, drop_unread: bool = False) -> None:
        """Take a stream that is over off the wire."""
        stream_id = stream.stream_id
        del self.live[stream_id]
        self.untold.add(stream_id)
        self._finishing.pop(stream_id, None)
        if stream.outbound:
            self._outbound -= 1
        else:
            self._inbound -= 1
        if stream.unacked:
            self.acknowledge(stream)
        stream.drop_output()
        window = stream.window
        if window.size > INITIAL_WINDOW_BYTES:
            self._budget.shrink(window.size - INITIAL_WINDOW_BYTES)
        if window.unread and drop_unread:
            self._budget.remove(window.unread)
        elif window.unread:
            self.lingering[stream_id] = stream

    def consume_lingering(self, stream_id: int, n: int) -> None:
        """The application consumed `n` bytes of a stream that is over."""
        stream = self.lingering.get(stream_id)
        if stream is not None:
            stream.window.consume(n)
            self._budget.remove(n)
            if not stream.window.unread:
                del self.lingering[stream_id]

    def drop_lingering(self, stream_id: int) -> None:
        """The application wants no more of a stream that is over."""
        stream = self.lingering.pop(stream_id, None)
        if stream is not None:
            self._budget.remove(stream.window.unread)

    def fullest(self) -> YamuxStream:
        """The stream with the most unread bytes."""
        return max([*self.live.values(), *self.lingering.values()], key=lambda stream: stream.window.unread)

    def next_silent(self) -> float | None:
        """When to ask `silent` next; None if no stream is half-closed by us."""
        for since in self._finishing.values():
            return since + self._config.half_closed_timeout_s
        return None

    def silent(self, now: float) -> list[YamuxStream]:
        """Streams we finished on which the remote has been silent for too long."""
        timeout = self._config.half_closed_timeout_s
        found: list[YamuxStream] = []
        heard: list[YamuxStream] = []
        for stream_id, since in self._finishing.items():
            if now < since + timeout:
                break
            stream = self.live[stream_id]
            (found if now >= stream.heard_at + timeout else heard).append(stream)
        for stream in heard:
            del self._finishing[stream.stream_id]
            self._finishing[stream.stream_id] = stream.heard_at
        return found

    def clear(self) -> None:
        """The session is over."""
        self.live.clear()
        self.lingering.clear()
        self.untold.clear()
        self._finishing.clear()
        self._budget.close()
