"""Many Kademlia nodes in one process, over a message network in virtual time: the plugin unchanged above its `rpc` seam."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from typing import Any

from peerstack_kad.facade import DhtCalls
from peerstack_kad.keys import Contact
from peerstack_kad.messages import Reply
from peerstack_kad.node import KademliaNode, NodeSettings

from peerstack.dht.clock import to_microseconds
from peerstack.dht.contract import Dht
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import KADEMLIA_PRESETS, NetworkParameters
from peerstack.dht.store import MemoryStore, Rules
from peerstack.errors import Closed, DeadlineExceeded
from peerstack.identity import PeerId, PrivateKey
from peerstack.testing.dht_conformance import DhtNetwork
from peerstack.testing.message_network import LinkModel, MessageNetwork
from peerstack.testing.virtual_time import wall_clock

__all__ = ["LoopOutside", "SimulatedKademlia", "SimulatedNode"]


class LoopOutside:
    """Clocks and timers of the running loop.

    Args:
        seed: Of the random bits.
        skew_s: How far the node's wall clock is ahead.
    """

    def __init__(self, seed: object, *, skew_s: float = 0.0) -> None:
        self._random = random.Random(f"kademlia {seed}")
        self._skew_s = skew_s
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        """Seconds of the loop's clock."""
        return self._loop.time()

    def wall_us(self) -> int:
        """The virtual wall clock."""
        return to_microseconds(wall_clock() + self._skew_s)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Set a timer."""
        return self._loop.call_later(delay, callback).cancel

    def random_bits(self, count: int) -> int:
        """Seeded random bits."""
        return self._random.getrandbits(count)


class SimulatedNode(DhtCalls):
    """One node on a message network.

    Attributes:
        key: Its identity.
        contact: How others know it.
        serving: Whether it is a server.
        incarnation: How often it was restarted.
        store: What it holds.
    """

    def __init__(self, network: SimulatedKademlia, number: int, *, serving: bool = True, incarnation: int = 0, skew_s: float = 0.0) -> None:
        self.key = PrivateKey.from_seed(hashlib.sha256(f"node {number} of {network.seed}".encode()).digest())
        self.contact = Contact.of(self.key.peer_id)
        self.serving = serving
        self.incarnation = incarnation
        self.store = MemoryStore(Rules(namespaces=network.namespaces, parameters=network.parameters))
        self._network = network
        self._up = True
        endpoint = network.messages.attach(self.contact.peer_id, self._handle)
        self._node = KademliaNode(
            self.contact,
            signer=self.key,
            store=self.store,
            rpc=endpoint,
            outside=LoopOutside(f"{network.seed} {number} {incarnation}", skew_s=skew_s),
            settings=NodeSettings(
                parameters=network.parameters, namespaces=network.namespaces, serving=serving, founder=number == 0 and incarnation == 0
            ),
        )

    @property
    def node(self) -> KademliaNode:
        """The node."""
        if not self._up:
            raise Closed("the node is down")
        return self._node

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._up

    def stop(self) -> None:
        """End it."""
        self._up = False
        self._node.stop()

    def _handle(self, sender: PeerId, request: Any, respond: Callable[[Reply], None]) -> None:
        if self.serving and self._up:
            asker = self._network.by_peer[sender]
            self._node.serve(asker.contact, request, respond, is_server=asker.serving)


class SimulatedKademlia(DhtNetwork):
    """A network of them.

    Attributes:
        messages: The message network.
        nodes: Servers, by number.

    Args:
        seed: Same seed, same run.
        parameters: The network's.
        links: How messages travel.
    """

    def __init__(self, seed: int | str = 0, *, parameters: NetworkParameters | None = None, links: LinkModel | None = None) -> None:
        self.seed = seed
        self.parameters = parameters or KADEMLIA_PRESETS["local"]
        self.namespaces = Namespaces()
        self.messages = MessageNetwork(seed, links)
        self.nodes: list[SimulatedNode] = []
        self.by_peer: dict[PeerId, SimulatedNode] = {}
        self._clients: list[SimulatedNode] = []

    @classmethod
    async def open(
        cls, size: int, *, seed: int | str = 0, parameters: NetworkParameters | None = None, links: LinkModel | None = None
    ) -> SimulatedKademlia:
        """Start a network of `size` servers, one after the other."""
        network = cls(seed, parameters=parameters, links=links)
        for _ in range(size):
            await network.add()
        return network

    @property
    def size(self) -> int:
        """Servers ever started."""
        return len(self.nodes)

    def dht(self, number: int) -> SimulatedNode:
        """A server."""
        return self.nodes[number]

    def peer_id(self, number: int) -> PeerId:
        """Its peer id."""
        return self.nodes[number].contact.peer_id

    def start(self, *, skew_s: float = 0.0) -> SimulatedNode:
        """Start a server without waiting for it."""
        node = SimulatedNode(self, len(self.nodes), skew_s=skew_s)
        self.nodes.append(node)
        self._begin(node)
        return node

    async def add(self) -> int:
        """Start a server and wait until its word counts."""
        node = self.start()
        await self._until_ready(node)
        return len(self.nodes) - 1

    async def add_client(self) -> Dht:
        """Start a client."""
        node = SimulatedNode(self, 1_000_000 + len(self._clients), serving=False)
        self._clients.append(node)
        self._begin(node)
        await self._until_ready(node)
        return node

    async def crash(self, number: int) -> None:
        """Kill a server and its machine."""
        self.messages.crash(self.peer_id(number))
        self.nodes[number].stop()

    async def restart(self, number: int) -> None:
        """Start it again with an empty store."""
        node = self.nodes[number] = SimulatedNode(self, number, incarnation=self.nodes[number].incarnation + 1)
        self._begin(node)
        await self._until_ready(node)

    async def leave(self, number: int) -> None:
        """Leave gracefully."""
        await self.nodes[number].leave()
        self.messages.detach(self.peer_id(number))
        self.nodes[number].stop()

    async def partition(self, *sides: set[int]) -> None:
        """Cut."""
        self.messages.partition(*([self.peer_id(number) for number in sorted(side)] for side in sides))

    async def heal(self) -> None:
        """Undo."""
        self.messages.heal()

    async def close(self) -> None:
        """Stop everything."""
        for node in (*self.nodes, *self._clients):
            node.stop()
        await asyncio.sleep(0)

    def _begin(self, node: SimulatedNode) -> None:
        self.by_peer[node.contact.peer_id] = node
        contacts = [other.contact for other in self.nodes if other is not node and other.is_up][:3]
        node.node.start(contacts)

    async def _until_ready(self, node: SimulatedNode) -> None:
        deadline = asyncio.get_running_loop().time() + 3 * self.parameters.forget_s
        while not node.node.ready:
            if asyncio.get_running_loop().time() > deadline:
                raise DeadlineExceeded(f"a node is not ready: {node.node.topology()}")
            await asyncio.sleep(0.05)
