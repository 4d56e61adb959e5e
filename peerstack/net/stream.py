"""Awaitable read, write, write_eof, close and reset over one stream of a connection's muxer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from peerstack.errors import (
    IncompleteRead,
    InvalidMessage,
    MessageTooLarge,
    NegotiationFailed,
    PeerstackError,
    StreamBusy,
    StreamClosed,
    StreamReset,
)
from peerstack.identity import PeerId
from peerstack.net.receive_buffer import ReceiveBuffer
from peerstack.wire import varint
from peerstack.wire.machine import Buffer
from peerstack.wire.multistream import Dialer, Listener, ProtocolSelected

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from peerstack.net.connection import Connection
    from peerstack.net.pump import Pump

__all__ = ["Stream"]

MessageT = TypeVar("MessageT", bound="Message")

_MAX_VARINT_BYTES: Final = 9


class Stream:
    """One stream. The upper half is for applications (`peerstack.plugin.Stream`), the lower half for the pump."""

    __slots__ = (
        "_buffer",
        "_discarding",
        "_error",
        "_negotiation",
        "_on_selected",
        "_pump",
        "_reader",
        "_remote_eof",
        "_waiting_for_protocol",
        "_writer",
        "connection",
        "local_eof",
        "outbound",
        "protocol",
        "stream_id",
    )

    def __init__(self, pump: Pump, connection: Connection, stream_id: int, *, outbound: bool) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.outbound = outbound
        self.protocol = ""
        self.local_eof = False
        self._pump = pump
        self._buffer = ReceiveBuffer()
        self._remote_eof = False
        self._discarding = False
        self._error: PeerstackError | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._negotiation: Dialer | Listener | None = None
        self._on_selected: Callable[[Stream], None] | None = None
        self._waiting_for_protocol: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<Stream {self.stream_id} {self.protocol or 'unnegotiated'} {'to' if self.outbound else 'from'} {self.peer_id}>"

    # reading

    @property
    def peer_id(self) -> PeerId:
        """The authenticated peer at the other end."""
        return self.connection.peer_id

    @property
    def closed(self) -> bool:
        """Whether both directions have ended."""
        return self._error is not None or (self.local_eof and self._remote_eof)

    async def read(self, n: int = 65536) -> bytes:
        """Read up to `n` bytes, waiting for at least one; ``b""`` is the end of the stream."""
        if n <= 0:
            raise ValueError(f"read at least one byte, not {n}")
        if not self._buffer.size or self._negotiation is not None:
            await self._readable(1)
            if not self._buffer.size:
                return b""
        elif self._reader is not None:
            raise StreamBusy("another task is reading this stream")
        data, credit = self._buffer.take_chunk(n)
        if credit:
            self._pump.credit(self, credit)
        return data

    async def readexactly(self, n: int) -> bytes:
        """Read exactly `n` bytes; nothing is taken from the stream before all of them are there."""
        if n == 0:
            return b""
        if not await self._readable(n):
            partial = self._take(self._buffer.size)
            raise IncompleteRead(f"the stream ended after {len(partial)} of {n} bytes", partial=partial)
        return self._take(n)

    async def readuntil(self, separator: bytes = b"\n", *, limit: int = 65536) -> bytes:
        """Read up to and including `separator`, within `limit` bytes."""
        searched = 0
        while True:
            found = self._buffer.peek(limit).find(separator, max(0, searched - len(separator) + 1))
            if found >= 0:
                return self._take(found + len(separator))
            searched = self._buffer.size
            if searched >= limit:
                raise MessageTooLarge(f"no {separator!r} within {limit} bytes")
            if not await self._readable(searched + 1):
                partial = self._take(self._buffer.size)
                raise IncompleteRead(f"the stream ended before {separator!r}", partial=partial)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.read()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read_message(self, message_type: type[MessageT], *, limit: int = 1 << 20) -> MessageT | None:
        """Read one varint-length-prefixed protobuf message of at most `limit` bytes; None at a clean end."""
        from google.protobuf.message import DecodeError

        have = 1
        while True:
            if not await self._readable(have):
                if not self._buffer.size:
                    return None
                raise IncompleteRead("the stream ended inside a message's length", partial=self._take(self._buffer.size))
            head = self._buffer.peek(_MAX_VARINT_BYTES)
            length = varint.decode(head, 0, max_bytes=_MAX_VARINT_BYTES)
            if length is not None:
                break
            have = len(head) + 1
        size, prefix = length
        if size > limit:
            raise MessageTooLarge(f"a message of {size} bytes, over the {limit} allowed")
        body = (await self.readexactly(prefix + size))[prefix:]
        message = message_type()
        try:
            message.ParseFromString(body)
        except (DecodeError, ValueError) as error:
            raise InvalidMessage(f"not a {message_type.__name__}: {error}") from error
        return message

    async def _readable(self, count: int) -> bool:
        """Wait until `count` bytes are buffered; False when the stream ended in order before."""
        if self._reader is not None:
            raise StreamBusy("another task is reading this stream")
        buffer = self._buffer
        while buffer.size < count or self._negotiation is not None:
            if self._remote_eof and not isinstance(self._error, StreamReset):
                return False
            if self._error is not None:
                raise self._error
            if self._discarding:
                raise StreamClosed("this stream was closed")
            if buffer.size:
                self._pump.credit(self, buffer.claim())
            self._reader = self._pump.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return True

    def _take(self, count: int) -> bytes:
        data, credit = self._buffer.take(count)
        if credit:
            self._pump.credit(self, credit)
        return data

    # writing

    async def write(self, data: bytes | bytearray | memoryview, *, eof: bool = False) -> None:
        """Write all of `data`, waiting while the peer is slow. With `eof` the write side ends with the last byte's frame."""
        self._check_writable()
        owned = data if type(data) is bytes else bytes(data)  # the caller may reuse its buffer
        taken = self._pump.write(self, owned, eof=eof)
        if taken < len(owned):
            await self._write_rest(memoryview(owned)[taken:], eof=eof)

    async def _write_rest(self, rest: memoryview, *, eof: bool) -> None:
        try:
            while rest:
                await self._writable()
                taken = self._pump.write(self, rest, eof=eof)
                rest = rest[taken:]
        except asyncio.CancelledError:
            self.reset()  # a part is on its way: what follows would make no sense
            raise

    async def write_message(self, message: Message, *, eof: bool = False) -> None:
        """Write one varint-length-prefixed protobuf message, whole or not at all."""
        self._check_writable()
        body = message.SerializeToString()
        framed = varint.encode(len(body)) + body
        while not self._pump.has_room(self):
            await self._writable()
        self._pump.write(self, framed, eof=eof, whole=True)

    def write_eof(self) -> None:
        """End our direction after what was written; reading goes on."""
        if self.local_eof or self._error is not None:
            return
        self._pump.finish(self)

    def _check_writable(self) -> None:
        if self._error is not None:
            raise self._error
        if self.local_eof:
            raise StreamClosed("the write side of this stream was closed before")
        if self._writer is not None:
            raise StreamBusy("another task is writing this stream")

    async def _writable(self) -> None:
        self._writer = self._pump.loop.create_future()
        try:
            await self._writer
        finally:
            self._writer = None
        if self._error is not None:
            raise self._error

    # ending

    async def close(self) -> None:
        """End both directions in order: what was written still arrives, what comes is discarded."""
        refusal = self._error
        if refusal is None:
            self.write_eof()
            if self._negotiation is not None:
                await self._selected()
            self._discarding = True
            self._pump.credit(self, self._buffer.clear())
            if self._reader is not None:
                _wake(self._reader)
        elif isinstance(refusal, NegotiationFailed):
            raise refusal

    def reset(self, error_code: int = 0) -> None:
        """End both directions at once; unsent and unread bytes are lost. Idempotent."""
        if not self.closed:
            self._pump.reset(self, error_code)
            self.failed(StreamReset(remote=False, error_code=error_code))

    async def negotiated(self) -> str:
        """Wait until the remote agreed on the protocol; return it.

        Raises:
            ProtocolNotSupported: It speaks none of those proposed.
            NegotiationFailed: It closed, broke the rules, or took too long.
        """
        if self._error is not None:
            raise self._error
        if self._negotiation is not None:
            await self._selected()
        return self.protocol

    async def _selected(self) -> None:
        waiter = self._pump.loop.create_future()
        self._waiting_for_protocol.append(waiter)
        await waiter
        if self._error is not None:
            raise self._error

    # negotiation: for the pump (outbound) and the dispatcher (inbound)

    def propose(self, protocols: Sequence[str], *, optimistic: bool) -> None:
        """Begin to negotiate as the dialer."""
        self.protocol = protocols[0]
        self._negotiate(Dialer(protocols, optimistic=optimistic))

    def listen(self, supports: Callable[[str], bool], on_selected: Callable[[Stream], None]) -> None:
        """Begin to negotiate as the listener; `on_selected` is called once a protocol is agreed."""
        self._on_selected = on_selected
        self._negotiate(Listener(supports))

    @property
    def negotiating(self) -> bool:
        """Whether the protocol is still open."""
        return self._negotiation is not None

    def _negotiate(self, machine: Dialer | Listener) -> None:
        self._negotiation = machine
        for piece in machine.take_output(0):
            self._pump.queue(self, piece)

    def _feed_negotiation(self, machine: Dialer | Listener, data: Buffer) -> None:
        now = self._pump.loop.time()
        machine.feed(data, now)
        for piece in machine.take_output(0):
            self._pump.queue(self, piece)
        kept = 0
        for event in machine.take_events():
            if isinstance(event, ProtocolSelected):
                rest = machine.take_rest()
                kept = len(rest)
                if rest:
                    self._buffer.append(rest)
                self._protocol_selected(event.protocol)
            else:
                self._pump.reset(self, 0)
                self.failed(event.error)
        self._pump.credit(self, len(data) - kept)

    def _protocol_selected(self, protocol: str) -> None:
        self.protocol = protocol
        self._negotiation = None
        if self._on_selected is not None:
            self._on_selected(self)
        self._wake_protocol_waiters()
        if self._reader is not None and self._buffer.size:
            _wake(self._reader)

    def _wake_protocol_waiters(self) -> None:
        waiters, self._waiting_for_protocol = self._waiting_for_protocol, []
        for waiter in waiters:
            _wake(waiter)

    # what the pump tells

    def data_received(self, data: Buffer) -> None:
        """Bytes of the stream arrived."""
        if self._negotiation is not None:
            self._feed_negotiation(self._negotiation, data)
        elif self._discarding:
            self._pump.credit(self, len(data))
        else:
            self._buffer.append(data)
            if self._reader is not None:
                _wake(self._reader)

    def eof_received(self) -> None:
        """The remote ended its direction."""
        if self._negotiation is not None:
            self._pump.reset(self, 0)
            self.failed(NegotiationFailed(f"the remote closed the stream before it agreed on {self.protocol or 'a protocol'}"))
            return
        self._remote_eof = True
        if self._reader is not None:
            _wake(self._reader)

    @property
    def remote_eof(self) -> bool:
        """Whether the remote ended its direction."""
        return self._remote_eof

    def became_writable(self) -> None:
        """The muxer takes bytes again."""
        if self._writer is not None:
            _wake(self._writer)

    def failed(self, error: PeerstackError) -> None:
        """Both directions ended out of order; what was received in order before a lost connection stays readable."""
        if self._error is not None:
            return
        if self._remote_eof and self.local_eof:
            return
        self._error = error
        self._negotiation = None
        if isinstance(error, StreamReset):
            self._buffer.clear()
        for waiter in (self._reader, self._writer):
            if waiter is not None:
                _wake(waiter)
        self._wake_protocol_waiters()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
