"""Many Chord nodes in one process, over a message network in virtual time: the plugin unchanged above its `rpc` seam."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

from peerstack_chord.geometry import RingGeometry
from peerstack_chord.messages import Entry, JoinReply, Verdict
from peerstack_chord.node import ChordNode
from peerstack_chord.ring import Member, Mode, State, clockwise

from peerstack.dht.parameters import CHORD_PRESETS
from peerstack.dht.replica.contacts import KEY_BITS
from peerstack.dht.replica.neighbourhood import Member as Counted
from peerstack.dht.replica.settings import NodeParts
from peerstack.identity import PeerId
from tests.sim.history import Snapshot, Stand
from tests.sim.node_network import NetworkNode, NodeOptions, ScenarioNetwork

__all__ = ["SimulatedChord", "stand_of"]


class SimulatedChord(ScenarioNetwork[ChordNode]):
    """A network of Chord nodes."""

    preset = CHORD_PRESETS["local"]
    geometry = RingGeometry()

    def make_node(self, parts: NodeParts, _options: NodeOptions) -> ChordNode:
        """See `SimulatedNetwork.make_node`."""
        return ChordNode(parts)

    def assemble(self, size: int, *, options: Callable[[int], NodeOptions] = lambda _number: NodeOptions()) -> None:
        """See `ScenarioNetwork.assemble`: one ring, on which everybody stands where it belongs, with fingers as if just looked up."""
        for number in range(len(self.nodes), len(self.nodes) + size):
            node = NetworkNode[ChordNode](self, number, options(number))
            self.nodes.append(node)
            self.by_peer[node.contact.peer_id] = node
        order = sorted(self.nodes, key=lambda node: node.contact.key)
        members = [Member(node.contact, node.node.ring.place.own.incarnation) for node in order]
        for index, node in enumerate(order):
            self._settle(node.node, [*members[index + 1 :], *members[:index]])

    def _settle(self, node: ChordNode, others: Sequence[Member]) -> None:
        """Put a node on the ring of these others, in clockwise order."""
        now, hood, ring = self.messages.loop.time(), node.engine.hood, node.ring
        hood.begin_takeover(settled=True)
        hood.members.update((other.key, Counted(other.contact, now)) for other in others)
        hood.end_takeover()
        for key in hood.members:
            node.table.heard(hood.members[key].contact, now)
        node.table.take_met()
        node._joined = True
        node.start([other.contact for other in others[:3]])
        ring._transitions._joiner.stop()
        r = self.parameters.r
        if len(others) <= r:
            ring._transitions.form(1, [Entry(member) for member in (*others, ring.place.own)], confirmed=True)
            return
        ring._transitions.let_in(JoinReply(Verdict.JOINED, State(others[-1], Mode.RING, 1, None, tuple(others[:r]))))
        distances = [clockwise(node.engine.own.key, other.key) for other in others]
        for bit in range(distances[r - 1].bit_length(), KEY_BITS):
            ring.heard(others[bisect_left(distances, 1 << bit) % len(others)].contact)

    def take_down(self, snapshot: Snapshot) -> None:
        """See `ScenarioNetwork.take_down`."""
        numbers = {peer: node.number for peer, node in self.by_peer.items()}
        snapshot.stands += [stand_of(self.nodes[number].node, number, numbers) for number in self.up()]


def stand_of(node: ChordNode, number: int, numbers: Mapping[PeerId, int]) -> Stand:
    """Where a node stands, as the oracle wants it.

    Args:
        node: Whose.
        number: Its number.
        numbers: Everybody's.
    """
    place = node.ring.place
    named = [*(entry.contact for entry in node.table), *node.ring.way.fingers]
    return Stand(
        node=number,
        mode=place.mode.name.lower(),
        predecessor=None if place.predecessor is None else numbers[place.predecessor.contact.peer_id],
        successors=tuple(numbers[member.contact.peer_id] for member in place.successors),
        known=frozenset(numbers[contact.peer_id] for contact in named),
    )
