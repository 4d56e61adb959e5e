"""The receiving half of a yamux session: bytes to frames to stream events.

A frame may span pieces and a piece may hold many frames. Payload is handed over as it comes: the only state between pieces is a partial
header, or a stream and how much of a frame's payload is left.
"""

from __future__ import annotations

from peerstack.wire.machine import Buffer
from peerstack.wire.yamux_core import SessionCore
from peerstack.wire.yamux_events import DataReceived, GoneAway, StreamFinished, StreamOpened, StreamReset
from peerstack.wire.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    HEADER_BYTES,
    MAX_U32,
    PING,
    RST,
    STREAM_RESOURCE_LIMIT_EXCEEDED,
    SYN,
    VERSION,
    WINDOW_UPDATE,
)
from peerstack.wire.yamux_stream import StreamInput, StreamState, YamuxStream

__all__ = ["FrameReader"]

_unpack_from = HEADER.unpack_from


class FrameReader:
    """Takes frames on behalf of a session.

    Args:
        core: The session.
    """

    __slots__ = (
        "_body_flags",
        "_body_left",
        "_body_stream",
        "_budget",
        "_core",
        "_head",
        "_keepalive",
        "_remote_parity",
        "_streams",
        "_table",
    )

    def __init__(self, core: SessionCore) -> None:
        self._core = core
        self._table = core.table
        self._streams = core.table.live
        self._budget = core.budget
        self._keepalive = core.keepalive
        self._remote_parity = 0 if core.initiator else 1
        self._head = b""  # of a header that has not arrived whole
        self._body_left = 0
        self._body_stream: YamuxStream | None = None  # None: the body is discarded
        self._body_flags = 0

    @property
    def inside_frame(self) -> bool:
        """Whether a frame has not arrived whole."""
        return bool(self._head or self._body_left)

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes that arrived. `bytes` may be kept, anything else is copied."""
        core = self._core
        if not isinstance(data, bytes):
            data = bytes(data)
        if core.closed or not data:
            return
        self._keepalive.heard_at = now
        end = len(data)
        at = 0
        if self._body_left:
            at = self._receive_body(data, 0, now)
        elif self._head:
            at = HEADER_BYTES - len(self._head)
            head = self._head + data[:at]
            if len(head) < HEADER_BYTES:
                self._head = head
                return
            self._head = b""
            at = self._receive_frame(head, 0, data, at, now)
        streams = self._streams
        while end - at >= HEADER_BYTES and not core.closed:
            version, kind, flags, stream_id, length = _unpack_from(data, at)
            stop = at + HEADER_BYTES + length
            if kind == DATA and not flags and not version and length and stop <= end:  # by far the most frequent frame
                stream = streams.get(stream_id)
                if stream is not None and stream.remote_open and stream.window.expect(length):
                    self._deliver(stream, data[at + HEADER_BYTES : stop], length, now)
                    at = stop
                    continue
            at = self._receive_frame(data, at, data, at + HEADER_BYTES, now)
        if at < end and not core.closed:
            self._head = data[at:]

    def _receive_frame(self, source: bytes, offset: int, data: bytes, at: int, now: float) -> int:
        """Take one frame, its header in `source` and what arrived of its payload in `data`; return where the next one starts."""
        core = self._core
        version, kind, flags, stream_id, length = _unpack_from(source, offset)
        if version != VERSION:
            core.violation(f"version {version} is not yamux 0")
        elif kind <= WINDOW_UPDATE:  # data or window update
            at = self._receive_stream_frame(kind, flags, stream_id, length, data, at, now)
        elif kind == PING:
            if flags & ACK:
                self._keepalive.pong(length, now)
            else:
                core.control(PING, ACK, 0, length)
        elif kind == GO_AWAY:
            self._receive_go_away(length)
        else:
            core.violation(f"frame type {kind} is unknown")
        return at

    def _receive_stream_frame(self, kind: int, flags: int, stream_id: int, length: int, data: bytes, at: int, now: float) -> int:
        if flags & SYN and not self._receive_syn(stream_id, now):
            return at
        stream = self._streams.get(stream_id)
        if stream is not None:
            if flags & ACK and not self._move(stream, StreamInput.RECEIVE_ACK):
                return at
            if stream.unacked:
                self._table.acknowledge(stream)  # any frame will do: some implementations never set the flag
            stream.heard_at = now
        if kind == DATA:
            return self._receive_data(stream, flags, length, data, at, now)
        if stream is not None and (flags & RST or self._receive_update(stream, length)):
            self._receive_end(stream, flags, length)
        return at

    def _receive_syn(self, stream_id: int, now: float) -> bool:
        """Accept or refuse a new stream; False if the SYN was a violation."""
        if stream_id == 0 or stream_id & 1 != self._remote_parity:
            return self._core.violation(f"the remote may not open stream {stream_id}: that number is not its own")
        stream = self._table.find(stream_id)
        if stream is None:
            stream = None if self._core.local_gone else self._table.accept(stream_id, now)
            if stream is None:
                self._core.control(WINDOW_UPDATE, RST, stream_id, STREAM_RESOURCE_LIMIT_EXCEEDED)
                return True
        if not self._move(stream, StreamInput.RECEIVE_SYN):
            return False
        self._core.writer.schedule(stream)
        self._core.events.append(StreamOpened(stream_id))
        return True

    def _receive_update(self, stream: YamuxStream, delta: int) -> bool:
        """Take credit; False if that was a violation."""
        if not self._move(stream, StreamInput.RECEIVE_WINDOW_UPDATE):
            return False
        window = stream.send_window + delta
        if window > MAX_U32:
            return self._core.violation(f"the window of stream {stream.stream_id} overflows")
        stream.send_window = window
        if stream.queued and window:
            self._core.writer.schedule(stream)
        return True

    def _receive_data(self, stream: YamuxStream | None, flags: int, length: int, data: bytes, at: int, now: float) -> int:
        if length > self._core.config.max_window_bytes:
            self._core.violation(f"a data frame of {length} bytes is larger than any window")
            return at
        if stream is not None and length:
            if not self._move(stream, StreamInput.RECEIVE_DATA):
                return at
            if not stream.window.expect(length):
                self._core.violation(f"{length} bytes on stream {stream.stream_id} are over its window of {stream.window.available}")
                return at
        self._body_stream = stream
        self._body_left = length
        self._body_flags = flags & (FIN | RST)
        return self._receive_body(data, at, now)

    def _receive_body(self, data: bytes, at: int, now: float) -> int:
        """Take what arrived of a data frame's payload; return where the next frame starts."""
        n = min(self._body_left, len(data) - at)
        self._body_left -= n
        stream = self._body_stream
        if stream is not None and n and not stream.over:
            self._deliver(stream, data[at : at + n], n, now)
        if not self._body_left:
            self._body_stream = None
            if stream is not None and self._body_flags and not stream.over and not self._core.closed:
                self._receive_end(stream, self._body_flags, 0)
        return at + n

    def _deliver(self, stream: YamuxStream, data: bytes, n: int, now: float) -> None:
        stream.window.deliver(n)
        if stream.unacked:
            self._table.acknowledge(stream)
        if stream.finishing:
            stream.heard_at = now
        self._core.events.append(DataReceived(stream.stream_id, data))
        if not self._budget.add(n):
            self._core.shed_unread()

    def _receive_end(self, stream: YamuxStream, flags: int, error_code: int) -> None:
        """Take FIN and RST, which count behind a frame's payload or credit."""
        if flags & FIN:
            if not self._move(stream, StreamInput.RECEIVE_FIN):
                return
            self._core.events.append(StreamFinished(stream.stream_id))
            if stream.over:
                self._table.forget(stream)
        if flags & RST and not stream.over and self._move(stream, StreamInput.RECEIVE_RST):
            self._table.forget(stream, drop_unread=True)
            self._core.events.append(StreamReset(stream.stream_id, error_code, remote=True))

    def _receive_go_away(self, code: int) -> None:
        self._core.remote_gone = True
        self._core.events.append(GoneAway(code))
        for stream in [stream for stream in self._streams.values() if stream.state is StreamState.IDLE]:
            stream.apply(StreamInput.SEND_RST)
            self._table.forget(stream, drop_unread=True)
            self._core.events.append(StreamReset(stream.stream_id, 0, remote=True))

    def _move(self, stream: YamuxStream, what: StreamInput) -> bool:
        """Apply an input that the remote caused; False if it was a violation."""
        state = stream.state
        return stream.apply(what) or self._core.violation(f"stream {stream.stream_id}: {what.name} in state {state.name}")
