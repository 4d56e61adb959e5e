"""Rings over a network of plain calls: a heap for time, and for state machines a bag of messages that are delivered in any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from peerstack_chord.events import RingEvent
from peerstack_chord.maintenance import Ring
from peerstack_chord.messages import JoinReply, StateReply, Verdict
from peerstack_chord.ring import Member, Mode, State, ideal
from peerstack_chord.successors import SuccessorList

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Reply, Request
from peerstack.dht.replica.seam import RpcDone
from peerstack.errors import DeadlineExceeded
from peerstack.identity import PeerId


def contact(key: int) -> Contact:
    return Contact(PeerId(b"\x12\x20" + key.to_bytes(32, "big")), key)


def member(key: int, incarnation: int = 1) -> Member:
    return Member(contact(key), incarnation)


def members(*keys: int) -> tuple[Member, ...]:
    return tuple(member(key) for key in keys)


def parameters(r: int, **changes: float) -> NetworkParameters:
    periods = {"stabilise_s": 1.0, "rpc_timeout_s": 0.5, "repair_s": 10.0, "authority_loss_s": 150.0, "forget_s": 180.0, **changes}
    return NetworkParameters(r=r, replicas=min(r, 3), **periods)  # type: ignore[arg-type]


@dataclass
class Delivery:
    """A message, or the news that there will be none."""

    due: float
    number: int
    run: Callable[[], None]
    to: Node
    reply: Reply | None = None
    version: int = -1  # of the receiver's successor list when it asked

    def __lt__(self, other: Delivery) -> bool:
        return (self.due, self.number) < (other.due, other.number)


@dataclass
class Timer:
    due: float
    number: int
    callback: Callable[[], None]
    node: Node
    cancelled: bool = False


@dataclass
class Node:
    """One life of a node."""

    world: World
    contact: Contact
    alive: bool = True
    events: list[RingEvent] = field(default_factory=list)
    ring: Ring = field(init=False)
    sent: int = 0

    def time(self) -> float:
        return self.world.now

    def wall_us(self) -> int:
        return int(self.world.now * 1_000_000)

    def random_bits(self, count: int) -> int:
        return self.world.random.getrandbits(count)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        timer = Timer(self.world.now + delay, self.world.number(), callback, self)
        self.world.timers.append(timer)

        def cancel() -> None:
            timer.cancelled = True

        return cancel

    def request(self, peer: Contact, message: Request, timeout: float, done: RpcDone) -> None:
        self.sent += 1
        self.world.send(self, peer, message, timeout, done)


@dataclass
class World:
    """Everybody there is."""

    r: int
    seed: int = 0
    latency: tuple[float, float] = (0.01, 0.05)
    parameters: NetworkParameters = field(init=False)
    now: float = 0.0
    nodes: dict[int, Node] = field(default_factory=dict)
    bag: list[Delivery] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    groups: dict[int, int] = field(default_factory=dict)  # who is in which part of the network
    slow: dict[int, float] = field(default_factory=dict)  # how much later whom requests reach
    loss: float = 0.0
    _number: int = 0
    _incarnation: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.parameters = parameters(self.r)

    def number(self) -> int:
        self._number += 1
        return self._number

    def add(self, key: int, through: Iterable[int] = (), *, timers: bool = True) -> Node:
        """A node, or a new life of one that crashed."""
        node = Node(self, contact(key))
        self._incarnation += 1000
        node.ring = Ring(node.contact, self.parameters, node, node, node.events.append, incarnation=self._incarnation)
        self.nodes[key] = node
        node.ring.start([contact(other) for other in through])
        if not timers:
            node.ring._timers.stop()
        return node

    def crash(self, key: int) -> None:
        self.nodes[key].alive = False

    def send(self, sender: Node, peer: Contact, message: Request, timeout: float, done: RpcDone) -> None:
        version = sender.ring.place.successors.version
        sent_at = self.now

        def fail() -> None:
            done(DeadlineExceeded("nobody answered"), self.now)

        def answer(reply: Reply) -> None:
            error = self._lost(sender.contact.key, peer.key)
            self._put(sender, fail if error else lambda: done(reply, self.now), None if error else reply, version, sent_at, timeout, error)

        def arrive() -> None:
            target = self.nodes.get(peer.key)
            if target is None or not target.alive or self._lost(sender.contact.key, peer.key):
                self._put(sender, fail, None, version, sent_at, timeout, True)
            else:
                target.ring.serve(sender.contact, message, answer)

        due = self.now + self._delay() + self.slow.get(peer.key, 0.0)
        self.bag.append(Delivery(due, self.number(), arrive, self.nodes.get(peer.key) or sender))
        self.bag[-1].to = sender  # a request dies with its sender

    def _put(
        self, to: Node, run: Callable[[], None], reply: Reply | None, version: int, sent_at: float, timeout: float, failed: bool
    ) -> None:
        due = sent_at + timeout if failed else self.now + self._delay()
        self.bag.append(Delivery(max(due, self.now), self.number(), run, to, reply, version))

    def _lost(self, a: int, b: int) -> bool:
        return self.groups.get(a, 0) != self.groups.get(b, 0) or (self.loss > 0 and self.random.random() < self.loss)

    def _delay(self) -> float:
        return self.random.uniform(*self.latency)

    # In the order of time.

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.step(until):
            pass
        self.now = until

    def run_until(self, condition: Callable[[], bool], limit: float) -> None:
        """Let time pass until something is so."""
        until = self.now + limit
        while not condition():
            assert self.step(until), f"still not so after {limit} s"

    def step(self, until: float) -> bool:
        self.timers = [timer for timer in self.timers if not timer.cancelled and timer.node.alive]
        timer = min(self.timers, key=lambda each: (each.due, each.number), default=None)
        delivery = min(self.bag, default=None)
        if timer is not None and (delivery is None or (timer.due, timer.number) < (delivery.due, delivery.number)):
            if timer.due > until:
                return False
            self.now = max(self.now, timer.due)
            self.timers.remove(timer)
            timer.callback()
            return True
        if delivery is None or delivery.due > until:
            return False
        self.now = max(self.now, delivery.due)
        self.deliver(delivery)
        return True

    # In any order.

    def deliver(self, delivery: Delivery) -> None:
        self.bag.remove(delivery)
        if delivery.to.alive:
            delivery.run()

    def fire(self, timer: Timer) -> None:
        self.timers.remove(timer)
        self.now = max(self.now, timer.due)
        timer.callback()

    # What there is to see.

    def live(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    def states(self) -> list[State]:
        return [node.ring.place.state() for node in self.live() if node.ring.place.is_member]

    def modes(self) -> set[Mode]:
        return {node.ring.mode for node in self.live()}

    def lists(self) -> list[tuple[Member, ...]]:
        """Every member's extended successor list, and what the answers under way to it will make of it."""
        found = [state.extended for state in self.states()]
        for delivery in self.bag:
            place = delivery.to.ring.place
            if not delivery.to.alive:
                continue
            if isinstance(delivery.reply, StateReply) and delivery.version == place.successors.version and place.mode is Mode.RING:
                becoming = SuccessorList(place.own.key, self.r)
                becoming.adopt(delivery.reply.state.member, delivery.reply.state.successors)
                found.append((place.own, *becoming))
            elif isinstance(delivery.reply, JoinReply) and delivery.reply.verdict is Verdict.JOINED and not place.is_member:
                becoming = SuccessorList(place.own.key, self.r)
                becoming.copy(delivery.reply.state.successors)
                found.append((place.own, *becoming))
        return found


def form(r: int, keys: Sequence[int], seed: int = 0) -> World:
    """A ring of these, with everybody where they belong."""
    world = World(r, seed)
    first, *others = keys
    world.add(first)
    for key in others:
        world.add(key, [first])
        world.run(0.3)
    wanted = Mode.RING if len(keys) >= r + 2 else Mode.FORMING
    world.run_until(lambda: world.modes() == {wanted} and ideal(world.states(), r), 60)
    return world
