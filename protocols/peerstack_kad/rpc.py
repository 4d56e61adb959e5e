"""The `rpc` seam over streams: one long-lived stream per peer and direction, many requests in flight on it.

On our own protocol ids a request carries an id and is answered whenever its answer is ready: a slow store never blocks a FIND_NODE. On
foreign ids answers come in order and a refused request resets the stream (go, js and rust do that), so PUT_VALUE has a stream of its own
and ADD_PROVIDER, which is not answered at all, one for each time.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from peerstack.addresses import AddressCache
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Request
from peerstack.dht.replica.seam import RpcDone
from peerstack.errors import Closed, ConfigError, ConnectionLost, DeadlineExceeded, InvalidAddress, LimitExceeded, PeerstackError
from peerstack.identity import PeerId
from peerstack.plugin import PluginContext, Stream
from peerstack_kad.announcing import Announcer
from peerstack_kad.channel import Channel, Pending, finish
from peerstack_kad.codec import ReplyFrame, RequestFrame
from peerstack_kad.foreign_codec import ForeignCodec
from peerstack_kad.messages import AddProvider, PutRaw
from peerstack_kad.served import Serve, ServedStream

if TYPE_CHECKING:
    from peerstack_kad.pb.kad_pb2 import Message

__all__ = ["MessageCodec", "RpcLimits", "StreamRpc"]

_ADDRESS_TTL_S: Final = 1800.0


class MessageCodec(Protocol):
    """Writes and reads the messages of one kind of protocol id."""

    ordered: bool
    """Whether answers come in the order of the requests, without ids."""

    def speaks(self, request: Request) -> bool:
        """Whether the protocol id has such requests."""

    def encode_request(self, frame: RequestFrame) -> bytes:
        """Write a request."""

    def read_request(self, message: Message) -> RequestFrame:
        """Read a request.

        Raises:
            InvalidMessage: It is none, or of a type that is not served.
        """

    def encode_answer(self, request: Request, frame: ReplyFrame) -> bytes | None:
        """Write the answer to a request; None for one that is never answered."""

    def read_reply(self, message: Message, request: Request) -> ReplyFrame:
        """Read the answer to a request.

        Raises:
            InvalidMessage: It is none, or none to that request.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class RpcLimits:
    """Bounds of one node's requests."""

    max_channels: int = 512
    """Streams we keep open to others."""
    max_in_flight: int = 256
    """Requests without an answer on one stream, either way."""
    idle_s: float = 30.0
    """A stream of ours without requests is closed after this."""
    served_idle_s: float = 60.0
    """A stream of somebody else's on which nothing comes is closed after this; go's figure."""


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
        codec: MessageCodec,
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
        self._channels: dict[tuple[PeerId, bool], Channel] = {}  # with whether it is for writes alone
        self._announcers: dict[PeerId, Announcer] = {}
        self._closed = False

    def request(self, peer: Contact, message: Request, timeout: float, done: RpcDone) -> None:
        """See `peerstack.dht.replica.seam.Rpc.request`."""
        pending = Pending(message, done, lambda: None)
        error = self._refusal(peer, message)
        if error is not None:
            pending.cancel_timer = self.context.call_later(0, lambda: finish(pending, error, self.context.time()))
            return
        late = DeadlineExceeded(f"{peer.peer_id} did not answer within {timeout:g} s")
        pending.cancel_timer = self.context.call_later(timeout, lambda: finish(pending, late, self.context.time()))
        if isinstance(message, AddProvider) and isinstance(self.codec, ForeignCodec):
            self._announce(peer, self.codec.encode_announcement(message), pending)
        else:
            self._channel(peer, message).send(pending)

    async def handle(self, stream: Stream) -> None:
        """Serve one stream until its end."""
        await ServedStream(self, stream, self._serve, self._parameters() if not self.codec.ordered else b"").run()

    def close(self) -> None:
        """Reset all streams; whoever waits is told."""
        self._closed = True
        for channel in list(self._channels.values()):
            channel.end(Closed("the DHT is stopping"))
        for announcer in self._announcers.values():
            announcer.end(Closed("the DHT is stopping"))

    def forget(self, channel: Channel) -> None:
        """A channel ended."""
        if self._channels.get(channel.key) is channel:
            del self._channels[channel.key]

    def retry(self, peer: Contact, pending: Pending) -> None:
        """Send a request once more, on a new stream."""
        pending.retried = True
        self._channel(peer, pending.request).send(pending)

    def _refusal(self, peer: Contact, message: Request) -> PeerstackError | None:
        if self._closed:
            return Closed("the DHT has stopped")
        if not self.codec.speaks(message):
            return ConfigError(f"{self.protocol_id} has no {type(message).__name__}")
        announcer = self._announcers.get(peer.peer_id)
        if isinstance(message, AddProvider) and announcer is not None and announcer.waiting >= self.limits.max_in_flight:
            return LimitExceeded("max_in_flight", f"{peer.peer_id} is slow to be told {announcer.waiting} things")
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
        return peer.peer_id, self.codec.ordered and isinstance(message, PutRaw)

    def _channel(self, peer: Contact, message: Request) -> Channel:
        key = self._key(peer, message)
        channel = self._channels.pop(key, None)
        if channel is None:
            self._introduce(peer)
            channel = Channel(self, peer, key)
            self.context.spawn(channel.run(), name=f"requests to {peer.peer_id}")
        self._channels[key] = channel  # the most recently used last
        return channel

    def _announce(self, peer: Contact, messages: list[bytes], pending: Pending) -> None:
        announcer = self._announcers.get(peer.peer_id)
        if announcer is None:
            announcer = self._announcers[peer.peer_id] = Announcer(self, peer)
            self._introduce(peer)
            self.context.spawn(self._run_announcer(peer.peer_id, announcer), name=f"announce to {peer.peer_id}")
        announcer.put(messages, pending)

    async def _run_announcer(self, peer_id: PeerId, announcer: Announcer) -> None:
        try:
            await announcer.run()
        finally:
            del self._announcers[peer_id]

    def _introduce(self, peer: Contact) -> None:
        addresses = []
        for data in peer.addresses:
            try:
                addresses.append(self._addresses.from_bytes(data))
            except InvalidAddress:
                continue
        if addresses:
            self.context.add_peer(peer.peer_id, addresses, ttl=_ADDRESS_TTL_S)
