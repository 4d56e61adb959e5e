"""The host: one peer on the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, TypeVar

from peerstack.addresses import Address
from peerstack.config import HostConfig
from peerstack.errors import ConfigError
from peerstack.host.core import Core, Target
from peerstack.host.lifecycle import Lifecycle
from peerstack.host.metrics import HostMetrics
from peerstack.host.registry import Handler, Registration
from peerstack.identity import PeerId, PrivateKey
from peerstack.plugin import ConnectionInfo, PeerEvent, PeerInfo, ProtocolLimits, ProtocolPlugin, Stream

if TYPE_CHECKING:
    from peerstack.dht.contract import Ack, Dht, GetResult, PutResult

__all__ = ["Host"]

HandlerT = TypeVar("HandlerT", bound=Handler)


class Host:
    """A peer: an identity, the connections it has, and the protocols it serves.

    ::

        async with Host(listen=["/ip4/127.0.0.1/tcp/0"]) as host:
            ...

    Args:
        identity: The key pair; None makes a new Ed25519 one.
        listen: Addresses to listen on; a host without any is a full client.
        bootstrap: Peers to stay in touch with, by addresses that end in ``/p2p/<peer id>``.
        protocols: Names of installed plugins, or plugin objects; identify and ping come by themselves.
        config: Everything else.

    Raises:
        ConfigError: The configuration cannot work.
        InvalidAddress: An address is none.
    """

    def __init__(
        self,
        *,
        identity: PrivateKey | None = None,
        listen: str | Address | Sequence[str | Address] = (),
        bootstrap: str | Address | Sequence[str | Address] = (),
        protocols: str | ProtocolPlugin | Sequence[str | ProtocolPlugin] = (),
        config: HostConfig | None = None,
    ) -> None:
        self._config = config or HostConfig()
        identity = identity or PrivateKey.generate(self._config.environment.entropy)
        self._core = Core(identity, self._config)
        requested = (protocols,) if isinstance(protocols, str | ProtocolPlugin) else tuple(protocols)
        self._lifecycle = Lifecycle(self._core, listen=_addresses(listen), bootstrap=_addresses(bootstrap), protocols=requested)

    # life

    async def start(self) -> None:
        """Listen, start the plugins, begin to dial the bootstrap peers. `async with` does it.

        Raises:
            ListenError: An address cannot be listened on; everything is undone.
            PluginError: A plugin cannot be loaded or started; everything is undone.
            Closed: The host was started before.
        """
        await self._lifecycle.start()

    async def close(self) -> None:
        """Stop the plugins, close the connections, end every task; within ``HostConfig.stop_timeout_s``. Idempotent."""
        await self._lifecycle.close()

    async def __aenter__(self) -> Host:
        await self.start()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Host {self.peer_id} {self._lifecycle.state.value}>"

    # who and where

    @property
    def peer_id(self) -> PeerId:
        """This host's peer id."""
        return self._core.peer_id

    @property
    def addrs(self) -> Sequence[Address]:
        """Addresses others reach this host at, with ``/p2p``; empty for a host that does not listen."""
        return tuple(address.with_peer(self.peer_id) for address in self._core.listening.addresses)

    @property
    def config(self) -> HostConfig:
        """What it was configured with."""
        return self._config

    @property
    def metrics(self) -> HostMetrics:
        """Its counters, gauges and distributions."""
        return self._core.metrics

    # protocols

    def protocol(self, *protocol_ids: str, limits: ProtocolLimits | None = None) -> Callable[[HandlerT], HandlerT]:
        """Serve protocol ids with the function decorated: ``async def handler(stream)``. Before or after the start.

        Returning closes the stream; an exception resets it, is logged, and ends nothing else.

        Raises:
            PluginError: An id is served already.
        """
        if not protocol_ids:
            raise ConfigError("name the protocol: @host.protocol('/echo/1.0.0')")

        def serve(handler: HandlerT) -> HandlerT:
            registration = Registration(name=protocol_ids[0], handler=handler, limits=limits or ProtocolLimits())
            for protocol_id in protocol_ids:
                self._core.registry.register(protocol_id, registration)
            return handler

        return serve

    def remove_protocol(self, *protocol_ids: str) -> None:
        """Serve ids of the application no longer; those of plugins stay. Open streams live on."""
        for protocol_id in protocol_ids:
            registration = self._core.registry.find(protocol_id)
            if registration is not None and registration.plugin is None:
                self._core.registry.unregister(protocol_id)

    def protocol_ids(self) -> list[str]:
        """Every id served now, sorted."""
        return self._core.registry.protocol_ids()

    @property
    def plugins(self) -> Mapping[str, ProtocolPlugin]:
        """The plugins by name, in the order they started."""
        plugins = self._lifecycle.plugins
        return plugins.by_name if plugins is not None else MappingProxyType({})

    def plugin(self, name: str) -> ProtocolPlugin:
        """The plugin of a name.

        Raises:
            ConfigError: It is not enabled.
        """
        try:
            return self.plugins[name]
        except KeyError:
            raise ConfigError(f"plugin {name!r} is not enabled: {', '.join(self.plugins) or 'none'} is") from None

    # streams and peers

    def open(
        self, target: Target, protocols: str | Sequence[str], *, timeout: float | None = None, confirm: bool = False
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a stream for a block, dialling if needed. At the end of the block it is closed, on an error reset.

        Where one protocol is proposed, or the peer is known to serve the first, this costs no round trip: a refusal then surfaces as
        `ProtocolNotSupported` from the first read, or from the end of the block.

        Args:
            target: A peer id, an address that ends in ``/p2p/<peer id>``, or the text of either.
            protocols: Protocol ids, the preferred one first.
            timeout: Seconds for dial and negotiation together; None leaves each its own.
            confirm: Wait until the peer has agreed to the protocol.

        Raises:
            DialError: The peer cannot be reached.
            PeerIdMismatch: Somebody else answers at its addresses.
            ProtocolNotSupported: It speaks none of the protocols.
            DeadlineExceeded: `timeout` passed.
            LimitExceeded: A limit of this host.
            Closed: The host is not running.
        """
        return self._core.open(target, protocols, timeout=timeout, confirm=confirm)

    async def open_stream(
        self, target: Target, protocols: str | Sequence[str], *, timeout: float | None = None, confirm: bool = False
    ) -> Stream:
        """As `open`, for a stream that outlives a block: the caller closes or resets it."""
        return await self._core.open_stream(target, protocols, timeout=timeout, confirm=confirm)

    async def connect(self, target: Target, *, timeout: float | None = None) -> ConnectionInfo:
        """The connection to a peer, dialled if there is none. Raises as `open`."""
        return await self._core.connect(target, timeout=timeout)

    async def disconnect(self, peer_id: PeerId) -> int:
        """Close every connection to a peer and wait for that; returns how many there were."""
        connections = self._core.table.of(peer_id)
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.wait_closed()
        return len(connections)

    def connections(self, peer_id: PeerId | None = None) -> Sequence[ConnectionInfo]:
        """The open connections, of one peer or of all."""
        table = self._core.table
        return table.of(peer_id) if peer_id is not None else [each for peer in table.peers() for each in table.of(peer)]

    def peers(self) -> list[PeerInfo]:
        """The connected peers, in the order they came."""
        known = (self._core.peer_info(peer_id) for peer_id in self._core.table.peers())
        return [info for info in known if info is not None]

    def peer(self, peer_id: PeerId) -> PeerInfo | None:
        """What is known of a peer, connected or not."""
        return self._core.peer_info(peer_id)

    def add_peer(self, address: Address | str, *, ttl: float = 3600) -> PeerId:
        """Remember where a peer is, so that it can be reached by its peer id.

        Args:
            address: Ends in ``/p2p/<peer id>``.
            ttl: Seconds to remember it.

        Raises:
            InvalidAddress: It is no address, or names no peer.
        """
        peer_id, given = self._core.parse_target(address)
        self._core.book.add_addresses(peer_id, given, ttl=ttl, given=True)
        return peer_id

    def subscribe(self, listener: Callable[[PeerEvent], None]) -> Callable[[], None]:
        """Call `listener` with every peer event from now on; returns the way to end that. It must not block."""
        return self._core.events.subscribe(f"listener {getattr(listener, '__name__', repr(listener))}", listener)

    # put and get

    def dht(self, name: str | None = None) -> Dht:
        """A DHT by its plugin's name; without a name the default one, which is the first enabled.

        Raises:
            ConfigError: That plugin is not enabled, or is no DHT.
        """
        from peerstack.dht.contract import Dht

        for plugin_name, plugin in self.plugins.items():
            if isinstance(plugin, Dht) and name in (None, plugin_name):
                return plugin
        if name is None:
            raise ConfigError("no DHT is enabled: start the host with protocols=['kad']")
        self.plugin(name)
        raise ConfigError(f"plugin {name!r} is no DHT")

    async def put(
        self,
        key: bytes | str,
        value: bytes,
        *,
        namespace: str = "kv",
        subkey: bytes | str = b"",
        ttl: float | None = None,
        ack: Ack = "majority",
        timeout: float | None = None,
    ) -> PutResult:
        """Write through the default DHT: see `peerstack.dht.Dht.put`."""
        return await self.dht().put(key, value, namespace=namespace, subkey=subkey, ttl=ttl, ack=ack, timeout=timeout)

    async def get(
        self, key: bytes | str, *, namespace: str = "kv", subkey: bytes | str = b"", quorum: int | None = None, timeout: float | None = None
    ) -> GetResult:
        """Read through the default DHT: see `peerstack.dht.Dht.get`."""
        return await self.dht().get(key, namespace=namespace, subkey=subkey, quorum=quorum, timeout=timeout)

    async def delete(
        self, key: bytes | str, *, namespace: str = "kv", subkey: bytes | str = b"", timeout: float | None = None
    ) -> PutResult:
        """Delete through the default DHT: see `peerstack.dht.Dht.delete`."""
        return await self.dht().delete(key, namespace=namespace, subkey=subkey, timeout=timeout)


def _addresses(given: str | Address | Sequence[str | Address]) -> list[Address]:
    several = (given,) if isinstance(given, str | Address) else given
    return [Address.parse(each) if isinstance(each, str) else each for each in several]
