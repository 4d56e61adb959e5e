"""A network inside one process: every link has a seeded latency, and nodes crash, links break and partitions come and go on command.

The same seed and the same program give the same deliveries in the same order when time is virtual (`peerstack.testing.virtual_time`).
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from peerstack.addresses import Address
from peerstack.errors import DialError, ListenError
from peerstack.net.memory_link import Machine, MemoryLink, Node, Route
from peerstack.net.transport import Accept, LinkReceiver

__all__ = ["Latency", "MemoryNetwork", "MemoryTransport"]

Latency = tuple[float, float] | Callable[[str, str], float]
"""One-way seconds: a range each link draws from, for both directions, or a function of the sending and the receiving node."""

_FIRST_RETRY_S: Final = 1.0  # RFC 6298: a lost SYN is sent again after 1 s, then after 2 s, 4 s, ...
_DIALER_NUMBERS: Final = 1 << 32


class MemoryNetwork:
    """Nodes, the listeners on them, the links between them, and what goes wrong.

    Args:
        seed: Decides latencies and faults.
        latency_s: See `Latency`.
        bytes_per_s: The rate of each direction of a link; None is no bound.
        link_lifetime_s: See `let_break`.
        dial_failure: The share of dials that fail, 0 to 1.
        unreachable_timeout_s: How long a dial into a partition or to a silent node takes to fail, unless it heals before.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        latency_s: Latency = (0.001, 0.02),
        bytes_per_s: float | None = None,
        link_lifetime_s: float | None = None,
        dial_failure: float = 0.0,
        unreachable_timeout_s: float = 20.0,
    ) -> None:
        self._latency_s = latency_s
        self._bytes_per_s = bytes_per_s
        self._link_lifetime_s = link_lifetime_s
        self._dial_failure = dial_failure
        self._unreachable_timeout_s = unreachable_timeout_s
        self._latencies = random.Random(f"latencies of {seed}")
        self._faults = random.Random(f"faults of {seed}")
        self._nodes: dict[str, Node] = {}
        self._machines: dict[str, Machine] = {}
        self._listeners: dict[int, _MemoryListener] = {}
        self._links: dict[MemoryLink, asyncio.TimerHandle | None] = {}  # with the timer that breaks it
        self._numbers = itertools.count(1)
        self._dialer_numbers = itertools.count(_DIALER_NUMBERS)

    # faults

    def partition(self, *groups: Iterable[str]) -> None:
        """Let nodes reach only their own group; nodes not named are one more group. Links between groups fall silent and lose nothing."""
        numbers = {name: number for number, group in enumerate(groups, 1) for name in group}
        for name in numbers:
            self._machine(name)
        for name, machine in self._machines.items():
            machine.group = numbers.get(name, 0)
        self._wake()

    def cut(self, source: str, target: str) -> None:
        """Let nothing that one node sends get to another: their links fall silent in that direction, and neither reaches the other anew."""
        self._machine(source).unheard_by.add(target)

    def heal(self) -> None:
        """End the partition and all cuts; what was held back arrives."""
        for machine in self._machines.values():
            machine.unheard_by.clear()
        self.partition()

    def slow_down(self, name: str, seconds: float) -> None:
        """Let whatever a node sends on its links leave that much later from now on, as from an overloaded process; 0.0 is as before."""
        self._machine(name).slow_s = seconds

    def let_break(self, mean_lifetime_s: float | None) -> None:
        """Let every link, those there are included, break after an exponentially distributed time of this mean; None is never."""
        self._link_lifetime_s = mean_lifetime_s
        for link, timer in self._links.items():
            if timer is not None:
                timer.cancel()
            self._links[link] = self._breaking(link)

    def sever(self, one: str, other: str) -> None:
        """Reset every link between two nodes."""
        pair = sorted((one, other))
        for link in [link for link in self._links if sorted((link.node.name, link.other.node.name)) == pair]:
            self._break(link)

    def crash(self, name: str, *, reset: bool = True) -> None:
        """End a node: its links are lost, its addresses free, and its transport dials and listens no more.

        It starts again with a new `MemoryTransport` of the same name.

        Args:
            name: The node.
            reset: Whether the others are told, as by the kernel of a killed process; else they hear nothing, as from a machine without
                power, until it has started again.

        Raises:
            LookupError: There is no such node.
        """
        node = self._nodes.get(name)
        if node is None:
            raise LookupError(f"no node {name!r} has joined the network")
        for link in [link for link in self._links if link.node is node]:
            link.fail(ConnectionAbortedError(f"node {name} crashed"))
        node.alive = False
        node.machine.silent = not reset
        if reset:
            self._unbind(node)

    # what transports call

    def join(self, name: str) -> Node:
        """Return the node of this name: a new one where there is none, or where it has crashed."""
        node = self._nodes.get(name)
        if node is not None and node.alive:
            return node
        machine = self._machine(name)
        if node is not None:
            machine.silent = False  # it answers again: with resets, for it knows none of the old links
            self._unbind(node)
            self._wake()
        self._nodes[name] = node = Node(machine)
        return node

    def listen(self, node: Node, number: int, accept: Accept) -> _MemoryListener:
        """Bind a number, or the next free one for 0.

        Raises:
            ListenError: The number is in use, or the node has crashed.
        """
        if not node.alive:
            raise ListenError(f"node {node.name} has crashed")
        if number == 0:
            number = next(free for free in self._numbers if free not in self._listeners)
        if number in self._listeners:
            raise ListenError(f"/memory/{number} is in use: listen on /memory/0 for a free number")
        listener = self._listeners[number] = _MemoryListener(self, node, number, accept)
        return listener

    def unbind(self, listener: _MemoryListener) -> None:
        """Free the number of a listener, unless another one has it by now."""
        if self._listeners.get(listener.number) is listener:
            del self._listeners[listener.number]

    async def dial(self, node: Node, number: int, receiver: LinkReceiver) -> MemoryLink:
        """Link `node` to the listener of a number: one latency to get there, another one back.

        Raises:
            DialError: Nobody listens there, nothing gets through, the listener refused, or a fault struck.
        """
        listener = await self._reach(node, number)
        route = Route(node, listener.node, *self._draw_latencies(node.name, listener.node.name), self._bytes_per_s)
        await asyncio.sleep(route.there_s)
        if self._dial_failure and self._faults.random() < self._dial_failure:
            raise DialError(f"a fault struck the dial to /memory/{number}")
        here = Address.from_memory(next(self._dialer_numbers))
        inbound = listener.accept(here) if self._listeners.get(number) is listener and node.alive else None
        if inbound is None:
            await asyncio.sleep(route.back_s)
            raise DialError(f"/memory/{number} refused")
        near, far = MemoryLink.pair(route, here, listener.addresses[0], self._forget)
        self._links |= {end: self._breaking(end) for end in (near, far)}
        far.start(inbound)
        try:
            await asyncio.sleep(route.back_s)
        except asyncio.CancelledError:
            near.abort()
            raise
        if near.lost:
            raise DialError(f"/memory/{number} reset the link at once")
        near.start(receiver)
        return near

    async def _reach(self, node: Node, number: int) -> _MemoryListener:
        """Find the listener, trying again while nothing gets through, as TCP does."""
        now = asyncio.get_running_loop().time
        deadline, wait = now() + self._unreachable_timeout_s, _FIRST_RETRY_S
        while True:
            if not node.alive:
                raise DialError(f"node {node.name} has crashed")
            listener = self._listeners.get(number)
            if listener is None:
                raise DialError(f"nobody listens on /memory/{number}")
            here, there = node.machine, listener.node.machine
            if here.reaches(there) and there.reaches(here):
                return listener
            if now() >= deadline:
                raise DialError(f"/memory/{number} did not answer within {self._unreachable_timeout_s:g} s")
            await asyncio.sleep(min(wait, deadline - now()))
            wait *= 2

    def _machine(self, name: str) -> Machine:
        return self._machines.setdefault(name, Machine(name))

    def _draw_latencies(self, dialer: str, listener: str) -> tuple[float, float]:
        if callable(self._latency_s):
            return self._latency_s(dialer, listener), self._latency_s(listener, dialer)
        latency_s = self._latencies.uniform(*self._latency_s)
        return latency_s, latency_s

    def _breaking(self, link: MemoryLink) -> asyncio.TimerHandle | None:
        if self._link_lifetime_s is None or not link.dialer:  # one timer breaks both ends
            return None
        lifetime = self._faults.expovariate(1 / self._link_lifetime_s)
        return asyncio.get_running_loop().call_later(lifetime, self._break, link)

    def _break(self, link: MemoryLink) -> None:
        for end in (link, link.other):
            end.fail(ConnectionResetError("the link broke"))

    def _forget(self, link: MemoryLink) -> None:
        timer = self._links.pop(link, None)
        if timer is not None:
            timer.cancel()

    def _unbind(self, node: Node) -> None:
        self._listeners = {number: listener for number, listener in self._listeners.items() if listener.node is not node}

    def _wake(self) -> None:
        for link in list(self._links):
            link.wake()
            link.other.wake()


