"""The yamux session: streams over one connection, `/yamux/1.0.0`, without I/O.

Feed it what arrived, take events and output; see `peerstack.wire.machine`. Commands on a stream that is gone do nothing, except `send`,
which raises. After a `StreamFinished` and our own `finish` a stream is forgotten, but bytes the application has not consumed still count
until `credit` has named them all or `reset` drops them.

Source: https://github.com/hashicorp/yamux/blob/master/spec.md and https://github.com/libp2p/specs/tree/master/yamux.
"""

from __future__ import annotations

from typing import Final

from peerstack.errors import ConnectionLost, LimitExceeded, PeerstackError, ProtocolViolation, StreamClosed
from peerstack.wire.machine import Buffer
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_events import (
    ConnectionFailed,
    DataReceived,
    GoneAway,
    StreamFinished,
    StreamOpened,
    StreamReset,
    Writable,
    YamuxEvent,
)
from peerstack.wire.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    GO_AWAY_INTERNAL_ERROR,
    GO_AWAY_NORMAL,
    GO_AWAY_PROTOCOL_ERROR,
    HEADER,
    HEADER_BYTES,
    MAX_U32,
    PING,
    PROTOCOL_ID,
    RST,
    STREAM_GARBAGE_COLLECTED,
    STREAM_RESOURCE_LIMIT_EXCEEDED,
    SYN,
    VERSION,
    WINDOW_UPDATE,
    encode_header,
)
from peerstack.wire.yamux_keepalive import Keepalive
from peerstack.wire.yamux_stream import StreamInput, StreamState, YamuxStream
from peerstack.wire.yamux_table import StreamTable
from peerstack.wire.yamux_window import ReceiveBudget, WindowBudget
from peerstack.wire.yamux_writer import FrameWriter

__all__ = ["PROTOCOL_ID", "WindowBudget", "YamuxConfig", "YamuxSession"]

_HARD_CONTROL_FACTOR: Final = 4  # a read that was under way when reading was to stop still has to fit
_unpack_from = HEADER.unpack_from


