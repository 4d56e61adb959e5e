"""A hand-driven remote for a yamux session: frames in, frames out, no logic of its own."""

from __future__ import annotations

from dataclasses import dataclass

from peerstack.errors import PeerstackError
from peerstack.wire import yamux_frames as wire
from peerstack.wire.yamux_config import YamuxConfig
from peerstack.wire.yamux_events import ConnectionFailed, DataReceived, YamuxEvent
from peerstack.wire.yamux_session import YamuxSession
from tests.unit.wire.feeding import Cutter, feed_all, whole

WINDOW = wire.INITIAL_WINDOW_BYTES


@dataclass(frozen=True)
class Frame:
    """One frame as the remote sees it."""

    kind: int
    flags: int
    stream_id: int
    length: int
    payload: bytes = b""


def data(stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return wire.encode_header(wire.DATA, flags, stream_id, len(payload)) + payload


def update(stream_id: int, delta: int = 0, flags: int = 0) -> bytes:
    return wire.encode_header(wire.WINDOW_UPDATE, flags, stream_id, delta)


def ping(value: int, flags: int = wire.SYN) -> bytes:
    return wire.encode_header(wire.PING, flags, 0, value)


def go_away(code: int = 0) -> bytes:
    return wire.encode_header(wire.GO_AWAY, 0, 0, code)


def parse(sent: bytes) -> list[Frame]:
    """Cut what a session sent into frames; a half frame at the end is an error."""
    frames = []
    while sent:
        version, kind, flags, stream_id, length = wire.HEADER.unpack_from(sent)
        assert version == wire.VERSION
        size = length if kind == wire.DATA else 0
        assert len(sent) >= wire.HEADER_BYTES + size
        frames.append(Frame(kind, flags, stream_id, length, sent[wire.HEADER_BYTES : wire.HEADER_BYTES + size]))
        sent = sent[wire.HEADER_BYTES + size :]
    return frames


class Remote:
    """The other end of `session`, which listens unless told otherwise; its first ping is answered already."""

    def __init__(self, config: YamuxConfig | None = None, *, initiator: bool = False, answered: bool = True) -> None:
        self.session = YamuxSession(config or YamuxConfig(), initiator=initiator, now=0.0)
        if answered:
            (first,) = self.take()
            assert (first.kind, first.flags) == (wire.PING, wire.SYN)
            self.says(ping(first.length, wire.ACK))

    def says(self, *frames: bytes, cut: Cutter = whole) -> list[YamuxEvent]:
        """Feed frames, and return the events."""
        feed_all(self.session, b"".join(frames), cut)
        return self.session.take_events()

    def take(self, limit: int = 1 << 20) -> list[Frame]:
        """What the session sends now."""
        return parse(b"".join(self.session.take_output(limit)))

    def error(self, *frames: bytes) -> PeerstackError:
        """Feed frames that must end the session, and return why."""
        event = self.says(*frames)[-1]
        assert isinstance(event, ConnectionFailed)
        return event.error

    def opens(self, stream_id: int) -> None:
        """Open a stream, the ACK taken already."""
        self.says(update(stream_id, flags=wire.SYN))
        self.take()

    def opened(self) -> int:
        """A stream that the session opened, SYN and ACK exchanged."""
        stream_id = self.session.open_stream(0.0)
        self.take()
        self.says(update(stream_id, flags=wire.ACK))
        return stream_id


def received(events: list[YamuxEvent], stream_id: int) -> bytes:
    """All data of one stream."""
    return b"".join(event.data for event in events if isinstance(event, DataReceived) and event.stream_id == stream_id)