class _MemoryListener:
    def __init__(self, network: MemoryNetwork, node: Node, number: int, accept: Accept) -> None:
        self._network = network
        self.node = node
        self.number = number
        self.accept = accept
        self.addresses: Sequence[Address] = (Address.from_memory(number),)

    async def close(self) -> None:
        """Stop accepting; links already accepted live on."""
        self._network.unbind(self)


class MemoryTransport:
    """Dials and listens on ``/memory/<number>`` (0: the next free one) as one node of a network.

    Without a network, as the installed transports are made, it supports no address: a network is made by whoever wants its hosts to meet.
    """

    def __init__(self, network: MemoryNetwork | None = None, *, node: str = "") -> None:
        """Join `network` as `node`, again if that node crashed before."""
        self._network = network
        self._node = Node(Machine(node)) if network is None else network.join(node)

    def supports(self, address: Address) -> bool:
        """Whether `address` is ``/memory/<number>`` and there is a network."""
        return self._network is not None and address.is_memory()

    async def dial(self, address: Address, receiver: LinkReceiver) -> MemoryLink:
        """Connect; see `MemoryNetwork.dial`.

        Raises:
            DialError: The address did not answer or refused.
        """
        if self._network is None or address.memory is None:
            raise DialError(f"{address} is no address of a memory network of this transport")
        return await self._network.dial(self._node, address.memory, receiver)

    async def listen(self, address: Address, accept: Accept) -> _MemoryListener:
        """Bind and accept.

        Raises:
            ListenError: The number is in use, or the node has crashed.
        """
        if self._network is None or address.memory is None:
            raise ListenError(f"{address} is no address of a memory network of this transport")
        return self._network.listen(self._node, address.memory, accept)
