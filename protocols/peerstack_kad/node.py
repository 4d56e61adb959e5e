"""One Kademlia node above the `rpc` seam: a `DhtNode` with a routing table of buckets, joined by a lookup of its own position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.locating import Locate
from peerstack.dht.replica.messages import FindNode, Ping, Request
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.seam import Respond
from peerstack.dht.replica.settings import NodeParts
from peerstack.dht.replica.topology import describe, describe_peer
from peerstack_kad.buckets import Admission, ContactAdded, ContactRemoved, PingContact
from peerstack_kad.geometry import XorGeometry
from peerstack_kad.maintenance import Refresher
from peerstack_kad.routing import KademliaRouting

__all__ = ["KademliaNode", "KademliaRules"]

_JOIN_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class KademliaRules:
    """How a Kademlia node goes about it, beside its `peerstack.dht.replica.settings.NodeSettings`."""

    parallelism: int = 10
    """Requests a lookup has under way at once."""
    disjoint_paths: int = 1
    """Paths of a lookup that share no peer."""
    admission: Admission | None = None
    """Who is let into the routing table; None is everybody."""
    positions: bool = True
    """Whether others can be asked for a point of the key space without a key there: on our own protocol ids."""


class KademliaNode(DhtNode):
    """A server or client of one Kademlia network.

    Attributes:
        table: Its routing table.
    """

    def __init__(self, parts: NodeParts, rules: KademliaRules | None = None) -> None:
        """Make a node; it does nothing before `start`."""
        rules = rules or KademliaRules()
        self.table = KademliaRouting(
            parts.own.key,
            parts.settings.parameters,
            parallelism=rules.parallelism,
            paths=rules.disjoint_paths,
            admission=rules.admission,
        )
        super().__init__(parts, geometry=XorGeometry(), routing=self.table)
        self._positions = rules.positions
        self._refresher = Refresher(self.engine, self.table, self._attend)

    def stop(self) -> None:
        """End all timers; nothing is asked any more."""
        self._refresher.stop()
        super().stop()

    def serve(self, sender: Contact, request: Request, respond: Respond, *, is_server: bool, ip_group: bytes = b"") -> None:
        """See `DhtNode.serve`. A stranger's ping has nobody pinged to make room: it may have been sent for just such a reason."""
        self.table.probing = not isinstance(request, Ping)
        super().serve(sender, request, respond, is_server=is_server, ip_group=ip_group)
        self.table.probing = True

    def topology(self) -> dict[str, Any]:
        """The routing table and the neighbourhood as plain data."""
        buckets = [
            {"prefix": index, "peers": [describe_peer(self.engine, entry) for entry in self.table.bucket(index)]}
            for index in range(self.table.depth)
        ]
        return {**describe(self.engine, "kademlia"), "buckets": [bucket for bucket in buckets if bucket["peers"]]}

    def _join(self) -> None:
        own, parameters = self.engine.own, self.engine.parameters
        request = FindNode(own.peer_id.to_bytes(), own.key)
        count = max(parameters.k, 2 * parameters.replicas)
        Locate(self.engine, request, count=count, trace=False, timeout=_JOIN_TIMEOUT_S, finished=self._located).start()

    def _located(self, locate: Locate) -> None:
        others = [contact for contact in locate.contacts if contact.key != self.engine.own.key]
        if self._found_surroundings(others) and self._positions:
            self._refresher.thin()

    def _attend(self) -> None:
        """See to the pings wanted, to who is new and to who fell silent."""
        for event in self.table.take_events():
            if isinstance(event, PingContact):
                self.engine.ask(event.contact, Ping(), lambda _reply, _now: None)
            elif isinstance(event, ContactAdded):
                self.acquaintances.heard(event.contact.key)
                self.membership.consider(event.contact)
            elif isinstance(event, ContactRemoved) and event.silent:
                self.acquaintances.lost(event.contact)

    def _set_timers(self) -> None:
        self._timers.every("refresh", self.engine.parameters.forget_s, self._refresh_stale)

    def _refresh_stale(self) -> None:
        if self._positions:
            self._refresher.due(self._outside.time() - self.engine.parameters.forget_s)