class YamuxSession:
    """One side of a yamux connection.

    Args:
        config: Bounds and periods.
        initiator: Whether we dialled: the dialer's stream ids are odd, the listener's even.
        now: The present time, in seconds of any monotonic clock.
        growth_budget: What the windows of all sessions of the host may grow by, together.
        unread_budget: What all sessions of the host may hold unread, together.
    """

    def __init__(
        self,
        config: YamuxConfig,
        *,
        initiator: bool,
        now: float,
        growth_budget: WindowBudget | None = None,
        unread_budget: WindowBudget | None = None,
    ) -> None:
        self._config = config
        self._remote_parity = 0 if initiator else 1
        self._head = b""  # of a header that has not arrived whole
        self._body_left = 0
        self._body_stream: YamuxStream | None = None  # None: the body is discarded
        self._body_flags = 0
        self._events: list[YamuxEvent] = []
        self._max_frames_control = config.max_control_bytes // HEADER_BYTES
        self._closed = False
        self._local_gone = False
        self._remote_gone = False
        self._budget = ReceiveBudget(
            growth_limit=config.connection_window_budget_bytes,
            unread_limit=config.max_unread_bytes,
            host_growth=growth_budget,
            host_unread=unread_budget,
        )
        self._table = StreamTable(config, self._budget, initiator=initiator)
        self._streams = self._table.live
        self._writer = FrameWriter(max_frame_bytes=config.max_frame_bytes, low_water_bytes=config.max_send_buffer_bytes // 2)
        self._keepalive = Keepalive(config.keepalive_interval_s, config.keepalive_timeout_s, now)
        self.ping(now)

    # What it is like now.

    @property
    def rtt(self) -> float | None:
        """The last measured round-trip time in seconds; None before the first pong."""
        return self._keepalive.rtt

    @property
    def closed(self) -> bool:
        """Whether the session is over (`ConnectionFailed` was told); its last output may still be taken."""
        return self._closed

    @property
    def drained(self) -> bool:
        """Whether one side has gone away and no stream is left: time to close the connection."""
        return (self._local_gone or self._remote_gone) and not self._streams

    @property
    def all_sent(self) -> bool:
        """Whether nothing that was queued is left to be taken, frames that wait for the remote's window included."""
        return not self.has_output() and not any(stream.queued for stream in self._streams.values())

    @property
    def reading_paused(self) -> bool:
        """Whether no more should be fed until output was taken: the remote makes us answer and does not read the answers."""
        return len(self._writer.control) > self._max_frames_control

    @property
    def stream_count(self) -> int:
        """Streams the remote and we have open."""
        return len(self._streams)

    # The verbs of a machine.

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes that arrived. `bytes` may be kept, anything else is copied."""
        if not isinstance(data, bytes):
            data = bytes(data)
        if self._closed or not data:
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
        while end - at >= HEADER_BYTES and not self._closed:
            version, kind, flags, stream_id, length = _unpack_from(data, at)
            stop = at + HEADER_BYTES + length
            if kind == DATA and not flags and not version and length and stop <= end:  # by far the most frequent frame
                stream = streams.get(stream_id)
                if stream is not None and stream.remote_open and stream.window.expect(length):
                    self._deliver(stream, data[at + HEADER_BYTES : stop], length, now)
                    at = stop
                    continue
            at = self._receive_frame(data, at, data, at + HEADER_BYTES, now)
        if at < end and not self._closed:
            self._head = data[at:]

    def feed_eof(self, now: float) -> None:
        """Take the news that no more bytes will arrive."""
        inside = " in the middle of a frame" if self._head or self._body_left else ""
        self.abort(ConnectionLost(f"the remote closed the connection{inside}"))

    def abort(self, error: PeerstackError) -> None:
        """End the session without a word to the remote: the connection below is gone."""
        if not self._closed:
            self._writer.drop()
            self._end(error)

    def tick(self, now: float) -> None:
        """Do what is due at `now`: keep-alive, and streams that stay half-closed."""
        if self._closed:
            return
        if self._keepalive.expired(now):
            self._fail(ConnectionLost(f"no answer to a ping within {self._config.keepalive_timeout_s:g} s"), GO_AWAY_INTERNAL_ERROR)
            return
        if now >= self._keepalive.due and self._keepalive.rearm(now):
            self.ping(now)
        for stream in self._table.silent(now):
            if not self._closed:
                self._shed(stream, STREAM_GARBAGE_COLLECTED)

    def deadline(self) -> float | None:
        """When `tick` wants to be called next; None once the session is over."""
        if self._closed:
            return None
        silent = self._table.next_silent()
        return self._keepalive.due if silent is None else min(self._keepalive.due, silent)

    def has_output(self) -> bool:
        """Whether there is output to take; now and then True for a stream that has ended since."""
        return self._writer.has_output()

    def take_output(self, limit: int) -> list[Buffer]:
        """Cut frames of about `limit` bytes in all, in order. Take events afterwards: it may make streams writable."""
        writer = self._writer
        output = writer.take(limit)
        if writer.finished:
            for stream in writer.finished:
                if stream.over:
                    self._forget(stream)
            writer.finished.clear()
        if writer.writable:
            self._events += [Writable(stream.stream_id) for stream in writer.writable]
            writer.writable.clear()
        return output

    def take_events(self) -> list[YamuxEvent]:
        """Take what happened since the last call, in order."""
        events = self._events
        self._events = []
        return events

    # Commands.

    def open_stream(self, now: float) -> int:
        """Open a stream; SYN rides on its first frame.

        Returns:
            The stream's id.

        Raises:
            ConnectionLost: The session is over, or one side has gone away.
            LimitExceeded: Too many streams are open or unanswered.
        """
        if self._closed or self._local_gone or self._remote_gone:
            raise ConnectionLost("the connection takes no new streams: open another one", remote=self._remote_gone)
        stream = self._table.open(now)
        self._writer.schedule(stream)
        return stream.stream_id

    def send(self, stream_id: int, data: Buffer, *, whole: bool = False) -> int:
        """Queue data on a stream.

        Args:
            stream_id: The stream.
            data: Kept, not copied.
            whole: Take all of it, over the buffer's bound if need be: for one message at a time, when `has_room`.

        Returns:
            How many bytes were taken; if fewer than given, a `Writable` event follows.

        Raises:
            ConnectionLost: The session is over.
            StreamClosed: The stream was finished, or is gone.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.finishing:
            if self._closed:
                raise ConnectionLost
            raise StreamClosed(f"stream {stream_id} is not open for writing")
        n = len(data)
        space = self._config.max_send_buffer_bytes - stream.queued
        if n > space and not whole:
            stream.blocked = True
            n = space
            data = memoryview(data)[:n]
        if n:
            stream.queue.append(data)
            stream.queued += n
            if stream.send_window:
                self._writer.schedule(stream)
        return n

    def has_room(self, stream_id: int) -> bool:
        """Whether `send` takes anything on a stream now (on one that is gone it raises); if not, a `Writable` event follows."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.queued < self._config.max_send_buffer_bytes:
            return True
        stream.blocked = True
        return False

    def finish(self, stream_id: int, now: float) -> None:
        """Close our side of a stream behind the bytes queued so far; data still comes in."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.finishing:
            return
        self._table.finish(stream, now)
        if not stream.queued or stream.send_window:
            self._writer.schedule(stream)

    def credit(self, stream_id: int, n: int, now: float) -> None:
        """Tell that the application consumed `n` bytes of a stream: the remote may send as many again.

        Raises:
            ValueError: That is more than was handed over.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            self._table.consume_lingering(stream_id, n)
            return
        window = stream.window
        half = window.consume(n)
        self._budget.remove(n)
        if half and stream.remote_open and not stream.update_due:
            self._grow(stream, now)
            self._writer.schedule_update(stream)

    def reset(self, stream_id: int, code: int = 0) -> None:
        """End a stream both ways at once; what was queued or not consumed is dropped. No event follows.

        Args:
            stream_id: The stream.
            code: A libp2p stream error code for the remote.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            self._table.drop_lingering(stream_id)
            return
        announced = stream.state is not StreamState.IDLE
        stream.apply(StreamInput.SEND_RST)
        self._forget(stream, drop_unread=True)
        if announced:
            self._control(WINDOW_UPDATE, RST, stream_id, code)

    def go_away(self, code: int = GO_AWAY_NORMAL) -> None:
        """Take no new streams from now on; see `drained`."""
        if not (self._closed or self._local_gone):
            self._local_gone = True
            self._control(GO_AWAY, 0, 0, code)

    def ping(self, now: float) -> int:
        """Send a ping, which measures `rtt`, and return its value.

        Raises:
            ConnectionLost: The session is over.
            LimitExceeded: Too many are unanswered.
        """
        if self._closed:
            raise ConnectionLost
        value = self._keepalive.ping(now)
        self._control(PING, SYN, 0, value)
        return value

    # Frames in.

    def _receive_frame(self, source: bytes, offset: int, data: bytes, at: int, now: float) -> int:
        """Take one frame, its header in `source` and what arrived of its payload in `data`; return where the next one starts."""
        version, kind, flags, stream_id, length = _unpack_from(source, offset)
        if version != VERSION:
            self._violation(f"version {version} is not yamux 0")
        elif kind <= WINDOW_UPDATE:  # data or window update
            at = self._receive_stream_frame(kind, flags, stream_id, length, data, at, now)
        elif kind == PING:
            if flags & ACK:
                self._keepalive.pong(length, now)
            else:
                self._control(PING, ACK, 0, length)
        elif kind == GO_AWAY:
            self._receive_go_away(length)
        else:
            self._violation(f"frame type {kind} is unknown")
        return len(data) if self._closed else at

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
            return self._violation(f"the remote may not open stream {stream_id}: that number is not its own")
        stream = self._table.find(stream_id)
        if stream is None:
            stream = None if self._local_gone else self._table.accept(stream_id, now)
            if stream is None:
                self._control(WINDOW_UPDATE, RST, stream_id, STREAM_RESOURCE_LIMIT_EXCEEDED)
                return True
        if not self._move(stream, StreamInput.RECEIVE_SYN):
            return False
        self._writer.schedule(stream)
        self._events.append(StreamOpened(stream_id))
        return True

    def _receive_update(self, stream: YamuxStream, delta: int) -> bool:
        """Take credit; False if that was a violation."""
        if not self._move(stream, StreamInput.RECEIVE_WINDOW_UPDATE):
            return False
        window = stream.send_window + delta
        if window > MAX_U32:
            return self._violation(f"the window of stream {stream.stream_id} overflows")
        stream.send_window = window
        if stream.queued and window:
            self._writer.schedule(stream)
        return True

    def _receive_data(self, stream: YamuxStream | None, flags: int, length: int, data: bytes, at: int, now: float) -> int:
        if length > self._config.max_window_bytes:
            self._violation(f"a data frame of {length} bytes is larger than any window")
            return at
        if stream is not None and length:
            if not self._move(stream, StreamInput.RECEIVE_DATA):
                return at
            if not stream.window.expect(length):
                self._violation(f"{length} bytes on stream {stream.stream_id} are over its window of {stream.window.available}")
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
        if stream is not None and n:
            self._deliver(stream, data[at : at + n], n, now)
            stream = self._body_stream  # reset, if that was over our budget
        if not self._body_left:
            self._body_stream = None
            if stream is not None and self._body_flags:
                self._receive_end(stream, self._body_flags, 0)
        return at + n

    def _deliver(self, stream: YamuxStream, data: bytes, n: int, now: float) -> None:
        stream.window.deliver(n)
        if stream.unacked:
            self._table.acknowledge(stream)
        if stream.finishing:
            stream.heard_at = now
        self._events.append(DataReceived(stream.stream_id, data))
        if not self._budget.add(n):
            self._shed_unread()

    def _receive_end(self, stream: YamuxStream, flags: int, error_code: int) -> None:
        """Take FIN and RST, which count behind a frame's payload or credit."""
        if flags & FIN:
            if not self._move(stream, StreamInput.RECEIVE_FIN):
                return
            self._events.append(StreamFinished(stream.stream_id))
            if stream.over:
                self._forget(stream)
        if flags & RST and not stream.over and self._move(stream, StreamInput.RECEIVE_RST):
            self._forget(stream, drop_unread=True)
            self._events.append(StreamReset(stream.stream_id, error_code, remote=True))

    def _receive_go_away(self, code: int) -> None:
        self._remote_gone = True
        self._events.append(GoneAway(code))
        for stream in [stream for stream in self._streams.values() if stream.state is StreamState.IDLE]:
            stream.apply(StreamInput.SEND_RST)
            self._forget(stream, drop_unread=True)
            self._events.append(StreamReset(stream.stream_id, 0, remote=True))

    # Streams and their memory.

    def _move(self, stream: YamuxStream, what: StreamInput) -> bool:
        """Apply an input that the remote caused; False if it was a violation."""
        state = stream.state
        return stream.apply(what) or self._violation(f"stream {stream.stream_id}: {what.name} in state {state.name}")

    def _forget(self, stream: YamuxStream, *, drop_unread: bool = False) -> None:
        """Take a closed or reset stream off the wire."""
        if self._body_stream is stream:
            self._body_stream = None
        self._table.forget(stream, drop_unread=drop_unread)

    def _grow(self, stream: YamuxStream, now: float) -> None:
        """Let a window follow the path's bandwidth-delay product, once per fresh round-trip time."""
        keepalive = self._keepalive
        window = stream.window
        if keepalive.path_rtt is None or keepalive.awaiting_pong or window.size >= self._config.max_window_bytes:
            return
        more = min(window.measure(now, keepalive.path_rtt), self._config.max_window_bytes) - window.size
        if more > 0 and self._budget.grow(more):
            window.grow(more)
            self.ping(now)

    def _shed(self, stream: YamuxStream, code: int) -> None:
        """Reset a stream because of a limit of ours, and tell."""
        self._events.append(StreamReset(stream.stream_id, code, remote=False))
        self.reset(stream.stream_id, code)

    def _shed_unread(self) -> None:
        """Reset the streams with the most unread bytes until the rest is within the budget."""
        while not self._budget.within():
            self._shed(self._table.fullest(), STREAM_RESOURCE_LIMIT_EXCEEDED)

    # The end.

    def _control(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        control = self._writer.control
        control.append(encode_header(kind, flags, stream_id, length))
        if len(control) > self._max_frames_control * _HARD_CONTROL_FACTOR:
            error = LimitExceeded("max_control_bytes", "the remote asks for more answers than it reads")
            self._fail(error, GO_AWAY_PROTOCOL_ERROR)

    def _violation(self, reason: str) -> bool:
        self._fail(ProtocolViolation(f"yamux: {reason}"), GO_AWAY_PROTOCOL_ERROR)
        return False

    def _fail(self, error: PeerstackError, code: int) -> None:
        """End the session, with a go-away as its last word."""
        if not self._closed:
            self._writer.drop()
            self._writer.control.append(encode_header(GO_AWAY, 0, 0, code))
            self._end(error)

    def _end(self, error: PeerstackError) -> None:
        self._closed = True
        self._body_stream = None
        self._table.clear()
        self._events.append(ConnectionFailed(error))
