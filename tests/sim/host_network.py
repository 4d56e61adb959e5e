"""Whole hosts on one memory network in virtual time, with the face of `tests.sim.node_network`: identify, Noise, yamux, and the plugin."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from peerstack_chord import Chord
from peerstack_chord.node import ChordNode
from peerstack_kad import Kademlia
from peerstack_kad.node import KademliaNode

from peerstack import Host, PrivateKey, preset
from peerstack.dht.clock import to_microseconds
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.geometry import Geometry
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.persistence import NodeState
from peerstack.dht.store import MemoryStorage, MemoryStore, RecordStore, Rules
from peerstack.dht_plugin.plugin import DhtPlugin
from peerstack.errors import Closed
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.testing.virtual_time import seeded_environment, wall_clock
from tests.sim.chord_network import SimulatedChord, stand_of
from tests.sim.history import Snapshot
from tests.sim.kad_network import SimulatedKademlia, table_of
from tests.sim.numbered_network import NodeOptions, Numbered, NumberedNetwork

__all__ = ["HostNetwork", "HostNode"]

_LATENCY_S = (0.005, 0.02)
_CONTACTS = 3


Make = Callable[[NetworkParameters, NodeOptions], DhtPlugin[Any]]

_PLUGINS: Final[Mapping[str, Make]] = {
    "kad": lambda parameters, options: Kademlia(
        Kademlia.Config(preset="local", parameters=parameters, disjoint_paths=options.disjoint_paths)
    ),
    "chord": lambda parameters, _options: Chord(Chord.Config(preset="local", parameters=parameters)),
}
_GEOMETRIES: Final[Mapping[str, Geometry]] = {"kad": SimulatedKademlia.geometry, "chord": SimulatedChord.geometry}


class _KeptStore(MemoryStore):
    """Outlives the host that closes it."""

    async def close(self) -> None:
        """Nothing is let go."""


class _Disk(MemoryStorage):
    """A disk in virtual time, with the record store that a node's options name."""

    def __init__(self, store: RecordStore | None) -> None:
        super().__init__()
        self.store = store

    def record_store(self, name: str, rules: Rules) -> MemoryStore:
        """The only one there is."""
        if self.store is None:
            self.store = _KeptStore(rules)
        return self.store  # type: ignore[return-value]  # a record store by its contract, whatever its class

    async def close(self) -> None:
        """Nothing is let go."""


@dataclass(frozen=True, slots=True)
class HostOutside:
    """What the oracle wants to know of a host's surroundings."""

    timers: int = 0
    """Not counted: a host's timers are those of its loop."""

    def wall_us(self) -> int:
        """The virtual wall clock."""
        return to_microseconds(wall_clock())


@dataclass(slots=True)
class MessageCount:
    """What the network carried."""

    messages: int = 0


@dataclass(slots=True)
class _OpenRequests:
    open: int = 0
    """Not counted."""


class HostNode(Numbered):
    """One host with a DHT's plugin."""

    def __init__(self, network: HostNetwork, number: int, options: NodeOptions, *, serving: bool = True, incarnation: int = 0) -> None:
        self.number = number
        self.serving = serving
        self.incarnation = incarnation
        self.options = options
        self.outside = HostOutside()
        self.rpc = _OpenRequests()
        self.key = options.identity or PrivateKey.from_seed(hashlib.sha256(f"host {number} of {network.seed}".encode()).digest())
        self.contact = Contact.of(self.key.peer_id)
        self.disk = network.disk_of(number, options)
        self.state: NodeState | None = None
        self.name = f"host {number}"
        self._plugin = _PLUGINS[network.dht_name](network.parameters, options)
        self._host = Host(
            identity=self.key,
            listen=[f"/memory/{number + 1}"] if serving else [],
            bootstrap=network.contacts_of(number),
            protocols=[self._plugin],
            config=preset(
                "local",
                transports=(MemoryTransport(network.memory, node=self.name),),
                environment=seeded_environment(f"{network.seed} {number} {incarnation}"),
                storage=self.disk,
            ),
        )
        self._up = False

    @property
    def node(self) -> DhtNode:
        """The node."""
        if not self._up:
            raise Closed("the host is down")
        node: DhtNode = self._plugin.node
        return node

    @property
    def store(self) -> RecordStore:
        """What it holds."""
        assert self.disk.store is not None
        return self.disk.store

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._up

    @property
    def is_ready(self) -> bool:
        """Whether its word counts."""
        return self._up and self.node.ready

    @property
    def address(self) -> str:
        """Where it is reached."""
        return f"/memory/{self.number + 1}/p2p/{self.key.peer_id}"

    async def start(self) -> None:
        """Open the host."""
        await self._host.start()
        self._up = True

    async def crash(self) -> None:
        """End it without a word: nothing graceful could leave any more."""
        self._up = False
        closing = asyncio.create_task(self._host.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])

    async def close(self) -> None:
        """Close the host in order."""
        self._up = False
        await self._host.close()


class HostNetwork(NumberedNetwork[HostNode]):
    """A network of hosts.

    Attributes:
        seed: Same seed, same run.
        parameters: The network's.
        dht_name: Of its plugin.
        memory: What they run on.
        messages: Not counted.
        trace: Not kept.
    """

    def __init__(self, seed: int, *, parameters: NetworkParameters, dht: str = "kad") -> None:
        self.seed = seed
        self.dht_name = dht
        super().__init__(parameters)
        self.memory = MemoryNetwork(seed=seed, latency_s=_LATENCY_S)
        self.messages = MessageCount()
        self.trace = ""
        self._disks: dict[int, _Disk] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def assemble(self, size: int, *, options: Callable[[int], NodeOptions] = lambda _number: NodeOptions()) -> None:
        """Start `size` servers, one after the other."""
        for number in range(size):
            await self.add(options(number))

    def contacts_of(self, number: int) -> list[str]:
        """Who is at hand for a host that starts."""
        return [node.address for node in self.nodes if node.is_up and node.number != number][:_CONTACTS]

    def disk_of(self, number: int, options: NodeOptions) -> _Disk:
        """The disk of a host, with all it remembers, if its record store is one from before; else a new one."""
        disk = self._disks.get(number)
        if disk is None or options.store is None:
            disk = self._disks[number] = _Disk(None)
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
