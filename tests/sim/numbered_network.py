"""What a network of nodes above the RPC seam and one of whole hosts have in common: servers and clients that go by numbers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from peerstack.dht.contract import Dht
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.geometry import Geometry, closest
from peerstack.dht.replica.messages import Reply, Request
from peerstack.dht.replica.persistence import NodeState
from peerstack.dht.store import RecordStore, StoreLimits
from peerstack.dht_plugin.calls import DhtCalls
from peerstack.errors import DeadlineExceeded
from peerstack.identity import PeerId, PrivateKey
from peerstack.testing.dht_conformance import DhtNetwork

__all__ = ["NodeOptions", "Numbered", "NumberedNetwork", "Serve"]

Serve = Callable[[Any, Contact, Request, Callable[[Reply], None]], bool]
"""``(node, sender, request, respond)`` -> whether it answered in the node's stead: how a malicious node behaves. `node` is of whatever kind
the network consists of."""

_FIRST_CLIENT: Final = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOptions:
    """What one node has of its own."""

    identity: PrivateKey | None = None
    skew_s: float = 0.0
    """How far its wall clock is ahead."""
    store: RecordStore | None = None
    """Its disk; None is a new and empty one."""
    state: NodeState | None = None
    """What it remembers beside its records; None is nothing. A host has it with its disk."""
    limits: StoreLimits | None = None
    namespaces: Namespaces | None = None
    """What it serves; None is what the network serves."""
    behaviour: Serve | None = None
    disjoint_paths: int = 1
    parallelism: int = 10
    """Requests of one lookup under way at once."""


class Numbered(DhtCalls, ABC):
    """A server or a client, with the calls of its DHT.

    Attributes:
        number: Its number.
        contact: How others know it.
        options: What it has of its own.
        incarnation: How often it was restarted.
    """

    number: int
    contact: Contact
    options: NodeOptions
    incarnation: int

    @property
    @abstractmethod
    def is_up(self) -> bool:
        """Whether it runs."""

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether its word counts."""


NumberedT = TypeVar("NumberedT", bound=Numbered)


class NumberedNetwork(DhtNetwork, ABC, Generic[NumberedT]):
    """Servers and clients of one DHT.

    Args:
        parameters: The network's.

    Attributes:
        parameters: The network's.
        nodes: Servers, by number.
        clients: Those that serve nobody.
        by_peer: All of them.
    """

    def __init__(self, parameters: NetworkParameters) -> None:
        self.parameters = parameters
        self.nodes: list[NumberedT] = []
        self.clients: list[NumberedT] = []
        self.by_peer: dict[PeerId, NumberedT] = {}

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """Who is close to what."""

    @abstractmethod
    def make(self, number: int, options: NodeOptions, *, serving: bool = True, incarnation: int = 0) -> NumberedT:
        """Make a server or a client, without starting it."""

    @abstractmethod
    def begin(self, node: NumberedT) -> None:
        """Start it."""

    @abstractmethod
    def go(self, number: int) -> None:
        """Take a server that has left away."""

    @abstractmethod
    def slow_down(self, number: int, seconds: float) -> None:
        """Let a server answer that much later from now on."""

    @abstractmethod
    def cut(self, source: int, target: int) -> None:
        """Let nothing that one server sends get to another, until the network heals."""

    @abstractmethod
    def mend_links(self) -> None:
        """Let links be as good from now on as they are where nobody says how bad they are."""

    @property
    def size(self) -> int:
        """Servers ever started."""
        return len(self.nodes)

    def up(self) -> list[int]:
        """Servers that run and are not leaving."""
        return [node.number for node in self.nodes if node.is_up and not node.node.engine.holder.leaving]

    def dht(self, number: int) -> NumberedT:
        """A server, or a client by its number."""
        return self.clients[number - _FIRST_CLIENT] if number >= _FIRST_CLIENT else self.nodes[number]

    def peer_id(self, number: int) -> PeerId:
        """Its peer id."""
        return self.nodes[number].contact.peer_id

    def start(self, options: NodeOptions | None = None) -> NumberedT:
        """Start a server without waiting for it."""
        node = self.make(len(self.nodes), options or NodeOptions())
        self.nodes.append(node)
        self._begin(node)
        return node

    async def add(self, options: NodeOptions | None = None) -> int:
        """Start a server and wait until its word counts."""
        node = self.start(options)
        await self.until_ready(node)
        return node.number

    async def add_client(self) -> Dht:
        """Start a client."""
        node = self.make(_FIRST_CLIENT + len(self.clients), NodeOptions(), serving=False)
        self.clients.append(node)
        self._begin(node)
        await self.until_ready(node)
        return node

    async def revive(self, number: int, options: NodeOptions, *, wait: bool = True) -> None:
        """Start a server again, under its identity."""
        node = self.nodes[number] = self.make(number, options, incarnation=self.nodes[number].incarnation + 1)
        self._begin(node)
        if wait:
            await self.until_ready(node)

    async def leave(self, number: int) -> None:
        """Leave gracefully."""
        await self.nodes[number].leave()
        self.go(number)

    def responsible(self, position: int, servers: Iterable[int], count: int) -> list[int]:
        """The servers closest to a position, by brute force."""
        nodes = self.nodes
        by_key = {nodes[number].contact.key: number for number in servers}
        return [by_key[key] for key in closest(self.geometry, by_key, position, count)]

    async def until_ready(self, node: NumberedT) -> None:
        """Wait until the word of a node counts.

        Raises:
            DeadlineExceeded: It takes longer than any reason for it.
        """
        deadline = asyncio.get_running_loop().time() + 3 * self.parameters.forget_s
        while not node.is_ready:
            if asyncio.get_running_loop().time() > deadline:
                raise DeadlineExceeded(f"a node is not ready: {node.node.topology()}")
            await asyncio.sleep(0.05)

    def _begin(self, node: NumberedT) -> None:
        self.by_peer[node.contact.peer_id] = node
        self.begin(node)
