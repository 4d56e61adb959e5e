"""A `DhtNode` on a host's streams, clock and timers: what is the same in every DHT's plugin."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from peerstack.dht.contract import LeaveReport
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Request
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.persistence import NodeState
from peerstack.dht.replica.seam import Respond
from peerstack.dht.replica.settings import NodeParts, NodeSettings
from peerstack.dht.store import RecordStore, Rules
from peerstack.dht_plugin.calls import DhtCalls
from peerstack.dht_plugin.host_parts import HostOutside, HostSigner
from peerstack.dht_plugin.peers import Peers, Sender
from peerstack.errors import Closed, ConfigError, PeerstackError
from peerstack.identity import PeerId
from peerstack.plugin import PeerEvent, PluginContext, ProtocolPlugin, Stream
from peerstack.rpc.codec import Codec
from peerstack.rpc.streams import RpcLimits, StreamRpc

__all__ = ["DhtPlugin"]

NodeT = TypeVar("NodeT", bound=DhtNode)


class DhtPlugin(DhtCalls, ProtocolPlugin, Generic[NodeT]):
    """A DHT's plugin. A host that listens serves; one that does not is a client.

    Args:
        protocol_id: The network.
        parameters: The network's; a client adopts those of the network it meets.
        namespaces: Known to every server of the network.
    """

    needs = ("identify",)
    serve_at_start = False

    def __init__(self, protocol_id: str, parameters: NetworkParameters, namespaces: Namespaces) -> None:
        self.ids = (protocol_id,)
        self._parameters = parameters
        self._namespaces = namespaces
        self._adopted = False
        self._context: PluginContext | None = None
        self._peers: Peers | None = None
        self._rpc: StreamRpc | None = None
        self._node: NodeT | None = None
        self._store: RecordStore | None = None

    # -- what a DHT adds

    @abstractmethod
    def _make_node(self, parts: NodeParts) -> NodeT:
        """The node."""

    @abstractmethod
    def _make_codec(self) -> Codec[Any]:
        """Its messages."""

    def _is_to_serve(self, context: PluginContext) -> bool:
        """Whether the node is a server."""
        return context.listening

    def _node_made(self, context: PluginContext) -> None:
        """Begin what goes beside the node; it has not started yet."""

    def _stopping(self) -> None:
        """End what goes beside the node."""

    def _serve(self, sender: Sender, request: Request, respond: Respond) -> None:
        """Answer a request."""
        self.node.serve(sender.contact, request, respond, is_server=sender.is_server, ip_group=sender.ip_group)

    # -- life

    @property
    def node(self) -> NodeT:
        """The node.

        Raises:
            Closed: The host is not running.
        """
        if self._node is None:
            raise Closed("the DHT is not running: the host is not open")
        return self._node

    @property
    def parameters(self) -> NetworkParameters:
        """The network's parameters, as far as they are known."""
        return self._parameters

    async def start(self, context: PluginContext) -> None:
        """Begin: serve if the host listens, and join by way of whoever identifies as a server of this network."""
        self._context = context
        peers = self._peers = Peers(context, self.ids[0], lambda: self._node)
        name = f"{context.name} {self.ids[0]}"  # what belongs to one network is nothing in another
        self._store = context.storage.record_store(name, Rules(namespaces=self._namespaces, parameters=self._parameters))
        self._rpc = StreamRpc(
            context,
            self.ids[0],
            self._make_codec(),
            lambda peer_id, request, respond: self._serve(peers.sender(peer_id), request, respond),
            parameters=lambda: self._parameters.encode(),
            on_parameters=self._compare_parameters,
            limits=RpcLimits(),
        )
        settings = NodeSettings(
            parameters=self._parameters,
            namespaces=self._namespaces,
            serving=self._is_to_serve(context),
            founder=not any(address.peer_id != context.peer_id for address in context.bootstrap),
            warn=context.logger.warning,
            uncertain=self._took_over_without_majority,
            state=NodeState(context.storage.side_table(name)),
            count=context.metrics.count,
            awaited=peers.awaited,
        )
        self._node = self._make_node(
            NodeParts(
                own=Contact.of(context.peer_id, tuple(address.to_bytes() for address in context.addresses)),
                signer=HostSigner(context),
                store=self._store,
                rpc=self._rpc,
                outside=HostOutside(context),
                settings=settings,
            )
        )
        self._node_made(context)
        if context.listening:
            context.register(*self.ids)
        self._node.start()
        peers.begin()

    async def stop(self) -> None:
        """End. What was not handed over by `leave` is missing from the network until others repair it, or this node is back."""
        self._stopping()
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
        """See `peerstack.plugin.ProtocolPlugin.on_peer`."""
        if self._peers is not None:
            self._peers.on_event(event)

    def _took_over_without_majority(self) -> None:
        assert self._context is not None
        self._context.metrics.count("takeovers_without_majority")
        self._context.logger.info(
            "took over from everybody who answered, without a majority of every set: several nodes joined or restarted"
        )

    def _compare_parameters(self, peer_id: PeerId, encoded: bytes) -> PeerstackError | None:
        """What the first answer on a stream said of the network: a client adopts it, a server insists on its own."""
        assert self._context is not None
        assert self._peers is not None
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
            self._peers.refuse(peer_id, str(error))
            self._context.logger.warning("%s", error)
            return error
        return None
