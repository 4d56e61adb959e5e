"""Many nodes of one DHT in one process, over a message network in virtual time: the plugin unchanged above its `rpc` seam."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Generic, Self, TypeVar

from peerstack.dht.clock import to_microseconds
from peerstack.dht.namespaces import Namespaces
from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.geometry import Geometry
from peerstack.dht.replica.messages import Reply, Request
from peerstack.dht.replica.node import DhtNode
from peerstack.dht.replica.persistence import NodeState
from peerstack.dht.replica.seam import Rpc, RpcDone
from peerstack.dht.replica.settings import NodeParts, NodeSettings
from peerstack.dht.store import MemoryStore, Rules, StoreLimits
from peerstack.errors import Closed, PeerstackError
from peerstack.identity import PeerId, PrivateKey
from peerstack.testing.message_network import LinkModel, MessageNetwork
from peerstack.testing.virtual_time import EPOCH, Timer, VirtualTimeLoop
from tests.sim.disk import SlowDisk
from tests.sim.history import Snapshot
from tests.sim.numbered_network import NodeOptions, Numbered, NumberedNetwork, Serve

__all__ = ["LoopOutside", "NetworkNode", "NodeOptions", "ScenarioNetwork", "Serve", "SimulatedNetwork", "sent"]

NodeT = TypeVar("NodeT", bound=DhtNode)


class LoopOutside:
    """Clocks and timers of the running loop.

    Args:
        seed: Of the random bits.
        skew_s: How far the node's wall clock is ahead.

    Attributes:
        time: Seconds of the loop's clock, as a function: asked for all the time.
        timers: How many are set.
        mid_period: Whether timers set now end at a random moment of their time: whoever sets them is taken to have done so before.
    """

    __slots__ = ("_drawn", "_loop", "_seed", "_wall_s", "mid_period", "time", "timers")

    def __init__(self, seed: object, *, skew_s: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self._seed = f"kademlia {seed}"
        self._drawn = 0
        self._wall_s = EPOCH + skew_s
        self._loop = loop
        self.time = loop.time
        self.timers = 0
        self.mid_period = False

    def wall_us(self) -> int:
        """The virtual wall clock."""
        return to_microseconds(self._wall_s + self.time())

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Set a timer."""
        self.timers += 1
        if self.mid_period:
            delay *= self.random_bits(32) / (1 << 32)
        timer = _Timer(self, callback)
        timer.set = self._loop.schedule(delay, timer.fire)
        return timer.cancel

    def random_bits(self, count: int) -> int:
        """Seeded random bits: hashed, where a `random.Random` would be 2.5 kB for each of many nodes."""
        self._drawn += 1
        drawn = hashlib.shake_128(f"{self._seed} {self._drawn}".encode()).digest((count + 7) // 8)
        return int.from_bytes(drawn, "big") >> -count % 8

    def unschedule(self, timer: Timer) -> None:
        """Cancel a timer of the loop."""
        self._loop.unschedule(timer)


class _Timer:
    """One timer of a node, counted while it is set."""

    __slots__ = ("_callback", "_outside", "set")

    def __init__(self, outside: LoopOutside, callback: Callable[[], None]) -> None:
        self._outside = outside
        self._callback: Callable[[], None] | None = callback
        self.set: Timer

    def fire(self) -> None:
        callback = self._end()
        if callback is not None:
            callback()

    def cancel(self) -> None:
        if self._end() is not None:
            self._outside.unschedule(self.set)

    def _end(self) -> Callable[[], None] | None:
        callback, self._callback = self._callback, None
        if callback is not None:
            self._outside.timers -= 1
        return callback


class _WatchedRpc:
    """Counts a node's open requests, and notes each in the network's trace."""

    def __init__(self, node: NetworkNode[Any], rpc: Rpc, trace: Callable[[NetworkNode[Any], Contact, Request], None] | None) -> None:
        self.open = 0
        self._node = node
        self._rpc = rpc
        self._trace = trace

    def request(self, peer: Contact, message: Request, timeout: float, done: RpcDone) -> None:
        self.open += 1
        if self._trace is not None:
            self._trace(self._node, peer, message)

        def answered(reply: Reply | PeerstackError, now: float) -> None:
            self.open -= 1
            done(reply, now)

        self._rpc.request(peer, message, timeout, answered)


class NetworkNode(Numbered, Generic[NodeT]):
    """One node on a message network.

    Attributes:
        number: Its number in the network.
        key: Its identity.
        contact: How others know it.
        serving: Whether it is a server.
        incarnation: How often it was restarted.
        options: What it has of its own.
        store: What it holds.
        state: What it remembers beside that.
        outside: Its clocks.
        rpc: Its way into the network.
    """

    def __init__(
        self, network: SimulatedNetwork[NodeT], number: int, options: NodeOptions, *, serving: bool = True, incarnation: int = 0
    ) -> None:
        self.number = number
        self.key = options.identity or PrivateKey.from_seed(hashlib.sha256(f"node {number} of {network.seed}".encode()).digest())
        self.contact = Contact.of(self.key.peer_id)
        self.serving = serving
        self.incarnation = incarnation
        self.options = options
        namespaces = options.namespaces or network.namespaces
        rules = Rules(namespaces=namespaces, parameters=network.parameters, limits=options.limits or StoreLimits())
        self.store = options.store or MemoryStore(rules)
        self.state = options.state or NodeState(self.store.side_table("node") if isinstance(self.store, SlowDisk) else None)
        self._network = network
        self._up = True
        self.outside = LoopOutside(f"{network.seed} {number} {incarnation}", skew_s=options.skew_s)
        self.rpc = _WatchedRpc(self, network.messages.attach(self.contact.peer_id, self._handle), network.watch)
        settings = NodeSettings(
            parameters=network.parameters,
            namespaces=namespaces,
            serving=serving,
            founder=number == 0 and (incarnation == 0 or options.state is not None),
            state=self.state,
        )
        parts = NodeParts(own=self.contact, signer=self.key, store=self.store, rpc=self.rpc, outside=self.outside, settings=settings)
        self._node = network.make_node(parts, options)

    @property
    def node(self) -> NodeT:
        """The node."""
        if not self._up:
            raise Closed("the node is down")
        return self._node

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self._up

    @property
    def is_ready(self) -> bool:
        """Whether its word counts."""
        return self.node.ready

    def stop(self) -> None:
        """End it."""
        self._up = False
        self._node.stop()

    def _handle(self, sender: PeerId, request: Any, respond: Callable[[Reply], None]) -> None:
        if self.serving and self._up:
            asker = self._network.by_peer[sender]
            if self.options.behaviour is None or not self.options.behaviour(self, asker.contact, request, respond):
                self._node.serve(asker.contact, request, respond, is_server=asker.serving)


class SimulatedNetwork(NumberedNetwork[NetworkNode[NodeT]], ABC, Generic[NodeT]):
    """A network of one DHT's nodes.

    Attributes:
        seed: Same seed, same run.
        messages: The message network.
        requests: How many were sent so far, by kind, if there is a trace.

    Args:
        seed: Same seed, same run.
        parameters: The network's.
        links: How messages travel.
        trace: Whether to keep a digest of every request sent.
    """

    preset: ClassVar[NetworkParameters]
    """Its parameters, where none are given."""
    geometry: ClassVar[Geometry]
    """Who is close to what."""

    def __init__(
        self,
        seed: int | str = 0,
        *,
        parameters: NetworkParameters | None = None,
        links: LinkModel | None = None,
        trace: bool = False,
    ) -> None:
        self.seed = seed
        super().__init__(parameters or self.preset)
        self.namespaces = Namespaces()
        self.messages = MessageNetwork(seed, links)
        self.requests: Counter[str] = Counter()
        self._digest = hashlib.sha256() if trace else None

    @abstractmethod
    def make_node(self, parts: NodeParts, options: NodeOptions) -> NodeT:
        """Make what a simulated node runs."""

    @classmethod
    async def open(
        cls, size: int, *, seed: int | str = 0, parameters: NetworkParameters | None = None, links: LinkModel | None = None
    ) -> Self:
        """Start a network of `size` servers, one after the other."""
        network = cls(seed, parameters=parameters, links=links)
        for _ in range(size):
            await network.add()
        return network

    @property
    def trace(self) -> str:
        """The digest of every request sent so far, of whom to whom and when."""
        return self._digest.hexdigest() if self._digest is not None else ""

    @property
    def watch(self) -> Callable[[NetworkNode[Any], Contact, Request], None] | None:
        """Told of every request that is sent; None where nobody wants to know."""
        return self._note if self._digest is not None else None

    def _note(self, node: NetworkNode[NodeT], peer: Contact, message: Request) -> None:
        digest = self._digest
        assert digest is not None
        kind = type(message).__name__
        self.requests[kind] += 1
        digest.update(f"{self.messages.loop.time():.9f} {node.number} {peer.key:x} {kind}\n".encode())

    async def crash(self, number: int) -> None:
        """Kill a server and its machine."""
        self.messages.crash(self.peer_id(number))
        self.nodes[number].stop()

    async def restart(self, number: int) -> None:
        """Start it again with an empty store; wait until its word counts."""
        await self.revive(number, self.nodes[number].options)

    async def restart_with_disk(self, *numbers: int) -> None:
        """Start servers again, at once, with what they held and remembered; wait until their word counts."""
        for number in numbers:
            before = self.nodes[number]
            options = replace(before.options, store=before.store, state=before.state)
            node = self.nodes[number] = NetworkNode(self, number, options, incarnation=before.incarnation + 1)
            self.by_peer[node.contact.peer_id] = node
        for number in numbers:
            self.nodes[number].node.start()
        for number in numbers:
            await self.until_ready(self.nodes[number])

    def go(self, number: int) -> None:
        """Take a server that has left away."""
        self.messages.detach(self.peer_id(number))
        self.nodes[number].stop()

    async def partition(self, *sides: set[int]) -> None:
        """Cut."""
        self.messages.partition(*([self.peer_id(number) for number in sorted(side)] for side in sides))

    async def heal(self) -> None:
        """Undo."""
        self.messages.heal()

    def slow_down(self, number: int, seconds: float) -> None:
        """See `NumberedNetwork.slow_down`: its own requests leave as ever."""
        self.messages.slow_down(self.peer_id(number), seconds)

    def cut(self, source: int, target: int) -> None:
        """See `NumberedNetwork.cut`: what is sent is lost."""
        self.messages.cut(self.peer_id(source), self.peer_id(target))

    def mend_links(self) -> None:
        """See `NumberedNetwork.mend_links`: nothing is lost or doubled any more."""
        self.messages.links = LinkModel()

    async def close(self) -> None:
        """Stop everything."""
        for node in (*self.nodes, *self.clients):
            node.stop()
        await asyncio.sleep(0)

    def make(self, number: int, options: NodeOptions, *, serving: bool = True, incarnation: int = 0) -> NetworkNode[NodeT]:
        """Make a server or a client, without starting it."""
        return NetworkNode(self, number, options, serving=serving, incarnation=incarnation)

    def begin(self, node: NetworkNode[NodeT]) -> None:
        """Start it, with the first three servers that run at hand."""
        contacts = [other.contact for other in self.nodes if other is not node and other.is_up][:3]
        node.node.start(contacts)


class ScenarioNetwork(SimulatedNetwork[NodeT]):
    """One that scenarios are played on."""

    @abstractmethod
    def assemble(self, size: int, *, options: Callable[[int], NodeOptions] = lambda _number: NodeOptions()) -> None:
        """Start `size` servers that know each other as if they had all joined.

        Args:
            size: How many.
            options: What each has of its own, by number.
        """

    @abstractmethod
    def take_down(self, snapshot: Snapshot) -> None:
        """Add to a snapshot what each server that runs knows of the others, in the terms of the DHT."""


def sent(network: SimulatedNetwork[Any], *kinds: type[Request]) -> list[Any]:
    """Record requests of some kinds from now on, whoever of the servers sends them."""
    found: list[Any] = []
    for node in network.nodes:
        original = node.rpc.request

        def request(peer: Contact, message: Request, timeout: float, done: RpcDone, original: Any = original) -> None:
            if isinstance(message, kinds):
                found.append(message)
            original(peer, message, timeout, done)

        node.rpc.request = request  # type: ignore[method-assign]  # the seam itself, seen from inside
    return found
