"""The plugin: a `KademliaNode` on a host, and beside it what it does for content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from peerstack.config import Preset
from peerstack.dht.namespaces import Namespace, Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS, NetworkParameters
from peerstack.dht.replica.messages import Request
from peerstack.dht.replica.seam import Respond
from peerstack.dht.replica.settings import NodeParts
from peerstack.dht_plugin.peers import Sender
from peerstack.dht_plugin.plugin import DhtPlugin
from peerstack.errors import Closed, ConfigError
from peerstack.plugin import PluginContext, ProtocolLimits
from peerstack_kad.codec import Codec
from peerstack_kad.content import Content
from peerstack_kad.content_calls import ContentCalls
from peerstack_kad.diversity import diverse
from peerstack_kad.foreign_codec import ForeignCodec
from peerstack_kad.foreign_node import ForeignNode
from peerstack_kad.node import KademliaNode, KademliaRules
from peerstack_kad.public_namespaces import IpnsNamespace, PublicKeyNamespace
from peerstack_kad.raw_values import RawNamespace, RawNamespaces

__all__ = ["PROTOCOL_ID", "Kademlia"]

PROTOCOL_ID: Final = "/peerstack/kad/1.0.0"
_FOREIGN_PREFIX: Final = "/ipfs/"


class Kademlia(ContentCalls, DhtPlugin[KademliaNode]):
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

    limits = ProtocolLimits(max_streams=4096, max_streams_per_peer=64)  # rust and js open one for every request

    def __init__(
        self, config: Config | None = None, *, namespaces: Sequence[Namespace] = (), raw_namespaces: Sequence[RawNamespace] = ()
    ) -> None:
        self._config = config or self.Config()
        parameters = self._config.parameters or KADEMLIA_PRESETS["local" if self._config.preset == "local" else "wan"]
        super().__init__(self._config.protocol_id, parameters, Namespaces(namespaces))
        self._raw_namespaces = RawNamespaces((PublicKeyNamespace(), IpnsNamespace(), *raw_namespaces))
        self._content: Content | None = None
        foreign = self._config.foreign
        self._own_id = not (self._config.protocol_id.startswith(_FOREIGN_PREFIX) if foreign is None else foreign)

    @property
    def content(self) -> Content:
        """Provider records and raw values.

        Raises:
            Closed: The host is not running.
        """
        if self._content is None:
            raise Closed("the DHT is not running: the host is not open")
        return self._content

    def _make_node(self, parts: NodeParts) -> KademliaNode:
        rules = KademliaRules(
            parallelism=self._config.parallelism,
            disjoint_paths=self._config.disjoint_paths,
            admission=None if self._config.preset == "local" else diverse(),
            positions=self._own_id,
        )
        return (KademliaNode if self._own_id else ForeignNode)(parts, rules)

    def _make_codec(self) -> Codec | ForeignCodec:
        return Codec() if self._own_id else ForeignCodec()

    def _is_to_serve(self, context: PluginContext) -> bool:
        return context.listening and self._own_id

    def _node_made(self, context: PluginContext) -> None:
        name = f"{context.name} {self._config.protocol_id}"
        self._content = Content(
            self.node,
            serving=context.listening,
            namespaces=None if self._own_id else self._raw_namespaces,
            provider_table=context.storage.side_table(f"{name} providers"),
            value_table=context.storage.side_table(f"{name} raw values"),
        )
        self._content.start()

    def _stopping(self) -> None:
        if self._content is not None:
            self._content.stop()
            self._content = None

    def _serve(self, sender: Sender, request: Request, respond: Respond) -> None:
        if not self.content.serve(sender.contact, request, respond):
            super()._serve(sender, request, respond)
        elif sender.is_server:
            self.node.meet(sender.contact)
