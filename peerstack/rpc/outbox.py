"""Writing to a stream from wherever an answer or a request becomes ready."""

from __future__ import annotations

from collections import deque

from peerstack.errors import PeerstackError
from peerstack.plugin import Stream
from peerstack.wire import varint

__all__ = ["Outbox"]


class Outbox:
    """What is to be written to a stream by whoever comes first: at most one task writes, in order."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._queue: deque[bytes] = deque()
        self._writing = False

    def put(self, message: bytes) -> None:
        """Queue one message with its length."""
        self._queue.append(varint.encode(len(message)) + message)

    @property
    def needs_writer(self) -> bool:
        """Whether `flush` has to be called."""
        return bool(self._queue) and not self._writing

    def flush_now(self) -> bool:
        """Write everything if that takes no waiting; whether it did. What fails here fails again in `flush`, where it can be told."""
        try:
            written = self._stream.write_now(b"".join(self._queue))
        except PeerstackError:
            return False
        if written:
            self._queue.clear()
        return written

    async def flush(self) -> None:
        """Write everything, unless somebody does already."""
        if self._writing:
            return
        self._writing = True
        try:
            while self._queue:
                data = b"".join(self._queue)
                self._queue.clear()
                await self._stream.write(data)
        finally:
            self._writing = False
