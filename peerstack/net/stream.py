"""Awaitable read, write, write_eof, close and reset over one stream of a connection's muxer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
from peerstack.net.stored_errors import fresh
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
_BATCHES_PER_TURN: Final = 8  # 1 MiB; after every single batch it would cost a fifth of the throughput


class Stream:
    """One stream. The upper half is for applications (`peerstack.plugin.Stream`), the lower half for the pump."""

    __slots__ = (
        "_buffer",
        "_discarding",
        "_eof_held",
        "_error",
        "_held",
        "_negotiation",
        "_on_selected",
        "_pump",
        "_reader",
        "_refused",
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
        self._discarding = False  # nobody reads any more
        self._held = False  # nothing may be sent before the protocol is agreed
        self._eof_held = False
        self._refused = False  # the remote ended it before the protocol was agreed
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

    async def read(self, n: int = 65536) -> bytes:
        """Read up to `n` bytes, waiting for at least one; ``b""`` is the end of the stream."""
        if n <= 0:
            raise ValueError(f"read at least one byte, not {n}")
        if (not self._buffer.size or self._reader is not None) and not await self._readable(1):
            return b""
        data, credit = self._buffer.take_chunk(n)
        if credit:
            self._pump.credit(self, credit)
        if self._remote_eof and self.over:
            self._pump.forget(self)
        return data

    async def readexactly(self, n: int) -> bytes:
        """Read exactly `n` bytes; nothing is taken from the stream before all of them are there."""
        if n < 0:
            raise ValueError(f"cannot read {n} bytes")
        if n == 0:
            return b""
        if not await self._readable(n):
            partial = self._take(self._buffer.size)
            raise IncompleteRead(f"the stream ended after {len(partial)} of {n} bytes", partial=partial)
        return self._take(n)

    async def readuntil(self, separator: bytes = b"\n", *, limit: int = 65536) -> bytes:
        """Read up to and including `separator`, within `limit` bytes."""
        if not separator:
            raise ValueError("the separator must have at least one byte")
        if self._reader is not None:
            raise StreamBusy("another task is reading this stream")
        start = 0  # no separator begins before this
        while True:
            found = self._buffer.peek(start, limit).find(separator)
            if found >= 0:
                return self._take(start + found + len(separator))
            size = self._buffer.size
            if size >= limit:
                raise MessageTooLarge(f"no {separator!r} within {limit} bytes")
            start = max(0, size - len(separator) + 1)
            if not await self._readable(size + 1):
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
        buffer = self._buffer
        have = 1
        while True:
            if (buffer.size < have or self._reader is not None) and not await self._readable(have):
                if not buffer.size:
                    return None
                raise IncompleteRead("the stream ended inside a message's length", partial=self._take(buffer.size))
            head = buffer.peek(0, _MAX_VARINT_BYTES)
            length = varint.decode(head, 0, max_bytes=_MAX_VARINT_BYTES)
            if length is not None:
                break
            have = len(head) + 1
        size, prefix = length
        if size > limit:
            raise MessageTooLarge(f"a message of {size} bytes, over the {limit} allowed")
        whole = prefix + size
        body = (self._take(whole) if buffer.size >= whole else await self.readexactly(whole))[prefix:]
        message = message_type()
        try:
            message.ParseFromString(body)
        except (_decode_error(), ValueError) as error:
            raise InvalidMessage(f"not a {message_type.__name__}: {error}") from error
        return message

    async def _readable(self, count: int) -> bool:
        """Wait until `count` bytes are buffered; False when the stream ended in order before."""
        if self._reader is not None:
            raise StreamBusy("another task is reading this stream")
        buffer = self._buffer
        while buffer.size < count or self._negotiation is not None:
            if self._error is not None and not (self._remote_eof and not isinstance(self._error, StreamReset)):
                raise fresh(self._error)
            if self._discarding:
                raise StreamClosed("this stream was closed")
            if self._remote_eof:
                return False
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
        self._consumed(credit)
        return data

    def _consumed(self, credit: int) -> None:
        if credit:
            self._pump.credit(self, credit)
        if self._remote_eof and self.over:
            self._pump.forget(self)

    # writing

    async def write(self, data: bytes | bytearray | memoryview, *, eof: bool = False) -> None:
        """Write all of `data`, waiting while the peer is slow. With `eof` the write side ends with the last byte's frame."""
        self._check_writable()
        if self._held:
            await self._selected()
            self._check_writable()
        owned = data if type(data) is bytes else bytes(data)  # the caller may reuse its buffer
        taken = self._pump.write(self, owned, eof=eof)
        if taken < len(owned):
            await self._write_rest(memoryview(owned)[taken:], eof=eof)
        elif self._pump.batches >= _BATCHES_PER_TURN:
            await self._pump.give_way()

    def write_now(self, data: bytes) -> bool:
        """Write all of `data` if that takes no waiting; False where it does, and nothing was written."""
        self._check_writable()
        if self._held or self._pump.batches >= _BATCHES_PER_TURN or not self._pump.has_room(self):
            return False
        self._pump.write(self, data, whole=True)
        return True

    async def _write_rest(self, rest: memoryview, *, eof: bool) -> None:
        try:
            while rest:
                await self._pause_writing(soon=self._pump.has_room(self))  # what was taken may have left at once
                taken = self._pump.write(self, rest, eof=eof)
                rest = rest[taken:]
        except asyncio.CancelledError:
            self.reset()  # a part is on its way: what follows would make no sense
            raise

    async def write_message(self, message: Message, *, eof: bool = False) -> None:
        """Write one varint-length-prefixed protobuf message, whole or not at all."""
        self._check_writable()
        if self._held:
            await self._selected()
            self._check_writable()
        body = message.SerializeToString()
        framed = varint.encode(len(body)) + body
        while not self._pump.has_room(self):
            await self._pause_writing(soon=False)
        self._pump.write(self, framed, eof=eof, whole=True)
        if self._pump.batches >= _BATCHES_PER_TURN:
            await self._pump.give_way()

    def write_eof(self) -> None:
        """End our direction after what was written; reading goes on."""
        if self.local_eof or self._error is not None:
            return
        if self._writer is not None:
            raise StreamBusy("another task is writing this stream")
        if self._held:
            self._eof_held = True
        else:
            self._pump.finish(self)

    def _check_writable(self) -> None:
        if self._error is not None:
            raise fresh(self._error)
        if self.local_eof or self._eof_held:
            raise StreamClosed("the write side of this stream was closed before")
        if self._writer is not None:
            raise StreamBusy("another task is writing this stream")

    async def _pause_writing(self, *, soon: bool) -> None:
        """Wait until the muxer takes bytes again; with `soon` only until the other tasks had their turn."""
        self._writer = waiter = self._pump.loop.create_future()
        if soon:
            self._pump.loop.call_soon(_wake, waiter)
        try:
            await waiter
        finally:
            self._writer = None
        if self._error is not None:
            raise fresh(self._error)

    # ending

    async def close(self) -> None:
        """End both directions in order: what was written still arrives, what comes is discarded.

        A write that another task still waits for cannot end in order: the stream is reset.
        """
        if self._writer is not None:
            self.reset()
        self._discarding = True
        self._consumed(self._buffer.clear())
        if self._reader is not None:
            _wake(self._reader)
        self.write_eof()
        if self._negotiation is not None:
            await self._settled()
        if self._refused and self._error is not None:
            raise fresh(self._error)

    def reset(self, error_code: int = 0) -> None:
        """End both directions at once; unsent and unread bytes are lost. Idempotent."""
        if self._error is None and not self.over:
            self._pump.reset(self, error_code)
            self.failed(StreamReset(remote=False, error_code=error_code))
        self._buffer.clear()

    async def negotiated(self) -> str:
        """Wait until the remote agreed on the protocol; return it.

        Raises:
            ProtocolNotSupported: It speaks none of those proposed.
            NegotiationFailed: It closed, broke the rules, or took too long.
        """
        if self._error is not None:
            raise fresh(self._error)
        if self._negotiation is not None:
            await self._selected()
        return self.protocol

    async def _selected(self) -> None:
        await self._settled()
        if self._error is not None:
            raise fresh(self._error)

    async def _settled(self) -> None:
        waiter = self._pump.loop.create_future()
        self._waiting_for_protocol.append(waiter)
        await waiter

    # negotiation: for the pump (outbound) and the dispatcher (inbound)

    def propose(self, protocol: str, dialer: Dialer) -> None:
        """Begin to negotiate as the dialer, whose first proposal is `protocol`."""
        self.protocol = protocol
        self._held = not dialer.optimistic
        self._negotiate(dialer)

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
        if output := machine.take_output(0):
            self._pump.queue(self, b"".join(output))

    def _feed_negotiation(self, machine: Dialer | Listener, data: Buffer) -> None:
        now = self._pump.clock()
        machine.feed(data, now)
        if output := machine.take_output(0):
            self._pump.queue(self, b"".join(output))
        kept = 0
        for event in machine.take_events():
            if isinstance(event, ProtocolSelected):
                rest = machine.take_rest()
                if rest and not self._discarding:
                    kept = len(rest)
                    self._buffer.append(rest)
                self._protocol_selected(event.protocol)
            else:
                self._negotiation_failed(event.error)
        self._pump.credit(self, len(data) - kept)

    def _protocol_selected(self, protocol: str) -> None:
        self.protocol = protocol
        self._negotiation = None
        self._held = False
        if self._eof_held:
            self._pump.finish(self)
        if self._on_selected is not None:
            self._on_selected(self)
        self._wake_protocol_waiters()
        if self._reader is not None and self._buffer.size:
            _wake(self._reader)

    def _negotiation_failed(self, error: PeerstackError) -> None:
        if self.outbound:
            self._pump.reset(self, 0)
            self.failed(error)
        else:  # a reset would take our refusal along, which may be on its way
            self._negotiation = None
            self._discarding = True
            self._pump.finish(self)

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
        if self._negotiation is not None and not self.outbound:
            self._negotiation = None
            self._remote_eof = True
            self.write_eof()  # not a reset: the refusal that is on its way must reach a dialer that closed at once
            return
        if self._negotiation is not None:
            self._negotiation_failed(NegotiationFailed(f"the remote closed the stream before it agreed on {self.protocol or 'a protocol'}"))
            if self._error is not None:
                return
        self._remote_eof = True
        if self._reader is not None:
            _wake(self._reader)

    @property
    def over(self) -> bool:
        """Whether both directions ended in order and everything was read: there is nothing left to know."""
        return self._remote_eof and self.local_eof and not self._buffer.size

    def became_writable(self) -> None:
        """The muxer takes bytes again."""
        if self._writer is not None:
            _wake(self._writer)

    def failed(self, error: PeerstackError) -> None:
        """Both directions ended out of order; what was received in order before a lost connection stays readable."""
        if self._error is not None:
            return
        if isinstance(error, StreamReset):
            self._buffer.clear()
        elif self._remote_eof and self.local_eof:
            return
        self._error = error
        if self._negotiation is not None:
            self._negotiation = None
            self._refused = getattr(error, "remote", True)
        for waiter in (self._reader, self._writer):
            if waiter is not None:
                _wake(waiter)
        self._wake_protocol_waiters()


def _decode_error() -> type[Exception]:
    from google.protobuf.message import DecodeError  # looked for where a message is bad, and not with each message

    return DecodeError


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
