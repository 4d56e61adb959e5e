"""What a yamux session tells its user."""

from __future__ import annotations

from dataclasses import dataclass

from peerstack.wire.machine import ConnectionFailed

__all__ = ["ConnectionFailed", "DataReceived", "GoneAway", "StreamFinished", "StreamOpened", "StreamReset", "Writable", "YamuxEvent"]


@dataclass(slots=True)
class StreamOpened:
    """The remote opened a stream."""

    stream_id: int


@dataclass(slots=True)
class DataReceived:
    """Bytes arrived on a stream; give them back with `credit` once they are consumed."""

    stream_id: int
    data: bytes


@dataclass(slots=True)
class StreamFinished:
    """The remote finished its side: no more data will come. Our side stays open."""

    stream_id: int


@dataclass(slots=True)
class StreamReset:
    """The stream is gone, both ways; bytes not consumed yet are to be dropped."""

    stream_id: int
    error_code: int
    remote: bool
    """Whether the remote did it; otherwise a limit of ours did."""


@dataclass(slots=True)
class Writable:
    """`send` takes bytes again on a stream where it had taken fewer than given."""

    stream_id: int


@dataclass(slots=True)
class GoneAway:
    """The remote takes no new streams; those that are open go on."""

    code: int


YamuxEvent = StreamOpened | DataReceived | StreamFinished | StreamReset | Writable | GoneAway | ConnectionFailed
"""`ConnectionFailed` is always the last one of a session."""
