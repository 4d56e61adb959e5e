"""The bytes of a stream that arrived and were not read yet, and the credit owed for them."""

from __future__ import annotations

from collections import deque
from typing import Final

from peerstack.wire.machine import Buffer

__all__ = ["ReceiveBuffer"]

_SMALL_BYTES: Final = 1024  # less than this is gathered, or a peer that sends two bytes a frame would fill memory with chunk objects
_GATHERED_BYTES: Final = 64 << 10


class ReceiveBuffer:
    """A queue of chunks, handed over as they came (only small ones that wait behind others are gathered).

    Credit for a byte is owed once, when the reader has taken it, or earlier when a reader says it wants more than fits in the window
    (`claim`). Every method that frees bytes returns the credit to give for them.
    """

    __slots__ = ("_chunks", "_claimed", "size")

    def __init__(self) -> None:
        self._chunks: deque[Buffer | bytearray] = deque()
        self._claimed = 0  # bytes at the front whose credit was given already
        self.size = 0

    def append(self, data: Buffer) -> None:
        """Take bytes that arrived; the buffer is kept, not copied, unless it is small and others wait before it."""
        size = len(data)
        if self._chunks and size < _SMALL_BYTES:
            self._gather(data, size)
        else:
            self._chunks.append(data)
        self.size += size

    def _gather(self, data: Buffer, size: int) -> None:
        last = self._chunks[-1]
        if type(last) is bytearray and len(last) + size <= _GATHERED_BYTES:
            last += data
        elif len(last) < _SMALL_BYTES:
            self._chunks[-1] = bytearray(last) + data
        else:
            self._chunks.append(bytearray(data))

    def take_chunk(self, limit: int) -> tuple[bytes, int]:
        """Take up to `limit` bytes of the first chunk: the cheapest way to read. Returns them and the credit."""
        chunk = self._chunks[0]
        if len(chunk) <= limit:
            self._chunks.popleft()
            data = bytes(chunk)
        else:
            view = memoryview(chunk)
            data = bytes(view[:limit])
            self._chunks[0] = view[limit:]
        return data, self._freed(len(data))

    def take(self, count: int) -> tuple[bytes, int]:
        """Take exactly `count` bytes, which must be there. Returns them and the credit."""
        if self._chunks and len(self._chunks[0]) >= count:
            return self.take_chunk(count)
        pieces: list[Buffer | bytearray] = []
        missing = count
        while missing:
            chunk = self._chunks.popleft()
            if len(chunk) > missing:
                view = memoryview(chunk)
                self._chunks.appendleft(view[missing:])
                chunk = view[:missing]
            pieces.append(chunk)
            missing -= len(chunk)
        return b"".join(pieces), self._freed(count)

    def peek(self, start: int, stop: int) -> bytes:
        """Look at the bytes from `start` up to `stop`, as far as they are there."""
        if self._chunks and stop <= len(self._chunks[0]):
            return bytes(self._chunks[0][start:stop])
        pieces: list[Buffer | bytearray] = []
        for chunk in self._chunks:
            if stop <= 0:
                break
            size = len(chunk)
            if start < size:
                pieces.append(chunk[max(0, start) : stop])
            start -= size
            stop -= size
        return b"".join(pieces)

    def claim(self) -> int:
        """Owe credit now for all that is buffered, so that more can arrive. Returns the credit."""
        credit = self.size - self._claimed
        self._claimed = self.size
        return credit

    def clear(self) -> int:
        """Drop everything. Returns the credit."""
        credit = self.size - self._claimed
        self._chunks.clear()
        self.size = self._claimed = 0
        return credit

    def _freed(self, count: int) -> int:
        self.size -= count
        claimed = min(self._claimed, count)
        self._claimed -= claimed
        return count - claimed
