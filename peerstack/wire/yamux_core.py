"""What the halves of a yamux session share: its streams, its memory, its events, and how it ends."""

from __future__ import annotations

from typing import Final

from peerstack.errors import LimitExceeded, PeerstackError, ProtocolViolation
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_events import ConnectionFailed, StreamReset, YamuxEvent
from peerstack.wire.yamux_frames import (
    GO_AWAY,
    GO_AWAY_PROTOCOL_ERROR,
    HEADER_BYTES,
    PING,
    RST,
    STREAM_RESOURCE_LIMIT_EXCEEDED,
    SYN,
    WINDOW_UPDATE,
    encode_header,
)
from peerstack.wire.yamux_keepalive import Keepalive
from peerstack.wire.yamux_stream import StreamInput, StreamState, YamuxStream
from peerstack.wire.yamux_table import StreamTable
from peerstack.wire.yamux_window import ReceiveBudget
from peerstack.wire.yamux_writer import FrameWriter

__all__ = ["SessionCore"]

_HARD_CONTROL_FACTOR: Final = 4  # a read that was under way when reading was to stop still has to fit


class SessionCore:
    """The state of a session, and what both its commands and its frame reader do to it.

    Args:
        config: Bounds and periods.
        initiator: Whether our stream ids are odd.
        now: The present time.
        budget: The session's receive memory.

    Attributes:
        events: What was not taken yet.
        closed: The session is over.
        local_gone: We take no new streams.
        remote_gone: The remote takes no new streams.
    """

    __slots__ = (
        "_max_control",
        "budget",
        "closed",
        "config",
        "events",
        "initiator",
        "keepalive",
        "local_gone",
        "remote_gone",
        "table",
        "writer",
    )

    def __init__(self, config: YamuxConfig, *, initiator: bool, now: float, budget: ReceiveBudget) -> None:
        self.config = config
        self.initiator = initiator
        self.events: list[YamuxEvent] = []
        self.closed = False
        self.local_gone = False
        self.remote_gone = False
        self.budget = budget
        self.table = StreamTable(config, budget, initiator=initiator)
        self.writer = FrameWriter(max_frame_bytes=config.max_frame_bytes, low_water_bytes=config.max_send_buffer_bytes // 2)
        self.keepalive = Keepalive(config.keepalive_interval_s, config.keepalive_timeout_s, now)
        self._max_control = config.max_control_bytes // HEADER_BYTES

    @property
    def reading_paused(self) -> bool:
        """Whether the control queue is over its bound."""
        return len(self.writer.control) > self._max_control

    def ping(self, now: float) -> int:
        """Queue a ping and return its value."""
        value = self.keepalive.ping(now)
        self.control(PING, SYN, 0, value)
        return value

    def control(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        """Queue a frame that goes ahead of all data. A remote that makes us queue too many ends the session."""
        control = self.writer.control
        control.append(encode_header(kind, flags, stream_id, length))
        if len(control) > self._max_control * _HARD_CONTROL_FACTOR:
            error = LimitExceeded("max_control_bytes", "the remote asks for more answers than it reads")
            self.fail(error, GO_AWAY_PROTOCOL_ERROR)

    def reset(self, stream: YamuxStream, code: int) -> None:
        """Take a live stream off the wire at once, and tell the remote if it knows the stream."""
        announced = stream.state is not StreamState.IDLE
        stream.apply(StreamInput.SEND_RST)
        self.table.forget(stream, drop_unread=True)
        if announced:
            self.control(WINDOW_UPDATE, RST, stream.stream_id, code)

    def shed(self, stream: YamuxStream, code: int) -> None:
        """Reset a stream because of a limit of ours, and tell the application."""
        self.events.append(StreamReset(stream.stream_id, code, remote=False))
        if stream.over:
            self.table.drop_lingering(stream.stream_id)
        else:
            self.reset(stream, code)

    def shed_unread(self) -> None:
        """Reset the streams with the most unread bytes until the rest is within the budget."""
        while not self.budget.within():
            self.shed(self.table.fullest(), STREAM_RESOURCE_LIMIT_EXCEEDED)

    def violation(self, reason: str) -> bool:
        """The remote broke a rule: end the session. Always False."""
        self.fail(ProtocolViolation(f"yamux: {reason}"), GO_AWAY_PROTOCOL_ERROR)
        return False

    def fail(self, error: PeerstackError, code: int) -> None:
        """End the session, with a go-away as its last word."""
        if not self.closed:
            self.end(error)
            self.writer.control.append(encode_header(GO_AWAY, 0, 0, code))

    def end(self, error: PeerstackError) -> None:
        """End the session without a word."""
        if not self.closed:
            self.closed = True
            self.writer.drop()
            self.table.clear()
            self.events.append(ConnectionFailed(error))
