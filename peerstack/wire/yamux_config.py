"""The bounds and periods of one yamux session."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from peerstack.errors import ConfigError
from peerstack.wire.yamux_frames import INITIAL_WINDOW_BYTES, MAX_U32

__all__ = ["YamuxConfig"]

_MIN_CONTROL_BYTES: Final = 4 << 10
_MAX_FRAME_BYTES: Final = 1 << 20  # rust-yamux ends the session over a larger frame


@dataclass(frozen=True, kw_only=True, slots=True)
class YamuxConfig:
    """Bounds of one session. Every one of them fails closed."""

    max_window_bytes: int = 16 << 20
    """A stream's receive window grows from 256 KiB, which the protocol fixes, up to this."""
    connection_window_budget_bytes: int = 64 << 20
    """What the receive windows of all streams may have grown by, together."""
    max_unread_bytes: int = 64 << 20
    """Received and not yet consumed, over all streams; beyond it the stream with the most unread bytes is reset."""
    max_send_buffer_bytes: int = 256 << 10
    """What `send` queues per stream before it takes no more."""
    max_frame_bytes: int = 64 << 10
    """Payload of the data frames we send."""
    max_control_bytes: int = 64 << 10
    """Queued answers to the peer (pongs, resets). Above it the session wants reading stopped, at four times as much it says go-away."""
    max_streams_in: int = 1024
    """Streams the remote has open; one more is refused with a reset."""
    max_streams_out: int = 1024
    """Streams we have open."""
    max_unacked_streams: int = 256
    """Streams we opened that the remote has not answered yet."""
    keepalive_interval_s: float = 30.0
    """A ping goes out when nothing was heard for this long."""
    keepalive_timeout_s: float = 10.0
    """The session ends when nothing was heard for this long after an unanswered ping."""
    half_closed_timeout_s: float = 60.0
    """A stream we finished is reset when the remote says nothing on it for this long without finishing it too."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ConfigError(f"YamuxConfig.{field.name} must be positive, not {value!r}")
        if not INITIAL_WINDOW_BYTES <= self.max_window_bytes <= MAX_U32:
            raise ConfigError(f"YamuxConfig.max_window_bytes must be {INITIAL_WINDOW_BYTES} to {MAX_U32}, not {self.max_window_bytes}")
        if self.max_control_bytes < _MIN_CONTROL_BYTES:
            raise ConfigError(f"YamuxConfig.max_control_bytes must be at least {_MIN_CONTROL_BYTES}, not {self.max_control_bytes}")
        if self.max_frame_bytes > _MAX_FRAME_BYTES:
            raise ConfigError(f"YamuxConfig.max_frame_bytes must be at most {_MAX_FRAME_BYTES}, not {self.max_frame_bytes}")
