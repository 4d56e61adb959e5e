"""The state of one yamux stream.

Whether a stream is acknowledged is not part of its state: an ACK may be late or missing, and nothing waits for it but the count of
unacknowledged streams.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final

from peerstack.wire.machine import Buffer
from peerstack.wire.yamux_frames import INITIAL_WINDOW_BYTES
from peerstack.wire.yamux_window import ReceiveWindow

__all__ = ["TRANSITIONS", "StreamInput", "StreamState", "YamuxStream"]


class StreamState(IntEnum):
    """Where a stream is in its life."""

    IDLE = 0
    """Opened here, SYN not sent: the remote does not know it."""
    OPEN = 1
    LOCAL_CLOSED = 2
    """Our FIN is sent; data still comes in."""
    REMOTE_CLOSED = 3
    """The remote's FIN arrived; data still goes out."""
    CLOSED = 4
    """Both FINs; forgotten."""
    RESET = 5
    """Reset by either side; forgotten."""


class StreamInput(IntEnum):
    """What moves a stream. A frame with several flags and a payload is several inputs, in the order SYN, ACK, payload, FIN, RST."""

    SEND_SYN = 0
    SEND_FIN = 1
    SEND_RST = 2
    RECEIVE_SYN = 3
    RECEIVE_ACK = 4
    RECEIVE_DATA = 5
    RECEIVE_WINDOW_UPDATE = 6
    RECEIVE_FIN = 7
    RECEIVE_RST = 8


_S = StreamState
_I = StreamInput

TRANSITIONS: Final[dict[tuple[StreamState, StreamInput], StreamState]] = {
    (_S.IDLE, _I.SEND_SYN): _S.OPEN,
    (_S.IDLE, _I.SEND_RST): _S.RESET,
    (_S.IDLE, _I.RECEIVE_SYN): _S.OPEN,
    (_S.OPEN, _I.SEND_FIN): _S.LOCAL_CLOSED,
    (_S.OPEN, _I.SEND_RST): _S.RESET,
    (_S.OPEN, _I.RECEIVE_ACK): _S.OPEN,
    (_S.OPEN, _I.RECEIVE_DATA): _S.OPEN,
    (_S.OPEN, _I.RECEIVE_WINDOW_UPDATE): _S.OPEN,
    (_S.OPEN, _I.RECEIVE_FIN): _S.REMOTE_CLOSED,
    (_S.OPEN, _I.RECEIVE_RST): _S.RESET,
    (_S.LOCAL_CLOSED, _I.SEND_RST): _S.RESET,
    (_S.LOCAL_CLOSED, _I.RECEIVE_ACK): _S.LOCAL_CLOSED,
    (_S.LOCAL_CLOSED, _I.RECEIVE_DATA): _S.LOCAL_CLOSED,
    (_S.LOCAL_CLOSED, _I.RECEIVE_WINDOW_UPDATE): _S.LOCAL_CLOSED,
    (_S.LOCAL_CLOSED, _I.RECEIVE_FIN): _S.CLOSED,
    (_S.LOCAL_CLOSED, _I.RECEIVE_RST): _S.RESET,
    (_S.REMOTE_CLOSED, _I.SEND_FIN): _S.CLOSED,
    (_S.REMOTE_CLOSED, _I.SEND_RST): _S.RESET,
    (_S.REMOTE_CLOSED, _I.RECEIVE_ACK): _S.REMOTE_CLOSED,
    (_S.REMOTE_CLOSED, _I.RECEIVE_WINDOW_UPDATE): _S.REMOTE_CLOSED,  # js-libp2p sends updates after its FIN
    (_S.REMOTE_CLOSED, _I.RECEIVE_RST): _S.RESET,
}
"""The next state. A pair that is not listed is a violation by whoever caused it."""


class YamuxStream:
    """One live stream. Only its session and the session's writer touch it.

    Attributes:
        stream_id: The id on the wire.
        state: Where it is in its life.
        outbound: Whether we opened it.
        unacked: Whether we opened it and the remote has not answered on it yet.
        remote_open: Whether data may still arrive.
        flags: SYN or ACK that the next frame has to carry.
        send_window: What the remote still takes.
        queue: What `send` took and no frame carries yet; `queued` is its size.
        finishing: Whether the last queued byte is followed by FIN (or was).
        blocked: Whether `send` refused bytes, so that `Writable` is due.
        scheduled: Whether the writer has it in its round.
        update_due: Whether the writer has it among the window updates.
        window: The receive window.
        heard_at: When the remote last said something on it; kept only while finishing.
    """

    __slots__ = (
        "blocked",
        "finishing",
        "flags",
        "heard_at",
        "outbound",
        "queue",
        "queued",
        "remote_open",
        "scheduled",
        "send_window",
        "state",
        "stream_id",
        "unacked",
        "update_due",
        "window",
    )

    def __init__(self, stream_id: int, *, outbound: bool, flags: int, now: float) -> None:
        self.stream_id = stream_id
        self.state = StreamState.IDLE
        self.outbound = outbound
        self.unacked = outbound
        self.remote_open = False
        self.flags = flags
        self.send_window = INITIAL_WINDOW_BYTES
        self.queue: deque[Buffer] = deque()
        self.queued = 0
        self.finishing = False
        self.blocked = False
        self.scheduled = False
        self.update_due = False
        self.window = ReceiveWindow(now)
        self.heard_at = now

    def apply(self, what: StreamInput) -> bool:
        """Move on by one input; False, and unmoved, if that is a violation."""
        state = TRANSITIONS.get((self.state, what))
        if state is None:
            return False
        self.state = state
        self.remote_open = state in _REMOTE_OPEN
        return True

    @property
    def over(self) -> bool:
        """Whether the stream is closed or reset."""
        return self.state >= StreamState.CLOSED

    def drop_output(self) -> None:
        """Forget what was to be sent."""
        self.queue.clear()
        self.queued = 0


_REMOTE_OPEN: Final = (StreamState.OPEN, StreamState.LOCAL_CLOSED)
