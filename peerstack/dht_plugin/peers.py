"""The peers of a host as a DHT sees them: who serves its network, who has not said so yet, who was refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.node import DhtNode
from peerstack.dht_plugin.network_group import network_group
from peerstack.identity import PeerId
from peerstack.plugin import LocalChanged, PeerConnected, PeerDisconnected, PeerEvent, PeerIdentified, PluginContext

__all__ = ["Peers", "Sender"]

_MAX_REFUSED: Final = 1024
_MAX_STRANGERS: Final = 1024
_MAX_SENDERS: Final = 1024
_LOOKED_AT_S: Final = 5.0  # what is known of who asks is looked up no more often, but with every news of the peer
_IDENTIFY_S: Final = 10.0  # as long as identify itself waits


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """What is known of a peer that asks."""

    contact: Contact
    """As others are told of it."""
    is_server: bool
    """Whether it serves this network."""
    ip_group: bytes
    """The network it sends from."""
    until: float
    """When to look again."""


class Peers:
    """Brings the servers among a host's peers to the node's attention.

    Args:
        context: The plugin's.
        protocol_id: The network.
        node: The node, while it runs.
    """

    def __init__(self, context: PluginContext, protocol_id: str, node: Callable[[], DhtNode | None]) -> None:
        self._context = context
        self._protocol_id = protocol_id
        self._node = node
        self._strangers: dict[PeerId, Callable[[], None]] = {}  # connected, not identified yet; each ends our patience
        self._senders: dict[PeerId, Sender] = {}
        self._refused: dict[PeerId, str] = {}  # servers of a network with other parameters

    def begin(self) -> None:
        """Look at those who are connected already."""
        for peer in self._context.connected_peers():
            self._await_identify(peer)
            self._consider(peer)

    def on_event(self, event: PeerEvent) -> None:
        """Servers of this network are met when they have identified themselves."""
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

    def sender(self, peer_id: PeerId) -> Sender:
        """Who asks; what is known of it may be a second old."""
        sender = self._senders.get(peer_id)
        if sender is None or sender.until < self._context.time():
            sender = self._senders[peer_id] = self._look_at(peer_id)
            if len(self._senders) > _MAX_SENDERS:
                del self._senders[next(iter(self._senders))]
        return sender

    def refuse(self, peer_id: PeerId, why: str) -> None:
        """Take a server for none of this network's."""
        if len(self._refused) < _MAX_REFUSED:
            self._refused[peer_id] = why
        self._senders.pop(peer_id, None)
        if (node := self._node()) is not None:
            node.lose(Contact.of(peer_id))

    def awaited(self) -> str | None:
        """What may still bring a server of this network, in words."""
        if self._strangers:
            return f"{len(self._strangers)} connected peers have not said yet what they serve"
        missing = {address.peer_id for address in self._context.bootstrap} - {self._context.peer_id, *self._context.connected_peers()}
        return f"{len(missing)} bootstrap peers are not reached yet" if missing else None

    def _await_identify(self, peer_id: PeerId) -> None:
        if peer_id not in self._strangers and len(self._strangers) < _MAX_STRANGERS:
            self._strangers[peer_id] = self._context.call_later(_IDENTIFY_S, lambda: self._await_no_more(peer_id))

    def _await_no_more(self, peer_id: PeerId) -> None:
        cancel = self._strangers.pop(peer_id, None)
        if cancel is not None:
            cancel()
        if (node := self._node()) is not None:
            node.readiness.review()

    def _consider(self, peer_id: PeerId) -> None:
        node = self._node()
        if node is None or peer_id in self._refused:
            return
        sender = self._look_at(peer_id)
        if sender.is_server:
            node.meet(sender.contact)
        else:
            node.lose(sender.contact)

    def _look_at(self, peer_id: PeerId) -> Sender:
        info = self._context.peer(peer_id)
        contact = Contact.of(peer_id, () if info is None else tuple(address.to_bytes() for address in info.addresses))
        node = self._node()
        known = None if node is None else node.engine.routing.get(contact.key)
        if known is not None and known.contact.addresses == contact.addresses:
            contact = known.contact
        # By its connections: what it says of itself may be anything.
        remote = tuple(connection.remote_address.to_bytes() for connection in self._context.connections(peer_id))
        return Sender(
            contact=contact,
            is_server=info is not None and self._protocol_id in info.protocols and peer_id not in self._refused,
            ip_group=network_group(remote).encode(),
            until=self._context.time() + _LOOKED_AT_S,
        )
