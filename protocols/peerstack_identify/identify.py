"""``/ipfs/id/1.0.0`` and ``/ipfs/id/push/1.0.0``.

Each side asks the other once a connection is up; what it learns stands in the peer book, and the other plugins hear of it. When the host
starts or stops to serve a protocol, its peers are told by a push.

Source: https://github.com/libp2p/specs/blob/master/identify/README.md
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from peerstack import PeerId, ProtocolLimits, ProtocolPlugin, Stream
from peerstack.errors import Closed, PeerstackError, ProtocolNotSupported
from peerstack.plugin import LocalChanged, PeerConnected, PeerEvent, PeerIdentified, PluginContext
from peerstack_identify import messages
from peerstack_identify.messages import Identity
from peerstack_identify.pb.identify_pb2 import Identify as IdentifyMessage

__all__ = ["IDENTIFY", "PUSH", "Identify"]

IDENTIFY: Final = "/ipfs/id/1.0.0"
PUSH: Final = "/ipfs/id/push/1.0.0"


class Identify(ProtocolPlugin):
    """Tells who we are and learns who others are."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Whom to ask, how long to wait, and how to remember."""

        ask: bool = True
        """Whether each new peer is asked; without, only `Identify.identify` asks."""
        timeout_s: float = 10.0
        """For one exchange."""
        address_ttl_s: float = 3600.0
        """How long the addresses a peer tells are remembered."""
        push_delay_s: float = 0.1
        """Changes within this time make one push."""

    ids = (IDENTIFY, PUSH)
    limits = ProtocolLimits(max_streams=2048, max_streams_per_peer=8)

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or self.Config()
        self._context: PluginContext | None = None
        self._asking: dict[PeerId, asyncio.Future[Identity]] = {}
        self._push_pending = False

    async def start(self, context: PluginContext) -> None:
        """Begin."""
        self._context = context

    async def stop(self) -> None:
        """End."""
        self._context = None

    async def handle(self, stream: Stream) -> None:
        """Answer an identify, or take a push."""
        context = self._context
        if context is None:
            stream.reset()
        elif stream.protocol == IDENTIFY:
            async with asyncio.timeout(self._config.timeout_s):
                await stream.write_message(self._about_us(context, stream), eof=True)
        else:
            await self._learn(context, stream)

    def on_peer(self, event: PeerEvent) -> None:
        """Ask who a new peer is; tell peers what changed here."""
        context = self._context
        if context is None:
            return
        if isinstance(event, PeerConnected):
            if self._config.ask:
                context.spawn(self._ask(context, event.peer_id), name=f"ask {event.peer_id}")
        elif isinstance(event, LocalChanged) and not self._push_pending:
            self._push_pending = True
            context.call_later(self._config.push_delay_s, self._push_to_all)

    async def identify(self, peer_id: PeerId) -> Identity:
        """Ask a peer who it is, and remember the answer.

        Raises:
            DialError: It cannot be reached.
            ProtocolNotSupported: It does not tell.
            ProtocolViolation: It claims another key than the one it proved.
            TimeoutError: It took too long.
        """
        context = self._context
        if context is None:
            raise Closed("identify is not running: the host is not open")
        answer = self._asking.get(peer_id)
        if answer is None:  # js resets a second stream while the first one is open, so whoever asks meanwhile shares the answer
            answer = self._asking[peer_id] = asyncio.get_running_loop().create_future()
            context.spawn(self._fetch(context, peer_id, answer), name=f"identify {peer_id}")
        return await asyncio.shield(answer)

    async def _fetch(self, context: PluginContext, peer_id: PeerId, answer: asyncio.Future[Identity]) -> None:
        try:
            async with context.open(peer_id, IDENTIFY, timeout=self._config.timeout_s) as stream:
                identity = await self._learn(context, stream)
        except (PeerstackError, TimeoutError, EOFError) as error:
            answer.set_exception(error)
            answer.exception()  # whoever asked may have gone
        else:
            answer.set_result(identity)
        finally:
            del self._asking[peer_id]
            answer.cancel()  # without effect on an answer that is there

    def _about_us(self, context: PluginContext, stream: Stream) -> IdentifyMessage:
        return messages.encode(
            public_key=context.public_key,
            addresses=context.addresses,
            protocols=context.protocols,
            agent=context.agent,
            observed=stream.connection.remote_address,
        )

    async def _learn(self, context: PluginContext, stream: Stream) -> Identity:
        parts: list[IdentifyMessage] = []
        left = messages.MAX_MESSAGE_BYTES
        async with asyncio.timeout(self._config.timeout_s):
            while len(parts) < messages.MAX_MESSAGES:
                part = await stream.read_message(IdentifyMessage, limit=left)
                if part is None:
                    break
                parts.append(part)
                left -= part.ByteSize()
        identity = messages.decode(parts, expected=stream.connection.public_key)
        self._remember(context, stream.peer_id, identity)
        return identity

    def _remember(self, context: PluginContext, peer_id: PeerId, identity: Identity) -> None:
        context.add_peer(
            peer_id, identity.addresses or (), ttl=self._config.address_ttl_s, protocols=identity.protocols, agent=identity.agent
        )
        known = context.peer(peer_id)
        if known is not None:
            context.announce(PeerIdentified(peer_id, known.protocols, known.addresses))

    async def _ask(self, context: PluginContext, peer_id: PeerId) -> None:
        try:
            await self.identify(peer_id)
        except (PeerstackError, TimeoutError, EOFError) as error:
            context.logger.info("%s did not identify itself: %s", peer_id, error)
            context.metrics.count("failed")

    def _push_to_all(self) -> None:
        self._push_pending = False
        context = self._context
        if context is None:
            return
        for peer_id in context.connected_peers():
            known = context.peer(peer_id)
            if known is not None and PUSH in known.protocols:
                context.spawn(self._push(context, peer_id), name=f"push to {peer_id}")

    async def _push(self, context: PluginContext, peer_id: PeerId) -> None:
        try:
            async with context.open(peer_id, PUSH, timeout=self._config.timeout_s) as stream:
                await stream.write_message(self._about_us(context, stream), eof=True)
        except ProtocolNotSupported:
            return
        except (PeerstackError, TimeoutError) as error:
            context.logger.info("could not tell %s what changed: %s", peer_id, error)
