"""The seam's requests over streams: one long-lived stream per peer and direction, many requests in flight on it.

On our own protocol ids a request carries an id and is answered whenever its answer is ready: a slow store never blocks a look-up. Where
answers come in order instead, a refused request resets the stream (as libp2p's DHTs do), so writes have a stream of their own, and what is
not answered at all has one for each time. Which of this holds is the codec's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from peerstack.addresses import AddressCache
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Request
from peerstack.dht.replica.seam import RpcDone
from peerstack.errors import Closed, ConfigError, ConnectionLost, InvalidAddress, LimitExceeded, PeerstackError
from peerstack.identity import PeerId
from peerstack.plugin import PluginContext, Stream
from peerstack.rpc.announcing import Announcer
from peerstack.rpc.channel import Channel, Pending, finish, too_late
from peerstack.rpc.codec import Codec
from peerstack.rpc.served import Serve, ServedStream

__all__ = ["RpcLimits", "StreamRpc"]

_ADDRESS_TTL_S: Final = 1800.0


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
        codec: Writes and reads messages; says how the id goes about it.
        serve: Answers requests.
        parameters: The network's, encoded: sent with the first answer on a stream of our own id.
        on_parameters: Given those of others; returns why they are refused.
    """

    def __init__(
        self,
        context: PluginContext,
        protocol_id: str,
        codec: Codec[Any],
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
        pending = Pending(message, done, timeout, self.context.time() + timeout)
        announcement = self.codec.announcement(message)
        error = self._refusal(peer, message, announced=announcement is not None)
        if error is not None:
            pending.cancel_timer = self.context.call_later(0, lambda: finish(pending, error, self.context.time()))
            return
        if announcement is not None:
            late = too_late(pending, peer)
            pending.cancel_timer = self.context.call_later(timeout, lambda: finish(pending, late, self.context.time()))
            self._announce(peer, announcement, pending)
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

    def _refusal(self, peer: Contact, message: Request, *, announced: bool) -> PeerstackError | None:
        if self._closed:
            return Closed("the DHT has stopped")
        if not self.codec.speaks(message):
            return ConfigError(f"{self.protocol_id} has no {type(message).__name__}")
        announcer = self._announcers.get(peer.peer_id)
        if announced and announcer is not None and announcer.waiting >= self.limits.max_in_flight:
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
        return peer.peer_id, self.codec.is_write(message)

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
