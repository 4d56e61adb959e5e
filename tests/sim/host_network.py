"""Whole hosts on one memory network in virtual time, with the face of `tests.sim.node_network`: identify, Noise, yamux, and the plugin."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from peerstack_chord.node import ChordNode
from peerstack_kad.node import KademliaNode

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.geometry import Geometry
from peerstack.net.memory import MemoryNetwork
from peerstack.testing.message_network import LinkModel
from tests.sim.chord_network import SimulatedChord, stand_of
from tests.sim.history import Snapshot
from tests.sim.host_node import Disk, HostNode, name_of
from tests.sim.kad_network import SimulatedKademlia, table_of
from tests.sim.numbered_network import NodeOptions, NumberedNetwork

__all__ = ["HostNetwork", "HostNode"]

_LATENCY_S = (0.005, 0.02)
_CONTACTS = 3


_GEOMETRIES: Final[Mapping[str, Geometry]] = {"kad": SimulatedKademlia.geometry, "chord": SimulatedChord.geometry}


@dataclass(slots=True)
class MessageCount:
    """What the network carried."""

    messages: int = 0


class HostNetwork(NumberedNetwork[HostNode]):
    """A network of hosts.

    Connections carry what is sent through them once and in order, or break. So how bad links are (a `LinkModel`) means here: every
    direction of a connection takes as long as a message may, always; and once the network is assembled a connection breaks in any
    second with the chance with which a message would be lost. Across a link that works one way only nobody dials, and of a connection
    that was there half is silent.

    Args:
        seed: Same seed, same run.
        parameters: The network's.
        dht: Of its plugin.
        links: How bad they are; None is not bad.

    Attributes:
        seed: Same seed, same run.
        parameters: The network's.
        dht_name: Of its plugin.
        memory: What they run on.
        messages: Not counted.
        trace: Not kept.
    """

    def __init__(self, seed: int, *, parameters: NetworkParameters, dht: str = "kad", links: LinkModel | None = None) -> None:
        self.seed = seed
        self.dht_name = dht
        super().__init__(parameters)
        self._links = links or LinkModel()
        self._latencies = random.Random(f"latencies of hosts {seed}")
        self.memory = MemoryNetwork(seed=seed, latency_s=_LATENCY_S if self._links == LinkModel() else self._latency)
        self.messages = MessageCount()
        self.trace = ""
        self._disks: dict[int, Disk] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def assemble(self, size: int, *, options: Callable[[int], NodeOptions] = lambda _number: NodeOptions()) -> None:
        """Start `size` servers, one after the other."""
        for number in range(size):
            await self.add(options(number))
        if self._links.loss:
            self.memory.let_break(1 / self._links.loss)

    def slow_down(self, number: int, seconds: float) -> None:
        """See `NumberedNetwork.slow_down`: whatever it sends leaves later."""
        self.memory.slow_down(name_of(number), seconds)

    def cut(self, source: int, target: int) -> None:
        """See `NumberedNetwork.cut`: what is sent is held back, and neither reaches the other anew."""
        self.memory.cut(name_of(source), name_of(target))

    def mend_links(self) -> None:
        """See `NumberedNetwork.mend_links`: connections break no more, and new ones are fast."""
        self._links = LinkModel()
        self.memory.let_break(None)

    def _latency(self, _sender: str, _receiver: str) -> float:
        if self._links == LinkModel():
            return self._latencies.uniform(*_LATENCY_S)
        return self._latencies.uniform(self._links.latency_s, self._links.latency_s + 2 * self._links.jitter_s)

    def contacts_of(self, number: int) -> list[str]:
        """Who is at hand for a host that starts."""
        return [node.address for node in self.nodes if node.is_up and node.number != number][:_CONTACTS]

    def disk_of(self, number: int, options: NodeOptions) -> Disk:
        """The disk of a host, with all it remembers, if its record store is one from before; else a new one."""
        disk = self._disks.get(number)
        if disk is None or options.store is None:
            disk = self._disks[number] = Disk(options.limits)
        disk.store = options.store
        return disk

    async def crash(self, number: int) -> None:
        """Kill a server and its machine."""
        self.memory.crash(self.nodes[number].name, reset=False)
        await self.nodes[number].crash()

    async def restart(self, number: int) -> None:
        """Start it again with an empty store; wait until its word counts."""
        await self.revive(number, replace(self.nodes[number].options, store=None))

    async def restart_with_disk(self, *numbers: int) -> None:
        """Start servers again, at once, with what they held."""
        for number in numbers:
            before = self.nodes[number]
            await self.revive(number, replace(before.options, store=before.store), wait=False)
        for number in numbers:
            await self.until_ready(self.nodes[number])

    def go(self, number: int) -> None:
        """Take a server that has left away."""
        self._spawn(self.nodes[number].close())

    async def partition(self, *sides: set[int]) -> None:
        """Cut."""
        self.memory.partition(*([self.nodes[number].name for number in sorted(side)] for side in sides))

    async def heal(self) -> None:
        """Undo."""
        self.memory.heal()

    async def close(self) -> None:
        """Stop everything."""
        await asyncio.gather(*self._tasks)
        for node in (*self.clients, *self.nodes):
            if node.is_up:
                await node.close()

    def take_down(self, snapshot: Snapshot) -> None:
        """Add to a snapshot what each server that runs knows of the others."""
        numbers = {peer: node.number for peer, node in self.by_peer.items()}
        for number in self.up():
            node = self.nodes[number].node
            if isinstance(node, KademliaNode):
                snapshot.tables.append(table_of(node, number, numbers))
            elif isinstance(node, ChordNode):
                snapshot.stands.append(stand_of(node, number, numbers))

    @property
    def geometry(self) -> Geometry:
        """Who is close to what."""
        return _GEOMETRIES[self.dht_name]

    def make(self, number: int, options: NodeOptions, *, serving: bool = True, incarnation: int = 0) -> HostNode:
        """Make a server or a client, without starting it."""
        return HostNode(self, number, options, serving=serving, incarnation=incarnation)

    def begin(self, node: HostNode) -> None:
        """Open the host."""
        self._spawn(node.start())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
