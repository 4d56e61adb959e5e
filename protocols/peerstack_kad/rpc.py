"""The `rpc` seam over streams: one long-lived stream per peer and direction, many requests in flight on it.

On our own protocol ids a request carries an id and is answered whenever its answer is ready: a slow store never blocks a FIND_NODE. On
foreign ids answers come in order, a refused request resets the stream (go, js and rust do that), so writes have a stream of their own,
reads that were cut off are retried once, and a request nobody waits for any more keeps its slot until its answer has come and is discarded.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peerstack.addresses import AddressCache
from peerstack.errors import (
    Closed,
    ConnectionLost,
    DeadlineExceeded,
    InvalidAddress,
    InvalidMessage,
    LimitExceeded,
    PeerstackError,
    ProtocolViolation,
)
from peerstack.identity import PeerId
from peerstack.plugin import PluginContext, Stream
from peerstack.wire import varint
from peerstack_kad.codec import MAX_MESSAGE_BYTES, Codec, ReplyFrame, RequestFrame
from peerstack_kad.keys import Contact
from peerstack_kad.messages import PutValue, Reply, Request
from peerstack_kad.seam import Respond, RpcDone

if TYPE_CHECKING:
    from peerstack_kad.pb.kad_pb2 import Message

__all__ = ["RpcLimits", "StreamRpc"]

_ADDRESS_TTL_S: Final = 1800.0

Serve = Callable[[PeerId, Request, Respond], None]
"""``(sender, request, respond)``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RpcLimits:
    """Bounds of one node's requests."""

    max_channels: int = 512
    """Streams we keep open to others."""
    max_in_flight: int = 256
    """Requests without an answer on one stream, either way."""
    idle_s: float = 30.0
    """A stream of ours without requests is closed after this."""
    served_idle_s: float = 120.0
    """A stream of somebody else's on which nothing comes is closed after this."""


@dataclass(slots=True, eq=False)
class _Pending:
    request: Request
    done: RpcDone | None  # None: nobody waits any more, the answer only has to be passed over
    cancel_timer: Callable[[], None]
    retried: bool = False


class _Outbox:
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


class StreamRpc:
    """Sends requests over streams, and serves those of others.

    Args:
        context: The plugin's.
        protocol_id: What streams are opened for.
        codec: Writes and reads messages; says whether the id is our own.
        serve: Answers requests.
        parameters: The network's, encoded: sent with the first answer on a stream of our own id.
        on_parameters: Given those of others; returns why they are refused.
    """

    def __init__(
        self,
        context: PluginContext,
        protocol_id: str,
        codec: Codec,
        serve: Serve,
        *,
        parameters: Callable[[], bytes],
        on_parameters: Callable[[PeerId, bytes], PeerstackError | None],
        limits: RpcLimits | None = None,
    ) -> None:
        self.context = context
        self.protocol_id = protocol_id
        self.codec = codec
        self.limits = limits or RpcLimits()
        self.on_parameters = on_parameters
        self._serve = serve
        self._parameters = parameters
        self._addresses = AddressCache()
        self._channels: dict[tuple[PeerId, bool], _Channel] = {}  # with whether it is for writes alone
        self._closed = False

    def request(self, peer: Contact, message: Request, timeout: float, done: RpcDone) -> None:
        """See `peerstack_kad.seam.Rpc.request`."""
        pending = _Pending(message, done, lambda: None)
        error = self._refusal(peer, message)
        if error is not None:
            pending.cancel_timer = self.context.call_later(0, lambda: finish(pending, error, self.context.time()))
            return
        late = DeadlineExceeded(f"{peer.peer_id} did not answer within {timeout:g} s")
        pending.cancel_timer = self.context.call_later(timeout, lambda: finish(pending, late, self.context.time()))
        self._channel(peer, message).send(pending)

    async def handle(self, stream: Stream) -> None:
        """Serve one stream until its end."""
        await _Served(self, stream, self._serve, self._parameters() if self.codec.own_fields else b"").run()

    def close(self) -> None:
        """Reset all streams; whoever waits is told."""
        self._closed = True
        for channel in list(self._channels.values()):
            channel.end(Closed("the DHT is stopping"))

    def forget(self, channel: _Channel) -> None:
        """A channel ended."""
        if self._channels.get(channel.key) is channel:
            del self._channels[channel.key]

    def retry(self, peer: Contact, pending: _Pending) -> None:
        """Send a request once more, on a new stream."""
        pending.retried = True
        self._channel(peer, pending.request).send(pending)

    def _refusal(self, peer: Contact, message: Request) -> PeerstackError | None:
        if self._closed:
            return Closed("the DHT has stopped")
        channel = self._channels.get(self._key(peer, message))
        if channel is not None:
            if channel.in_flight >= self.limits.max_in_flight:
                channel.tidy()
            if channel.in_flight >= self.limits.max_in_flight:
                return LimitExceeded("max_in_flight", f"{peer.peer_id} owes us {channel.in_flight} answers")
            return None
        if len(self._channels) >= self.limits.max_channels:
            idle = next((each for each in self._channels.values() if not each.in_flight), None)
            if idle is None:
                return LimitExceeded("max_channels")
            idle.end(ConnectionLost("closed for another stream", remote=False))
        return None

    def _key(self, peer: Contact, message: Request) -> tuple[PeerId, bool]:
        return peer.peer_id, not self.codec.own_fields and isinstance(message, PutValue)

    def _channel(self, peer: Contact, message: Request) -> _Channel:
        key = self._key(peer, message)
        channel = self._channels.pop(key, None)
        if channel is None:
            self._introduce(peer)
            channel = _Channel(self, peer, key)
            self.context.spawn(channel.run(), name=f"requests to {peer.peer_id}")
        self._channels[key] = channel  # the most recently used last
        return channel

    def _introduce(self, peer: Contact) -> None:
        addresses = []
        for data in peer.addresses:
            try:
                addresses.append(self._addresses.from_bytes(data))
            except InvalidAddress:
                continue
        if addresses:
            self.context.add_peer(peer.peer_id, addresses, ttl=_ADDRESS_TTL_S)


