"""One whole host of a simulated network, with what a node's options mean on it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from peerstack_chord import Chord
from peerstack_chord.node import ChordNode
from peerstack_kad import Kademlia
from peerstack_kad.node import KademliaNode

from peerstack import Host, PrivateKey, preset
from peerstack.addresses import Address
from peerstack.dht.clock import to_microseconds
from peerstack.dht.namespaces import Namespace, Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Request
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.persistence import NodeState
from peerstack.dht.replica.seam import Respond
from peerstack.dht.store import MemoryStorage, MemoryStore, RecordStore, Rules, SideTable, StoreLimits
from peerstack.dht_plugin.peers import Sender
from peerstack.dht_plugin.plugin import DhtPlugin
from peerstack.errors import Closed
from peerstack.net.memory import MemoryTransport
from peerstack.testing.virtual_time import seeded_environment, wall_clock
from tests.sim.disk import SlowDisk
from tests.sim.numbered_network import NodeOptions, Numbered

if TYPE_CHECKING:
    from tests.sim.host_network import HostNetwork

__all__ = ["Disk", "HostNode", "name_of"]

NodeT = TypeVar("NodeT", bound=DhtNode)


class _MayMisbehave(DhtPlugin[NodeT]):
    """A plugin that answers as its host's options say.

    Attributes:
        behave: ``(sender, request, respond)`` -> whether it answered in the node's stead.
    """

    behave: Callable[[Contact, Request, Respond], bool]

    def _serve(self, sender: Sender, request: Request, respond: Respond) -> None:
        if not self.behave(sender.contact, request, respond):
            super()._serve(sender, request, respond)


class _Kademlia(_MayMisbehave[KademliaNode], Kademlia):
    pass


class _Chord(_MayMisbehave[ChordNode], Chord):
    pass


def _make_kademlia(parameters: NetworkParameters, options: NodeOptions) -> _Kademlia:
    config = Kademlia.Config(preset="local", parameters=parameters, parallelism=options.parallelism, disjoint_paths=options.disjoint_paths)
    return _Kademlia(config, namespaces=_own_namespaces(options))


def _make_chord(parameters: NetworkParameters, options: NodeOptions) -> _Chord:
    if options.disjoint_paths != 1 or options.parallelism != NodeOptions().parallelism:
        raise ValueError("a host on a ring looks up in one way only: it has no disjoint_paths and no parallelism")
    return _Chord(Chord.Config(preset="local", parameters=parameters), namespaces=_own_namespaces(options))


def _own_namespaces(options: NodeOptions) -> list[Namespace]:
    served, built_in = options.namespaces or Namespaces(), Namespaces()
    return [served[name] for name in served.names if name not in built_in]


_PLUGINS: Final[Mapping[str, Callable[[NetworkParameters, NodeOptions], _MayMisbehave[Any]]]] = {
    "kad": _make_kademlia,
    "chord": _make_chord,
}


class _KeptStore(MemoryStore):
    """Outlives the host that closes it."""

    async def close(self) -> None:
        """Nothing is let go."""


class Disk(MemoryStorage):
    """A disk in virtual time, with the record store that a node's options name, or one of its own within their limits."""

    def __init__(self, limits: StoreLimits | None) -> None:
        super().__init__()
        self.store: RecordStore | None = None
        self._limits = limits or StoreLimits()

    def record_store(self, name: str, rules: Rules) -> MemoryStore:
        """The only one there is."""
        if self.store is None:
            self.store = _KeptStore(replace(rules, limits=self._limits))
        return self.store  # type: ignore[return-value]  # a record store by its contract, whatever its class

    def side_table(self, name: str) -> SideTable:  # type: ignore[override]  # likewise
        """The side table of that name, where the record store is."""
        return self.store.side_table(name) if isinstance(self.store, SlowDisk) else super().side_table(name)

    async def close(self) -> None:
        """Nothing is let go."""


@dataclass(frozen=True, slots=True)
class HostOutside:
    """What the oracle wants to know of a host's surroundings."""

    wall_clock: Callable[[], float]
    timers: int = 0
    """Not counted: a host's timers are those of its loop."""

    def wall_us(self) -> int:
        """The host's own wall clock."""
        return to_microseconds(self.wall_clock())


@dataclass(slots=True)
class _OpenRequests:
    open: int = 0
    """Not counted."""


class HostNode(Numbered):
    """One host with a DHT's plugin."""

    def __init__(self, network: HostNetwork, number: int, options: NodeOptions, *, serving: bool = True, incarnation: int = 0) -> None:
        if options.state is not None:
            raise ValueError("a host remembers by its disk: give it the store from before, not a state")
        self.number = number
        self.serving = serving
        self.incarnation = incarnation
        self.options = options
        environment = seeded_environment(f"{network.seed} {number} {incarnation}")
        environment = replace(environment, wall_clock=lambda: wall_clock() + options.skew_s)
        self.outside = HostOutside(environment.wall_clock)
        self.rpc = _OpenRequests()
        self.key = options.identity or PrivateKey.from_seed(hashlib.sha256(f"host {number} of {network.seed}".encode()).digest())
        place = f"/memory/{number + 1}"
        self.contact = Contact.of(self.key.peer_id, (Address.parse(place).to_bytes(),) if serving else ())
        self.disk = network.disk_of(number, options)
        self.state: NodeState | None = None
        self.name = name_of(number)
        self._plugin = _PLUGINS[network.dht_name](network.parameters, options)
        self._plugin.behave = self._behave
        self._host = Host(
            identity=self.key,
            listen=[place] if serving else [],
            bootstrap=network.contacts_of(number),
            protocols=[self._plugin],
            config=preset(
                "local",
                transports=(MemoryTransport(network.memory, node=self.name),),
                environment=environment,
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

    def _behave(self, sender: Contact, request: Request, respond: Respond) -> bool:
        return self.options.behaviour is not None and self.options.behaviour(self, sender, request, respond)


def name_of(number: int) -> str:
    """What the memory network calls a host."""
    return f"host {number}"
