"""The only loop of a connection: feed -> events -> dispatch -> arm the flush -> re-arm the timer.

A connection is one synchronous pipeline without tasks, queues or locks. Bytes go through the upgrade first, then through Noise records into
the muxer; what the muxer has to say is cut into frames, sealed and written when the flush policy says so:

* the first small write of a turn of the event loop leaves at once;
* what follows in the same turn rides together at its end, in as few records as possible;
* big payloads are gathered up to `_BATCH_BYTES`;
* FIN, credit and negotiation never flush in the middle of a turn and always leave by its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final

from peerstack.config import ConnectionConfig
from peerstack.environment import clock_of
from peerstack.errors import (
    ConnectionLost,
    DeadlineExceeded,
    HandshakeFailed,
    NegotiationFailed,
    PeerstackError,
    StreamClosed,
    StreamReset,
)
from peerstack.net.connection import Connection
from peerstack.net.stored_errors import fresh
from peerstack.net.stream import Stream
from peerstack.net.transport import Link
from peerstack.net.upgrade import Upgrade, Upgraded
from peerstack.wire import yamux_events as yamux
from peerstack.wire.machine import Buffer, ConnectionFailed
from peerstack.wire.multistream import Dialer
from peerstack.wire.noise_records import RecordReader, RecordWriter
from peerstack.wire.yamux_session import YamuxSession

__all__ = ["Pump", "PumpCallbacks"]

_SMALL_WRITE_BYTES: Final = 16 << 10
_BATCH_BYTES: Final = 128 << 10


class _Phase(Enum):
    UPGRADING = 1
    OPEN = 2
    DRAINING = 3  # close was asked for: what is queued leaves first
    LINGERING = 4  # all is sent and our direction is closed: the remote closes its own
    CLOSED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class PumpCallbacks:
    """Who is told what. Each is called from the loop and must not raise."""

    on_open: Callable[[Connection], None]
    on_failed: Callable[[PeerstackError], None]
    """The connection ended before it was open."""
    on_stream: Callable[[Stream], None]
    """The remote opened a stream; its protocol is not negotiated yet."""


class Pump:
    """Drives one connection, from the first byte of the link to the last.

    Attributes:
        streams: Those of which something is left to know, by id.
        idle_since: Loop time since when there is none of them; None while there is one.
        batches: How many whole batches were written within this turn.
    """

    def __init__(
        self,
        upgrade: Upgrade,
        make_session: Callable[[float], YamuxSession],
        callbacks: PumpCallbacks,
        config: ConnectionConfig,
        *,
        outbound: bool,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = clock_of(self.loop)
        self.outbound = outbound
        self.streams: dict[int, Stream] = {}
        self.idle_since: float | None = None
        self.batches = 0
        self._upgrade: Upgrade | None = upgrade  # until the connection is open
        self._early: list[Buffer] = []  # what the upgrade has left to say then
        self._make_session = make_session
        self._callbacks = callbacks
        self._config = config
        self._phase = _Phase.UPGRADING
        self._link: Link | None = None
        self._writable = False  # whether the link takes bytes
        self._said_all = False  # lingering or closed
        self._remote_gone = False  # it takes no new streams
        self._reader: RecordReader | None = None
        self._writer: RecordWriter | None = None
        self._session: YamuxSession | None = None
        self._connection: Connection | None = None
        self._error: PeerstackError | None = None
        self._negotiating: dict[int, float] = {}  # stream id -> deadline, in order
        self._phase_deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed = False
        self._feeding = False
        self._wrote_this_turn = False
        self._pending_bytes = 0

    # what the link calls

    def link_made(self, link: Link) -> None:
        """The link is up: the upgrade begins."""
        if self._phase is _Phase.CLOSED:  # given up while the transport was dialling
            link.abort()
            return
        self._link = link
        self._writable = True
        self._phase_deadline = self.clock() + self._config.handshake_timeout_s
        self._flush()
        self._arm_timer()

    def link_received(self, data: bytes | memoryview) -> None:
        """Bytes arrived: the way of a byte begins here."""
        if self._said_all:  # only the end is of interest
            return
        now = self.clock()
        self._feeding = not self._armed
        if self._session is not None:
            self._feed_session(data, self._session, now)
        elif self._upgrade is not None:
            self._upgrade.feed(data, now)
            self._take_upgrade_events(self._upgrade, now)
        self._arm_flush()
        if self._feeding and self._armed:
            self.loop.call_soon(self._turn_ended)
        self._feeding = False
        self._arm_timer()

    def link_eof(self) -> None:
        """The remote closed its direction: nothing can be agreed on any more, so the connection ends."""
        if self._upgrade is not None:
            now = self.clock()
            self._upgrade.feed_eof(now)
            self._take_upgrade_events(self._upgrade, now)
        elif self._reader is not None and self._session is not None:
            self._reader.feed_eof()
            error: PeerstackError | None = self._reader.error
            if error is None and self._phase is _Phase.DRAINING and not self._session.all_sent:
                error = ConnectionLost("the remote closed the connection before it took everything")
            self._end(error)

    def link_writable(self, writable: bool) -> None:
        """The link takes bytes again, or is full."""
        self._writable = writable and not self._said_all
        if self._writable:
            self._flush()
            self._arm_timer()

    def link_lost(self, error: Exception | None) -> None:
        """The link is gone."""
        self._end(ConnectionLost(f"the connection was lost: {error}") if error is not None else None)
        self._cancel_timer()

    # what streams call

    def open_stream(self, protocols: Sequence[str], *, optimistic: bool) -> Stream:
        """Open a stream that negotiates by itself; its first bytes leave by the end of this turn."""
        dialer = Dialer(protocols, optimistic=optimistic)
        if self._session is None or self._connection is None or self.closed:
            raise ConnectionLost("the connection is closing", remote=False) if self._error is None else fresh(self._error)
        now = self.clock()
        stream = Stream(self, self._connection, self._session.open_stream(now), outbound=True)
        self._add_stream(stream, now)
        stream.propose(protocols[0], dialer)
        self._arm_timer()
        return stream

    def write(self, stream: Stream, data: Buffer, *, eof: bool = False, whole: bool = False) -> int:
        """Queue application bytes by the flush policy; returns how many were taken (all, with `whole`)."""
        session = self._session
        assert session is not None, "streams exist only within a session"
        size = len(data)
        taken = session.send(stream.stream_id, data, whole=whole) if size else 0
        if eof and taken == size:
            self._finish(stream, session)
        self._pending_bytes += taken
        if self._writable:
            if self._pending_bytes >= _BATCH_BYTES:
                self.batches += 1
                self._flush()
            elif 0 < taken < _SMALL_WRITE_BYTES and not self._wrote_this_turn:
                self._wrote_this_turn = True
                self._flush()
        self._arm_turn_end()
        return taken

    async def give_way(self) -> None:
        """Let other tasks run: a link that never fills would let one writer keep them from it."""
        self.batches = 0
        await asyncio.sleep(0)

    def queue(self, stream: Stream, data: Buffer) -> None:
        """Queue bytes of a negotiation: they leave by the end of this turn."""
        if self._session is not None:
            with suppress(StreamClosed, ConnectionLost):  # it ended in the very bytes that are being dispatched: its event follows
                self._session.send(stream.stream_id, data, whole=True)
            self._arm_turn_end()

    def has_room(self, stream: Stream) -> bool:
        """Whether the muxer takes bytes of this stream now."""
        return self._session is None or self._session.has_room(stream.stream_id)

    def finish(self, stream: Stream) -> None:
        """End our direction of a stream."""
        if self._session is not None:
            self._finish(stream, self._session)
            self._arm_turn_end()

    def _finish(self, stream: Stream, session: YamuxSession) -> None:
        session.finish(stream.stream_id, self.clock())
        stream.local_eof = True
        if stream.over:
            self.forget(stream)

    def credit(self, stream: Stream, count: int) -> None:
        """The application consumed `count` bytes."""
        if self._session is not None and count:
            self._session.credit(stream.stream_id, count, self.clock())
            self._arm_flush()

    def reset(self, stream: Stream, error_code: int) -> None:
        """End a stream at once."""
        self.forget(stream)
        if self._session is not None:
            self._session.reset(stream.stream_id, error_code)
            self._arm_turn_end()

    def forget(self, stream: Stream) -> None:
        """Nothing more is to be told to a stream."""
        if self.streams.get(stream.stream_id) is not stream:
            return
        del self.streams[stream.stream_id]
        self._negotiating.pop(stream.stream_id, None)
        if not self.streams:
            self.idle_since = self.clock()
            if self._remote_gone:
                self.close()

    # what the connection calls

    @property
    def rtt(self) -> float | None:
        """Round-trip time in seconds, measured by the muxer's pings."""
        return self._session.rtt if self._session is not None else None

    @property
    def closed(self) -> bool:
        """Whether no stream can be opened any more."""
        return self._phase is not _Phase.OPEN or self._remote_gone

    def close(self) -> None:
        """Close in order: what is queued leaves, the remote is told, and it closes too. Returns at once."""
        if self._phase is _Phase.OPEN:
            self._phase = _Phase.DRAINING
            self._phase_deadline = self.clock() + self._config.close_timeout_s
            self._fail_streams(ConnectionLost("this side closed the connection", remote=False))
            self._arm_turn_end()
            self._arm_timer()
        elif self._phase is _Phase.UPGRADING:
            self.abort(ConnectionLost("the connection was given up", remote=False))

    def abort(self, error: PeerstackError | None = None) -> None:
        """Close at once; what is queued is lost."""
        self._end(error or ConnectionLost("this side aborted the connection", remote=False), abort=True)

    # the upgrade

    def _take_upgrade_events(self, upgrade: Upgrade, now: float) -> None:
        for event in upgrade.take_events():
            if isinstance(event, Upgraded):
                self._early, self._upgrade = upgrade.take_output(_BATCH_BYTES), None
                self._open(event, now)
            else:
                self._flush()  # the peer may learn why
                self._end(event.error)

    def _open(self, upgraded: Upgraded, now: float) -> None:
        link = self._link
        assert link is not None
        self._phase = _Phase.OPEN
        self._phase_deadline = None
        self._reader, self._writer = upgraded.reader, upgraded.writer
        self._session = session = self._make_session(now)
        self.idle_since = now
        self._connection = Connection(self, upgraded.peer_id, upgraded.public_key, link.local_address, link.remote_address, opened_at=now)
        self._callbacks.on_open(self._connection)
        for plaintext in upgraded.rest:
            session.feed(plaintext, now)
        self._after_feed(session, now)

    # the session

    def _feed_session(self, data: bytes | memoryview, session: YamuxSession, now: float) -> None:
        assert self._reader is not None
        for plaintext in self._reader.feed(data):
            session.feed(plaintext, now)
        self._after_feed(session, now)

    def _after_feed(self, session: YamuxSession, now: float) -> None:
        assert self._reader is not None
        self._dispatch(session, now)
        if self._reader.error is not None:
            self._end(self._reader.error)
        elif session.reading_paused and self._link is not None:
            self._link.pause_reading()

    def _dispatch(self, session: YamuxSession, now: float) -> None:
        streams = self.streams
        for event in session.take_events():
            kind = type(event)
            if kind is yamux.DataReceived:
                stream = streams.get(event.stream_id)  # type: ignore[union-attr]
                if stream is not None:
                    stream.data_received(event.data)  # type: ignore[union-attr]
            elif kind is yamux.StreamOpened:
                self._stream_opened(event.stream_id, now)  # type: ignore[union-attr]
            elif kind is yamux.Writable:
                stream = streams.get(event.stream_id)  # type: ignore[union-attr]
                if stream is not None:
                    stream.became_writable()
            else:
                self._dispatch_rare(event)

    def _dispatch_rare(self, event: yamux.YamuxEvent) -> None:
        if isinstance(event, yamux.StreamFinished):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.eof_received()
                if stream.over:
                    self.forget(stream)
        elif isinstance(event, yamux.StreamReset):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                self.forget(stream)
                stream.failed(StreamReset(remote=event.remote, error_code=event.error_code))
        elif isinstance(event, yamux.GoneAway):
            self._gone_away(event.code)
        elif isinstance(event, ConnectionFailed):
            self._flush()  # the go-away with our reason
            self._end(event.error)

    def _stream_opened(self, stream_id: int, now: float) -> None:
        if self._connection is None or self._phase is not _Phase.OPEN:
            return
        stream = Stream(self, self._connection, stream_id, outbound=False)
        self._add_stream(stream, now)
        self._callbacks.on_stream(stream)

    def _add_stream(self, stream: Stream, now: float) -> None:
        self.streams[stream.stream_id] = stream
        self._negotiating[stream.stream_id] = now + self._config.negotiation_timeout_s
        self.idle_since = None

    def _gone_away(self, code: int) -> None:
        """The remote opens and accepts nothing more: what is open goes on, and without streams there is nothing left to do."""
        if code:
            self._end(ConnectionLost(f"the remote ended the connection with error code {code}"))
            return
        self._remote_gone = True
        if not self.streams:
            self.close()

    # output

    def _arm_turn_end(self) -> None:
        """See to it that all leaves by the end of this turn; the end comes after the handlers that bytes just received have started."""
        if not self._armed:
            self._armed = True
            if not self._feeding:
                self.loop.call_soon(self._turn_ended)

    def _arm_flush(self) -> None:
        session = self._session
        if not self._armed and (session is None or session.has_output()):
            self._arm_turn_end()

    def _turn_ended(self) -> None:
        self._armed = False
        self._wrote_this_turn = False
        self.batches = 0
        self._flush()
        self._arm_timer()

    def _flush(self) -> None:
        """Cut, seal and write what is due, while the link takes it."""
        link, session, writer = self._link, self._session, self._writer
        if not self._writable or link is None:
            return
        if session is None or writer is None:
            if self._upgrade is not None and (output := self._upgrade.take_output(_BATCH_BYTES)):
                link.write(b"".join(output))
            return
        if not session.has_output() and not self._early and self._phase is _Phase.OPEN:
            self._pending_bytes = 0  # of a stream whose window is closed
            return
        if self._early:  # our last handshake message shares a write with the first record
            early, self._early = self._early, []
            link.write(b"".join([*early, writer.seal(session.take_output(_BATCH_BYTES))]))
        while session.has_output() and self._writable:
            sealed = writer.seal(session.take_output(_BATCH_BYTES))
            if sealed:
                link.write(sealed)
        self._pending_bytes = 0
        now = self.clock()
        self._dispatch(session, now)
        if not session.reading_paused:
            link.resume_reading()
        if self._phase is _Phase.DRAINING and session.all_sent:
            self._say_goodbye(session, writer, link)

    def _say_goodbye(self, session: YamuxSession, writer: RecordWriter, link: Link) -> None:
        self._phase = _Phase.LINGERING
        self._said_all, self._writable = True, False
        session.go_away()
        sealed = writer.seal(session.take_output(_BATCH_BYTES))
        if sealed:
            link.write(sealed)
        link.write_eof()

    # time

    def _arm_timer(self) -> None:
        """Make sure the timer fires by the next deadline; one that fires early finds nothing to do and re-arms itself."""
        deadline = self._next_deadline()
        timer = self._timer
        if deadline is None or (timer is not None and timer.when() <= deadline):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self.loop.call_at(deadline, self._timer_fired)

    def _next_deadline(self) -> float | None:
        if self._phase is _Phase.CLOSED:
            return None
        deadline = self._phase_deadline
        session = self._session if self._phase is not _Phase.LINGERING else None
        if session is not None and (due := session.deadline()) is not None and (deadline is None or due < deadline):
            deadline = due
        if self._negotiating:
            due = next(iter(self._negotiating.values()))
            if deadline is None or due < deadline:
                deadline = due
        return deadline

    def _timer_fired(self) -> None:
        self._timer = None
        now = self.clock()
        if self._phase_deadline is not None and now >= self._phase_deadline:
            self._phase_timed_out()
        self._end_slow_negotiations(now)
        if self._session is not None and self._phase is not _Phase.LINGERING:
            self._session.tick(now)
            self._dispatch(self._session, now)
            self._arm_flush()
        self._arm_timer()

    def _phase_timed_out(self) -> None:
        if self._phase is _Phase.UPGRADING:
            error: PeerstackError = HandshakeFailed(f"no secure connection within {self._config.handshake_timeout_s} seconds")
        else:
            error = DeadlineExceeded(f"the connection did not close within {self._config.close_timeout_s} seconds")
        self._end(error, abort=True)

    def _end_slow_negotiations(self, now: float) -> None:
        while self._negotiating:
            stream_id, deadline = next(iter(self._negotiating.items()))
            stream = self.streams.get(stream_id)
            if stream is not None and stream.negotiating:
                if deadline > now:
                    return
                self.reset(stream, 0)
                stream.failed(NegotiationFailed(f"no protocol was agreed within {self._config.negotiation_timeout_s} seconds"))
            self._negotiating.pop(stream_id, None)

    # the end

    def _fail_streams(self, error: PeerstackError) -> None:
        streams = list(self.streams.values())
        self.streams.clear()
        self._negotiating.clear()
        for stream in streams:
            stream.failed(error)

    def _end(self, error: PeerstackError | None, *, abort: bool = False) -> None:
        """Tell everybody, once, and close the link, or abort it."""
        if self._phase is _Phase.CLOSED:
            if abort and self._link is not None:
                self._link.abort()
            return
        remote = self._phase in (_Phase.UPGRADING, _Phase.OPEN)
        self._phase = _Phase.CLOSED
        self._said_all, self._writable = True, False
        self._upgrade = None
        self._error = error or ConnectionLost(remote=remote)
        self._cancel_timer()
        self._fail_streams(self._error)
        if self._session is not None:
            self._session.abort(self._error)
        if self._link is not None and abort:
            self._link.abort()
        elif self._link is not None:
            # A remote that reads nothing holds no socket: what is queued may still leave, for a while.
            self._timer = self.loop.call_later(self._config.close_timeout_s, self._link.abort)
            self._link.close()
        if self._connection is not None:
            self._connection.pump_ended(error)
        else:
            self._callbacks.on_failed(self._error)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
