"""What a yamux session has to send, cut into frames when it is taken.

Cutting late is what gives fairness between streams, pongs ahead of data, FIN right behind the last data frame, credit that is still growing
when it leaves, and backpressure while the transport is paused.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from peerstack.wire.machine import Buffer
from peerstack.wire.yamux_frames import DATA, FIN, HEADER, HEADER_BYTES, SYN, VERSION, WINDOW_UPDATE, encode_header
from peerstack.wire.yamux_stream import StreamInput, YamuxStream

__all__ = ["FrameWriter"]

_MIN_ROOM: Final = 256  # less than this is not worth a frame of its own
_pack = HEADER.pack


class FrameWriter:
    """Control frames first, then window updates, then one frame per stream in turn.

    Args:
        max_frame_bytes: Payload of one data frame at most.
        low_water_bytes: A stream that refused bytes is writable again at this many queued ones.

    Attributes:
        control: Whole control frames, in order.
        finished: Streams whose FIN was cut, for the session to look at.
        writable: Streams that take bytes again, likewise.
    """

    __slots__ = ("_low_water", "_max_frame", "_ready", "_updates", "control", "finished", "writable")

    def __init__(self, *, max_frame_bytes: int, low_water_bytes: int) -> None:
        self._max_frame = max_frame_bytes
        self._low_water = low_water_bytes
        self._ready: deque[YamuxStream] = deque()
        self._updates: list[YamuxStream] = []
        self.control: list[bytes] = []
        self.finished: list[YamuxStream] = []
        self.writable: list[YamuxStream] = []

    def has_output(self) -> bool:
        """Whether `take` would return something; now and then True for a stream that has ended since."""
        return bool(self._ready or self.control or self._updates)

    def schedule(self, stream: YamuxStream) -> None:
        """Give a stream that has something to send its place in the round."""
        if not stream.scheduled:
            stream.scheduled = True
            self._ready.append(stream)

    def schedule_update(self, stream: YamuxStream) -> None:
        """Have what is owed to a stream's remote granted with the next output."""
        if not stream.update_due:
            stream.update_due = True
            self._updates.append(stream)

    def drop(self) -> None:
        """Forget all output."""
        self.control.clear()
        self._ready.clear()
        self._updates.clear()

    def take(self, limit: int) -> list[Buffer]:
        """Cut frames of about `limit` bytes in all, and at least one if there is any."""
        out: list[Buffer] = []
        room = limit
        if self.control:
            room -= self._take_control(out, limit)
        if self._updates:
            room -= self._take_updates(out)
        ready = self._ready
        while ready and (room >= _MIN_ROOM or not out):
            stream = ready.popleft()
            stream.scheduled = False
            if stream.over:
                continue
            room -= self._cut(stream, out, room)
            if stream.queued and stream.send_window:
                stream.scheduled = True
                ready.append(stream)
        return out

    def _take_control(self, out: list[Buffer], limit: int) -> int:
        count = max(1, limit // HEADER_BYTES)
        taken = self.control[:count]
        del self.control[:count]
        out += taken
        return len(taken) * HEADER_BYTES

    def _take_updates(self, out: list[Buffer]) -> int:
        updates, self._updates = self._updates, []
        before = len(out)
        for stream in updates:
            stream.update_due = False
            if stream.remote_open and stream.window.owed:
                out.append(encode_header(WINDOW_UPDATE, stream.flags, stream.stream_id, stream.window.grant()))
                stream.flags = 0
        return (len(out) - before) * HEADER_BYTES

    def _cut(self, stream: YamuxStream, out: list[Buffer], room: int) -> int:
        """Cut one data frame of a stream and, behind the last one, its FIN; return their bytes, 0 if there was nothing to send."""
        queued = stream.queued
        n = min(queued, stream.send_window, self._max_frame, max(room - HEADER_BYTES, 1))
        flags = stream.flags
        size = 0
        if n:
            out.append(_pack(VERSION, DATA, flags, stream.stream_id, n))
            stream.send_window -= n
            self._move_payload(stream, out, n)
            if flags:
                self._sent_flags(stream, flags)
                flags = 0
            size = HEADER_BYTES + n
        if stream.finishing and n == queued:
            flags |= FIN  # in a frame of its own: js acts on the flag before the payload, and drops that
        if flags:
            out.append(_pack(VERSION, WINDOW_UPDATE, flags, stream.stream_id, 0))
            self._sent_flags(stream, flags)
            size += HEADER_BYTES
        return size

    def _move_payload(self, stream: YamuxStream, out: list[Buffer], n: int) -> None:
        """Move `n` queued bytes into the output, without copying them."""
        stream.queued -= n
        queue = stream.queue
        while n:
            chunk = queue[0]
            size = len(chunk)
            if size <= n:
                out.append(queue.popleft())
                n -= size
            else:
                view = memoryview(chunk)
                out.append(view[:n])
                queue[0] = view[n:]
                break
        if stream.blocked and stream.queued <= self._low_water:
            stream.blocked = False
            self.writable.append(stream)

    def _sent_flags(self, stream: YamuxStream, flags: int) -> None:
        stream.flags = 0
        if flags & SYN:
            stream.apply(StreamInput.SEND_SYN)
        if flags & FIN:
            stream.apply(StreamInput.SEND_FIN)
            self.finished.append(stream)