def finish(pending: _Pending, outcome: Reply | PeerstackError, now: float) -> None:
    """Tell whoever waits for a request, once."""
    done, pending.done = pending.done, None
    pending.cancel_timer()
    if done is not None:
        done(outcome, now)


class _Channel:
    """Our stream to one peer, and what we wait for on it."""

    def __init__(self, rpc: StreamRpc, peer: Contact, key: tuple[PeerId, bool]) -> None:
        self.key = key
        self._rpc = rpc
        self._peer = peer
        self._ordered = not rpc.codec.own_fields
        self._waiting: dict[int, _Pending] = {}  # in order of sending
        self._next_id = 1
        self._stream: Stream | None = None
        self._outbox: _Outbox | None = None
        self._ended = False
        self._cancel_idle: Callable[[], None] = lambda: None

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def send(self, pending: _Pending) -> None:
        """Send a request as soon as the stream is open."""
        self._cancel_idle()
        request_id = self._next_id
        self._next_id += 1
        self._waiting[request_id] = pending
        if self._outbox is not None:
            self._write(request_id, pending)

    def tidy(self) -> None:
        """Forget requests nobody waits for; where answers come in order, one that owes only those is given up."""
        if not self._ordered:
            self._waiting = {number: pending for number, pending in self._waiting.items() if pending.done is not None}
        elif all(pending.done is None for pending in self._waiting.values()):
            self.end(ConnectionLost("none of many requests was answered", remote=False))

    async def run(self) -> None:
        """Open the stream and read answers until its end."""
        error: PeerstackError = ConnectionLost("the peer closed the stream")
        try:
            self._stream = await self._rpc.context.open_stream(self._peer.peer_id, self._rpc.protocol_id)
            if not self._ended:
                await self._converse(self._stream)
        except PeerstackError as caught:
            error = caught
        except asyncio.CancelledError:
            error = Closed("the DHT is stopping")
            raise
        finally:
            self.end(error)

    def end(self, error: PeerstackError) -> None:
        """Give the stream up: reads on a foreign id that were cut off are tried once more, everybody else is told."""
        self._cancel_idle()
        if self._stream is not None:
            self._stream.reset()
        if self._ended:
            return
        self._ended = True
        self._rpc.forget(self)
        waiting, self._waiting = self._waiting, {}
        now = self._rpc.context.time()
        for pending in waiting.values():
            if pending.done is None:
                continue
            if self._may_retry(pending, error):
                self._rpc.retry(self._peer, pending)
            else:
                finish(pending, error, now)

    async def _converse(self, stream: Stream) -> None:
        from peerstack_kad.pb.kad_pb2 import Message

        self._outbox = _Outbox(stream)
        for request_id, pending in list(self._waiting.items()):
            if pending.done is None:
                del self._waiting[request_id]  # it came too late to be sent at all
            else:
                self._write(request_id, pending)
        while True:
            message = await stream.read_message(Message, limit=MAX_MESSAGE_BYTES)
            if message is None:
                return
            self._take(message)

    def _write(self, request_id: int, pending: _Pending) -> None:
        assert self._outbox is not None
        frame = RequestFrame(pending.request, None if self._ordered else request_id)
        self._outbox.put(self._rpc.codec.encode_request(frame))
        if self._outbox.needs_writer:
            self._rpc.context.spawn(self._flush(self._outbox), name=f"write to {self._peer.peer_id}")

    async def _flush(self, outbox: _Outbox) -> None:
        try:
            await outbox.flush()
        except PeerstackError as error:
            self.end(error)

    def _take(self, message: Message) -> None:
        request_id = next(iter(self._waiting), 0) if self._ordered else message.requestId  # ids start at 1
        if message.parameters:
            refused = self._rpc.on_parameters(self._peer.peer_id, message.parameters)
            if refused is not None:
                raise refused
        pending = self._waiting.pop(request_id, None)
        if pending is None:
            if self._ordered:
                raise ProtocolViolation(f"{self._peer.peer_id} answers what was not asked")
            return  # the answer to a request that was given up
        if pending.done is not None:
            try:
                outcome: Reply | PeerstackError = self._rpc.codec.read_reply(message, pending.request).reply
            except InvalidMessage as error:
                outcome = error
            finish(pending, outcome, self._rpc.context.time())
        if not self._waiting and not self._ended:
            self._cancel_idle()
            self._cancel_idle = self._rpc.context.call_later(self._rpc.limits.idle_s, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._waiting and self._stream is not None:
            self._rpc.forget(self)
            self._stream.write_eof()  # the peer closes its side, and `run` ends

    def _may_retry(self, pending: _Pending, error: PeerstackError) -> bool:
        # A stream that was never opened tells nothing new the second time.
        cut_off = self._outbox is not None and not isinstance(error, Closed)
        return self._ordered and cut_off and not pending.retried and not isinstance(pending.request, PutValue)


class _Served:
    """A stream of somebody else's, and the answers we owe on it."""

    def __init__(self, rpc: StreamRpc, stream: Stream, serve: Serve, parameters: bytes) -> None:
        self._rpc = rpc
        self._stream = stream
        self._serve = serve
        self._parameters = parameters  # until the first answer
        self._outbox = _Outbox(stream)
        self._owed = 0
        self._flushed_soon = False
        self._room = asyncio.Event()

    async def run(self) -> None:
        """Answer until the stream ends; whoever breaks the protocol loses the stream."""
        from peerstack_kad.pb.kad_pb2 import Message

        limits = self._rpc.limits
        try:
            while True:
                async with asyncio.timeout(limits.served_idle_s):
                    message = await self._stream.read_message(Message, limit=MAX_MESSAGE_BYTES)
                if message is None:
                    return
                frame = self._rpc.codec.read_request(message)
                self._owed += 1
                self._flushed_soon = True
                self._serve(self._stream.peer_id, frame.request, self._responder(frame))
                self._flushed_soon = False
                await self._outbox.flush()
                # Without ids answers come in order: one at a time. With ids, as many as are allowed to be owed.
                allowed = 0 if frame.request_id is None else limits.max_in_flight - 1
                while self._owed > allowed:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            return
        except PeerstackError as error:
            self._rpc.context.logger.debug("stream of %s ended: %s", self._stream.peer_id, error)
            self._stream.reset()

    def _responder(self, request: RequestFrame) -> Respond:
        def respond(reply: Reply) -> None:
            self._owed -= 1
            self._room.set()
            if self._rpc.codec.own_fields:
                frame = ReplyFrame(reply, request.request_id, self._parameters)
                self._parameters = b""
                self._outbox.put(self._rpc.codec.encode_reply(frame))
            elif getattr(reply, "refusal", None) is not None:
                self._stream.reset()  # as go, js and rust refuse: there is no field to say why
                return
            else:
                self._outbox.put(self._rpc.codec.encode_echo(request.request, ReplyFrame(reply)))
            if self._outbox.needs_writer and not self._flushed_soon:
                self._rpc.context.spawn(self._flush(), name=f"answer {self._stream.peer_id}")

        return respond

    async def _flush(self) -> None:
        try:
            await self._outbox.flush()
        except PeerstackError:
            self._stream.reset()
