"""The plugin: a `KademliaNode` on a host's streams, clock and timers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from peerstack.config import Preset
from peerstack.dht.clock import to_microseconds
from peerstack.dht.contract import LeaveReport
from peerstack.dht.namespaces import Namespace, Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS, NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Request
from peerstack.dht.replica.persistence import NodeState
from peerstack.dht.replica.seam import Respond
from peerstack.dht.store import RecordStore, Rules
from peerstack.errors import Closed, ConfigError, PeerstackError
from peerstack.identity import PeerId, PublicKey
from peerstack.plugin import (
    LocalChanged,
    PeerConnected,
    PeerDisconnected,
    PeerEvent,
    PeerIdentified,
    PluginContext,
    ProtocolLimits,
    ProtocolPlugin,
    Stream,
)
from peerstack.rpc.streams import RpcLimits, StreamRpc
from peerstack_kad.codec import Codec
from peerstack_kad.content import Content
from peerstack_kad.content_calls import ContentCalls
from peerstack_kad.diversity import diverse, network_group
from peerstack_kad.foreign_codec import ForeignCodec
from peerstack_kad.foreign_node import ForeignNode
from peerstack_kad.node import KademliaNode, KademliaSettings
from peerstack_kad.public_namespaces import IpnsNamespace, PublicKeyNamespace
from peerstack_kad.raw_values import RawNamespace, RawNamespaces

__all__ = ["PROTOCOL_ID", "Kademlia"]

PROTOCOL_ID: Final = "/peerstack/kad/1.0.0"
_FOREIGN_PREFIX: Final = "/ipfs/"
_MAX_REFUSED: Final = 1024
_MAX_STRANGERS: Final = 1024
_MAX_SENDERS: Final = 1024
_LOOKED_AT_S: Final = 1.0  # what is known of who asks is looked up that often at most, and with every news of the peer
_IDENTIFY_S: Final = 10.0  # as long as identify itself waits


class _HostOutside:
    """The host's clocks and timers."""

    def __init__(self, context: PluginContext) -> None:
        self.time: Callable[[], float] = context.time
        self.call_later = context.call_later
        self._wall_clock = context.environment.wall_clock
        self.random_bits: Callable[[int], int] = context.environment.random.getrandbits

    def wall_us(self) -> int:
        return to_microseconds(self._wall_clock())


