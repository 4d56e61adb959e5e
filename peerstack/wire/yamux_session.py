"""The yamux session: streams over one connection, `/yamux/1.0.0`, without I/O.

Feed it what arrived, take events and output; see `peerstack.wire.machine`. Commands on a stream that is gone do nothing, except `send`,
which raises. After a `StreamFinished` and our own `finish` a stream is forgotten, but bytes the application has not consumed still count
until `credit` has named them all or `reset` drops them.

Source: https://github.com/hashicorp/yamux/blob/master/spec.md and https://github.com/libp2p/specs/tree/master/yamux.
"""

from __future__ import annotations

from peerstack.errors import ConnectionLost, PeerstackError, StreamClosed
from peerstack.wire.machine import Buffer
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_core import SessionCore
from peerstack.wire.yamux_events import Writable, YamuxEvent
from peerstack.wire.yamux_frames import GO_AWAY, GO_AWAY_INTERNAL_ERROR, GO_AWAY_NORMAL, PROTOCOL_ID, STREAM_GARBAGE_COLLECTED
from peerstack.wire.yamux_reader import FrameReader
from peerstack.wire.yamux_stream import YamuxStream
from peerstack.wire.yamux_window import ReceiveBudget, WindowBudget

__all__ = ["PROTOCOL_ID", "WindowBudget", "YamuxConfig", "YamuxSession"]


class YamuxSession:
    """One side of a yamux connection.

    Args:
        config: Bounds and periods.
        initiator: Whether we dialled: the dialer's stream ids are odd, the listener's even.
        now: The present time, in seconds of any monotonic clock.
        growth_budget: What the windows of all sessions of the host may grow by, together.
        unread_budget: What all sessions of the host may hold unread, together.
    """

    __slots__ = ("_budget", "_config", "_core", "_keepalive", "_reader", "_streams", "_table", "_writer")

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
        self._budget = ReceiveBudget(
            growth_limit=config.connection_window_budget_bytes,
            unread_limit=config.max_unread_bytes,
            host_growth=growth_budget,
            host_unread=unread_budget,
        )
        self._core = SessionCore(config, initiator=initiator, now=now, budget=self._budget)
        self._reader = FrameReader(self._core)
        self._writer = self._core.writer
        self._table = self._core.table
        self._streams = self._table.live
        self._keepalive = self._core.keepalive
        self._core.ping(now)

    # What it is like now.

    @property
    def rtt(self) -> float | None:
        """The last measured round-trip time in seconds; None before the first pong."""
        return self._keepalive.rtt

    @property
    def closed(self) -> bool:
        """Whether the session is over (`ConnectionFailed` was told); its last output may still be taken."""
        return self._core.closed

    @property
    def drained(self) -> bool:
        """Whether one side has gone away and no stream is left: time to close the connection."""
        return (self._core.local_gone or self._core.remote_gone) and not self._streams

    @property
    def all_sent(self) -> bool:
        """Whether nothing that was queued is left to be taken, frames that wait for the remote's window included."""
        return not self.has_output() and not any(stream.queued for stream in self._streams.values())

    @property
    def reading_paused(self) -> bool:
        """Whether no more should be fed until output was taken: the remote makes us answer and does not read the answers."""
        return self._core.reading_paused

    @property
    def stream_count(self) -> int:
        """Streams the remote and we have open."""
        return len(self._streams)

    # The verbs of a machine.

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes that arrived. `bytes` may be kept, anything else is copied."""
        self._reader.feed(data, now)

    def feed_eof(self, now: float) -> None:
        """Take the news that no more bytes will arrive."""
        inside = " in the middle of a frame" if self._reader.inside_frame else ""
        self.abort(ConnectionLost(f"the remote closed the connection{inside}"))

    def abort(self, error: PeerstackError) -> None:
        """End the session without a word to the remote: the connection below is gone."""
        self._core.end(error)

    def tick(self, now: float) -> None:
        """Do what is due at `now`: keep-alive, and streams that stay half-closed."""
        if self._core.closed:
            return
        if self._keepalive.expired(now):
            self._core.fail(ConnectionLost(f"no answer to a ping within {self._config.keepalive_timeout_s:g} s"), GO_AWAY_INTERNAL_ERROR)
            return
        if now >= self._keepalive.due and self._keepalive.rearm(now):
            self._core.ping(now)
        for stream in self._table.silent(now):
            if not self._core.closed:
                self._core.shed(stream, STREAM_GARBAGE_COLLECTED)

    def deadline(self) -> float | None:
        """When `tick` wants to be called next; None once the session is over."""
        if self._core.closed:
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
                    self._table.forget(stream)
            writer.finished.clear()
        if writer.writable:
            self._core.events += [Writable(stream.stream_id) for stream in writer.writable]
            writer.writable.clear()
        return output

    def take_events(self) -> list[YamuxEvent]:
        """Take what happened since the last call, in order."""
        core = self._core
        events = core.events
        core.events = []
        self._table.untold.clear()
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
        if self._core.closed or self._core.local_gone or self._core.remote_gone:
            raise ConnectionLost("the connection takes no new streams: open another one", remote=self._core.remote_gone)
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
            if self._core.closed:
                raise ConnectionLost
            raise StreamClosed(f"stream {stream_id} is not open for writing")
        n = len(data)
        space = max(0, self._config.max_send_buffer_bytes - stream.queued)
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
        else:
            self._core.reset(stream, code)

    def go_away(self, code: int = GO_AWAY_NORMAL) -> None:
        """Take no new streams from now on; see `drained`."""
        if not (self._core.closed or self._core.local_gone):
            self._core.local_gone = True
            self._core.control(GO_AWAY, 0, 0, code)

    def ping(self, now: float) -> int:
        """Send a ping, which measures `rtt`, and return its value.

        Raises:
            ConnectionLost: The session is over.
            LimitExceeded: Too many are unanswered.
        """
        if self._core.closed:
            raise ConnectionLost
        return self._core.ping(now)

    def _grow(self, stream: YamuxStream, now: float) -> None:
        """Let a window follow the path's bandwidth-delay product, and measure the path again while it is busy."""
        keepalive = self._keepalive
        if keepalive.path_rtt is None:
            return
        window = stream.window
        more = min(window.measure(now, keepalive.path_rtt), self._config.max_window_bytes) - window.size
        if more > 0 and self._budget.grow(more):
            window.grow(more)
            if not keepalive.awaiting_pong:
                self._core.ping(now)
