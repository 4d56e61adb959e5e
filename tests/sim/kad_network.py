"""Many Kademlia nodes in one process, over a message network in virtual time: the plugin unchanged above its `rpc` seam."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

from peerstack_kad.geometry import XorGeometry
from peerstack_kad.keys import spread
from peerstack_kad.node import KademliaNode, KademliaRules

from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.replica.contacts import KEY_BITS, Contact
from peerstack.dht.replica.neighbourhood import Member
from peerstack.dht.replica.settings import NodeParts
from peerstack.identity import PeerId
from tests.sim.history import Snapshot, Table
from tests.sim.node_network import LoopOutside, NetworkNode, NodeOptions, ScenarioNetwork, Serve

__all__ = ["LoopOutside", "NodeOptions", "Serve", "SimulatedKademlia", "SimulatedNode", "table_of"]

SimulatedNode = NetworkNode[KademliaNode]

_MOMENTS = 1024


class _Crowd:
    """Everybody, in the order of their positions, so that the range of a bucket is a slice."""

    def __init__(self, contacts: dict[int, Contact], chance: random.Random) -> None:
        self._contacts = contacts
        self._order = sorted(contacts)
        self._chance = chance

    def acquaint(self, node: KademliaNode, moments: Sequence[float]) -> None:
        """Let a node know whom it would know, each heard of last at one of these moments (shared: a float each would be 5 kB per node)."""
        own, hood, table = node.engine.own.key, node.engine.hood, node.table
        buckets = self._buckets(own)
        hood.begin_takeover(settled=True)
        closer = 0
        for keys in reversed(buckets):  # one bucket more than it may want: it lets go of what lies too far
            hood.members.update((key, Member(self._contacts[key], self._chance.choice(moments))) for key in keys)
            if closer >= hood.size and len(keys) >= 2 * hood.replicas:
                break
            closer += len(keys)
        hood.end_takeover()
        hood.members = {key: hood.members[key] for key in list(hood.members)}  # in no more room than it takes
        hood.end_takeover()  # once more: what it noted of those let go is let go as well
        heard: list[tuple[float, int]] = []
        for keys in buckets:
            near_by = bool(keys) and hood.knows(keys[0])
            room = max(node.engine.parameters.k, table.neighbourhood if near_by else 0)
            for key in self._chance.sample(keys, min(room, len(keys))):
                member = hood.members.get(key)
                heard.append((self._chance.choice(moments) if member is None else member.last_heard, key))
        for at, key in sorted(heard):
            table.heard(self._contacts[key], at)
        table.take_events()
        node._joined = True

    def _buckets(self, own: int) -> list[list[int]]:
        """All positions that share exactly so many bits with `own`, by that number; up to the closest."""
        order = self._order
        buckets: list[list[int]] = []
        left = len(order) - 1
        while left:
            low = spread(own, len(buckets), 0)
            first, last = bisect_left(order, low), bisect_left(order, low + (1 << (KEY_BITS - len(buckets) - 1)))
            buckets.append(order[first:last])
            left -= last - first
        return buckets


class SimulatedKademlia(ScenarioNetwork[KademliaNode]):
    """A network of Kademlia nodes."""

    preset = KADEMLIA_PRESETS["local"]
    geometry = XorGeometry()

    def make_node(self, parts: NodeParts, options: NodeOptions) -> KademliaNode:
        """See `SimulatedNetwork.make_node`."""
        return KademliaNode(parts, KademliaRules(parallelism=options.parallelism, disjoint_paths=options.disjoint_paths))

    def assemble(self, size: int, *, options: Callable[[int], NodeOptions] = lambda _number: NodeOptions(), long_ago: bool = False) -> None:
        """Start `size` servers that know each other as if they had all joined: for networks too large to grow one by one.

        Routing tables and neighbourhoods are filled by somebody who sees everybody: a node counts all in the buckets closest to it, as
        many as it wants to, and of every other bucket it knows up to k at random.

        Args:
            size: How many.
            options: What each has of its own, by number.
            long_ago: Whether they joined long ago: when they last heard of each other is spread over the time after which they ask, and
                their timers stand anywhere in their periods. Otherwise it is now, and all periods begin.
        """
        for number in range(len(self.nodes), len(self.nodes) + size):
            node = SimulatedNode(self, number, options(number))
            self.nodes.append(node)
            self.by_peer[node.contact.peer_id] = node
        crowd = _Crowd({node.contact.key: node.contact for node in self.nodes}, random.Random(f"assembled {self.seed}"))
        now = self.messages.loop.time()
        # Upkeep asks whom it counts after a pause: long after the beginning they stand anywhere in it.
        spread_s = self.parameters.authority_loss_s / 5
        moments = [now - spread_s * part / _MOMENTS for part in range(_MOMENTS)] if long_ago else [now]
        for node in self.nodes:
            crowd.acquaint(node.node, moments)
            node.outside.mid_period = long_ago
            node.node.start()
            node.outside.mid_period = False

    def take_down(self, snapshot: Snapshot) -> None:
        """See `ScenarioNetwork.take_down`."""
        numbers = {peer: node.number for peer, node in self.by_peer.items()}
        snapshot.tables += [table_of(self.nodes[number].node, number, numbers) for number in self.up()]


def table_of(node: KademliaNode, number: int, numbers: Mapping[PeerId, int]) -> Table:
    """A node's routing table, as the oracle wants it.

    Args:
        node: Whose.
        number: Its number.
        numbers: Everybody's.
    """
    table = node.table
    buckets = {index: tuple(numbers[each.contact.peer_id] for each in table.bucket(index)) for index in range(table.depth)}
    return Table(number, node.engine.own.key, buckets)