class _HostSigner:
    """The host's identity signs records."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    @property
    def public_key(self) -> PublicKey:
        return self._context.public_key

    def sign(self, data: bytes) -> bytes:
        return self._context.sign(data)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sender:
    """What is known of a peer that asks."""

    contact: Contact
    """As others are told of it."""
    is_server: bool
    """Whether it serves this network."""
    ip_group: bytes
    """The network it sends from."""
    until: float
    """When to look again."""


class Kademlia(ContentCalls, ProtocolPlugin):
    """Kademlia: put and get over the servers of one network. A host that listens serves; one that does not is a client.

    Args:
        config: See `Config`.
        namespaces: The application's own namespaces, known to every server of its network.
        raw_namespaces: On a foreign protocol id: judges of raw values, beside those of ``pk`` and ``ipns``.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """Which network, and how to go about it."""

        preset: Preset = "wan"
        """The network parameters to start from: ``local``, or ``lan`` and ``wan`` (which are one)."""
        protocol_id: str = PROTOCOL_ID
        """The network: nodes with different ids do not know each other."""
        foreign: bool | None = None
        """Whether the network has libp2p's own rules: raw values, messages without our fields. None: ids under ``/ipfs/`` have."""
        parameters: NetworkParameters | None = None
        """Instead of the preset's. All servers of a network must agree on them."""
        parallelism: int = 10
        """Requests a lookup has under way at once."""
        disjoint_paths: int = 1
        """Paths of a lookup that share no peer: more of them find the way past more peers that lie, and ask more peers."""

        def __post_init__(self) -> None:
            if not self.protocol_id.startswith("/"):
                raise ConfigError(f"protocol_id starts with a slash, {self.protocol_id!r} does not")
            if not 1 <= self.parallelism <= 64:
                raise ConfigError(f"parallelism must be 1 to 64, not {self.parallelism}")
            if not 1 <= self.disjoint_paths <= self.parallelism:
                raise ConfigError(f"disjoint_paths must be 1 to parallelism ({self.parallelism}), not {self.disjoint_paths}")

    needs = ("identify",)
    limits = ProtocolLimits(max_streams=4096, max_streams_per_peer=64)  # rust and js open one for every request
    serve_at_start = False

    def __init__(
        self, config: Config | None = None, *, namespaces: Sequence[Namespace] = (), raw_namespaces: Sequence[RawNamespace] = ()
    ) -> None:
        self._config = config or self.Config()
        self.ids = (self._config.protocol_id,)
        self._namespaces = Namespaces(namespaces)
        self._raw_namespaces = RawNamespaces((PublicKeyNamespace(), IpnsNamespace(), *raw_namespaces))
        self._parameters = self._config.parameters or KADEMLIA_PRESETS["local" if self._config.preset == "local" else "wan"]
        self._adopted = False
        self._context: PluginContext | None = None
        self._rpc: StreamRpc | None = None
        self._node: KademliaNode | None = None
        self._content: Content | None = None
        self._store: RecordStore | None = None
        self._strangers: dict[PeerId, Callable[[], None]] = {}  # connected, not identified yet; each ends our patience
        self._senders: dict[PeerId, _Sender] = {}
        self._refused: dict[PeerId, str] = {}  # servers of a network with other parameters

    @property
    def node(self) -> KademliaNode:
        """The node.

        Raises:
            Closed: The host is not running.
        """
        if self._node is None:
            raise Closed("the DHT is not running: the host is not open")
        return self._node

    @property
    def content(self) -> Content:
        """Provider records and raw values.

        Raises:
            Closed: The host is not running.
        """
        if self._content is None:
            raise Closed("the DHT is not running: the host is not open")
        return self._content

    @property
    def parameters(self) -> NetworkParameters:
        """The network's parameters, as far as they are known."""
        return self._parameters

    async def start(self, context: PluginContext) -> None:
        """Begin: serve if the host listens, and join by way of whoever identifies as a server of this network."""
        self._context = context
        foreign = self._config.foreign
        own_id = not (self._config.protocol_id.startswith(_FOREIGN_PREFIX) if foreign is None else foreign)
        name = f"{context.name} {self._config.protocol_id}"  # what belongs to one network is nothing in another
        self._store = context.storage.record_store(name, Rules(namespaces=self._namespaces, parameters=self._parameters))
        self._rpc = StreamRpc(
            context,
            self._config.protocol_id,
            Codec() if own_id else ForeignCodec(),
            self._serve,
            parameters=lambda: self._parameters.encode(),
            on_parameters=self._compare_parameters,
            limits=RpcLimits(),
        )
        addresses = tuple(address.to_bytes() for address in context.addresses)
        self._node = (KademliaNode if own_id else ForeignNode)(
            Contact.of(context.peer_id, addresses),
            signer=_HostSigner(context),
            store=self._store,
            rpc=self._rpc,
            outside=_HostOutside(context),
            settings=KademliaSettings(
                parameters=self._parameters,
                namespaces=self._namespaces,
                serving=context.listening and own_id,
                founder=not any(address.peer_id != context.peer_id for address in context.bootstrap),
                parallelism=self._config.parallelism,
                disjoint_paths=self._config.disjoint_paths,
                admission=None if self._config.preset == "local" else diverse(),
                positions=own_id,
                warn=context.logger.warning,
                uncertain=self._took_over_without_majority,
                state=NodeState(context.storage.side_table(name)),
                count=context.metrics.count,
                awaited=self._awaited,
            ),
        )
        self._content = Content(
            self._node,
            serving=context.listening,
            namespaces=None if own_id else self._raw_namespaces,
            provider_table=context.storage.side_table(f"{context.name} {self._config.protocol_id} providers"),
            value_table=context.storage.side_table(f"{context.name} {self._config.protocol_id} raw values"),
        )
        self._content.start()
        if context.listening:
            context.register(*self.ids)
        self._node.start()
        for peer in context.connected_peers():
            self._await_identify(peer)
            self._consider(peer)

    async def stop(self) -> None:
        """End. What was not handed over by `leave` is missing from the network until others repair it, or this node is back."""
        if self._content is not None:
            self._content.stop()
            self._content = None
        node, self._node = self._node, None
        if node is not None:
            node.stop()
        if self._rpc is not None:
            self._rpc.close()
        self.end_calls(Closed("the DHT is stopping"))
        if self._store is not None:
            await self._store.close()

    async def handle(self, stream: Stream) -> None:
        """Serve another node's requests."""
        if self._rpc is None or self._node is None:
            stream.reset()
            return
        await self._rpc.handle(stream)

    async def leave(self, *, timeout: float | None = None) -> LeaveReport:
        """See `peerstack.dht.contract.Dht.leave`; afterwards this host serves the network no more."""
        report = await super().leave(timeout=timeout)
        if self._context is not None:
            self._context.unregister(*self.ids)
        return report

    def on_peer(self, event: PeerEvent) -> None:
        """Servers of this network enter the routing table when they have identified themselves."""
        if not isinstance(event, LocalChanged):
            self._senders.pop(event.peer_id, None)
        match event:
            case PeerConnected(peer_id):
                self._await_identify(peer_id)
            case PeerIdentified(peer_id):
                self._consider(peer_id)
                self._await_no_more(peer_id)
            case PeerDisconnected(peer_id):
                self._await_no_more(peer_id)

    def _await_identify(self, peer_id: PeerId) -> None:
        if self._context is not None and peer_id not in self._strangers and len(self._strangers) < _MAX_STRANGERS:
            self._strangers[peer_id] = self._context.call_later(_IDENTIFY_S, lambda: self._await_no_more(peer_id))

    def _await_no_more(self, peer_id: PeerId) -> None:
        cancel = self._strangers.pop(peer_id, None)
        if cancel is not None:
            cancel()
        if self._node is not None:
            self._node.readiness.review()

    def _awaited(self) -> str | None:
        """What may still bring a server of this network."""
        assert self._context is not None
        if self._strangers:
            return f"{len(self._strangers)} connected peers have not said yet what they serve"
        missing = {address.peer_id for address in self._context.bootstrap} - {self._context.peer_id, *self._context.connected_peers()}
        return f"{len(missing)} bootstrap peers are not reached yet" if missing else None

    def _consider(self, peer_id: PeerId) -> None:
        if self._node is None or peer_id in self._refused:
            return
        sender = self._look_at(peer_id)
        if sender.is_server:
            self._node.meet(sender.contact)
        else:
            self._node.lose(sender.contact)

    def _serve(self, peer_id: PeerId, request: Request, respond: Respond) -> None:
        assert self._context is not None
        sender = self._senders.get(peer_id)
        if sender is None or sender.until < self._context.time():
            sender = self._senders[peer_id] = self._look_at(peer_id)
            if len(self._senders) > _MAX_SENDERS:
                del self._senders[next(iter(self._senders))]
        is_server = sender.is_server and peer_id not in self._refused
        if not self.content.serve(sender.contact, request, respond):
            self.node.serve(sender.contact, request, respond, is_server=is_server, ip_group=sender.ip_group)
        elif is_server:
            self.node.meet(sender.contact)

    def _look_at(self, peer_id: PeerId) -> _Sender:
        assert self._context is not None
        info = self._context.peer(peer_id)
        contact = Contact.of(peer_id, () if info is None else tuple(address.to_bytes() for address in info.addresses))
        entry = None if self._node is None else self._node.engine.routing.get(contact.key)
        if entry is not None and entry.contact.addresses == contact.addresses:
            contact = entry.contact
        # By its connections: what it says of itself may be anything.
        remote = tuple(connection.remote_address.to_bytes() for connection in self._context.connections(peer_id))
        return _Sender(
            contact=contact,
            is_server=info is not None and self._config.protocol_id in info.protocols,
            ip_group=network_group(remote).encode(),
            until=self._context.time() + _LOOKED_AT_S,
        )

    def _took_over_without_majority(self) -> None:
        assert self._context is not None
        self._context.metrics.count("takeovers_without_majority")
        self._context.logger.info(
            "took over from everybody who answered, without a majority of every set: several nodes joined or restarted"
        )

    def _compare_parameters(self, peer_id: PeerId, encoded: bytes) -> PeerstackError | None:
        """What the first answer on a stream said of the network: a client adopts it, a server insists on its own."""
        assert self._context is not None
        try:
            theirs = NetworkParameters.decode(encoded)
            if theirs == self._parameters:
                return None
            if not self._context.listening and not self._adopted and self._node is not None:
                self._adopted = True
                self._parameters = theirs
                self._node.engine.adopt(theirs)
                return None
            self._parameters.check(theirs, str(peer_id))
        except ConfigError as error:
            if len(self._refused) < _MAX_REFUSED:
                self._refused[peer_id] = str(error)
            if self._node is not None:
                self._node.lose(Contact.of(peer_id))
            self._context.logger.warning("%s", error)
            return error
        return None
