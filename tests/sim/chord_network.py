"""Many Chord nodes in one process, over a message network in virtual time: the plugin unchanged above its `rpc` seam."""

from __future__ import annotations

from collections.abc import Iterable

from peerstack_chord.geometry import RingGeometry
from peerstack_chord.node import ChordNode

from peerstack.dht.parameters import CHORD_PRESETS
from peerstack.dht.replica.contacts import key_of
from peerstack.dht.replica.geometry import closest
from peerstack.dht.replica.settings import NodeParts
from tests.sim.node_network import NodeOptions, SimulatedNetwork

__all__ = ["SimulatedChord"]


class SimulatedChord(SimulatedNetwork[ChordNode]):
    """A network of Chord nodes."""

    preset = CHORD_PRESETS["local"]

    def make_node(self, parts: NodeParts, _options: NodeOptions) -> ChordNode:
        """See `SimulatedNetwork.make_node`."""
        return ChordNode(parts)

    def responsible(self, position: int, servers: Iterable[int], count: int) -> list[int]:
        """The first servers from a position on, by brute force."""
        by_key = {key_of(self.peer_id(number)): number for number in servers}
        return [by_key[key] for key in closest(RingGeometry(), by_key, position, count)]
