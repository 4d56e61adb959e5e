"""Many Chord nodes in one process, over a message network in virtual time: the plugin unchanged above its `rpc` seam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from peerstack_chord.geometry import RingGeometry
from peerstack_chord.node import ChordNode
from peerstack_kad.node import KademliaNode

from peerstack.dht.replica.contacts import key_of
from peerstack.dht.replica.geometry import closest
from peerstack.dht.replica.settings import NodeParts
from tests.sim.kad_network import NodeOptions, SimulatedKademlia

__all__ = ["SimulatedChord"]


class SimulatedChord(SimulatedKademlia):
    """A network of them."""

    def make_node(self, parts: NodeParts, options: NodeOptions) -> KademliaNode:
        return cast("KademliaNode", ChordNode(parts))

    def responsible(self, position: int, servers: Iterable[int], count: int) -> list[int]:
        by_key = {key_of(self.peer_id(number)): number for number in servers}
        return [by_key[key] for key in closest(RingGeometry(), by_key, position, count)]
