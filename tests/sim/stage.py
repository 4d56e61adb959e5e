"""A small network in which a schedule says who hears what, and when."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.records import Record, wire_key
from peerstack.dht.replica.contacts import Contact, key_of, position_of
from peerstack.dht.replica.messages import Ping, Push, PutValue, Reply, Request
from peerstack.dht.store import Rules
from peerstack.identity import PrivateKey
from tests.sim.disk import SlowDisk
from tests.sim.history import Absence, Crash, Outcome, Read, Write
from tests.sim.node_network import NetworkNode, NodeOptions
from tests.sim.world import SMALL, World

__all__ = ["WRITES", "BrokenPremise", "Stage", "is_absent", "require"]

WRITES: Final = (PutValue, Push)
"""The requests that bring a record to its holders."""

_PATIENCE_S = 600.0

Act = Callable[[Callable[[], None]], object]
"""``(serve)``: what becomes of a request; it is answered where and when `serve` is called."""

Change = Callable[[Reply], Reply]
"""What becomes of the answer to a request."""


class BrokenPremise(RuntimeError):
    """A schedule did not come to the point it is about: it proves nothing, in either direction."""


@dataclass(frozen=True, slots=True)
class _Rule:
    kinds: tuple[type[Request], ...]
    sender: int | None
    act: Act
    change: Change


class Stage:
    """A world and its strings.

    Attributes:
        world: The network and its history.

    Args:
        size: Servers.
        seed: Same seed, same run.
        parameters: The network's.
        dht: Of `tests.sim.world.DHTS`.
    """

    def __init__(self, size: int, *, seed: int = 0, parameters: NetworkParameters = SMALL, dht: str = "kad") -> None:
        self.world = World.make(seed, size, parameters=parameters, dht=dht)
        self._rules: dict[int, list[_Rule]] = {}

    # -- who is who

    def nearest(self, name: str, count: int | None = None) -> list[int]:
        """The servers closest to a key, closest first: as many as are responsible, or `count`."""
        wanted = self.world.parameters.replicas if count is None else count
        return self.world.network.responsible(_position(name), self.world.network.up(), wanted)

    def bystanders(self, name: str) -> list[int]:
        """Servers that have nothing to do with a key, the farthest first."""
        near = 2 * self.world.parameters.replicas
        return self.nearest(name, len(self.world.network.up()))[near:][::-1]

    def contact(self, number: int) -> Contact:
        """A server as others know it."""
        return self.world.network.nodes[number].contact

    def counts(self, number: int, other: int) -> bool:
        """Whether a server counts another one as responsible near itself."""
        return self.contact(other).key in self.world.network.nodes[number].node.engine.hood.members

    def speaks(self, number: int, name: str) -> bool:
        """Whether a server's word on a key counts, by its own judgement."""
        return bool(self.world.network.nodes[number].node.engine.hood.is_authoritative(_position(name)))

    def held(self, number: int, name: str) -> Record | None:
        """What a server holds of a key."""
        node = self.world.network.nodes[number]
        return next(iter(node.store.get_all("kv", name.encode(), now=node.outside.wall_us())), None)

    def record_of(self, number: int, name: str) -> Record:
        """What a server has to hold of a key for a schedule to make sense."""
        record = self.held(number, name)
        if record is None:
            raise BrokenPremise(f"server {number} holds nothing of {name!r}")
        return record

    # -- who hears what

    def rule(self, at: int, *kinds: type[Request], act: Act, sender: int | None = None, change: Change = lambda reply: reply) -> None:
        """Decide what becomes of requests of these kinds at a server, and of its answers, whoever sends them or one sender's."""
        if at not in self._rules:
            self._rules[at] = []
            node = self.world.network.nodes[at]
            node.options = replace(node.options, behaviour=self._behave)
        self._rules[at].append(_Rule(kinds, sender, act, change))

    def change(self, at: Iterable[int], *kinds: type[Request], to: Change, sender: int | None = None) -> None:
        """Let servers answer something else than they would."""
        for number in at:
            self.rule(number, *kinds, act=lambda serve: serve(), sender=sender, change=to)

    def lose(self, at: Iterable[int], *kinds: type[Request], sender: int | None = None) -> None:
        """Let requests never arrive."""
        for number in at:
            self.rule(number, *kinds, act=lambda _serve: None, sender=sender)

    def hold_up(self, at: Iterable[int], seconds: float, *kinds: type[Request], sender: int | None = None) -> None:
        """Let requests arrive late."""
        for number in at:
            self.rule(number, *kinds, act=lambda serve: asyncio.get_running_loop().call_later(seconds, serve), sender=sender)

    async def let_through(self) -> None:
        """Lose and hold up nothing more, once what is under way has come to its end."""
        await asyncio.sleep(2 * self.world.parameters.rpc_timeout_s)
        for rules in self._rules.values():
            rules.clear()

    def cut(self, sources: Iterable[int], targets: Iterable[int]) -> None:
        """Lose whatever some send to others, answers too; `mend` undoes it."""
        peer_id, ends = self.world.network.peer_id, list(targets)
        for source in sources:
            for target in ends:
                self.world.network.messages.cut(peer_id(source), peer_id(target))

    def mend(self) -> None:
        """Undo every `cut`."""
        self.world.network.messages.heal()

    def send_again(self, sender: int, record: Record, *targets: int) -> None:
        """Put an old record once more."""
        for target in targets:
            self.world.network.nodes[sender].node.engine.ask(self.contact(target), PutValue(record), lambda _reply, _now: None)

    async def ping(self, sender: int, target: int) -> None:
        """Let one server ask another whether it is there, and wait for the answer."""
        answered = asyncio.Event()
        self.world.network.nodes[sender].node.engine.ask(self.contact(target), Ping(), lambda _reply, _now: answered.set())
        await answered.wait()

    # -- what happens

    async def put(self, name: str, *, node: int | None = None, ttl: float | None = 3500.0) -> Write:
        """Put, from a bystander where nobody is named; it has to be acknowledged."""
        write = await self.world.put(name, node=self.bystanders(name)[0] if node is None else node, ttl=ttl)
        require(write.outcome is Outcome.OK, f"a put was not acknowledged: {write}")
        return write

    async def put_everywhere(self, name: str, *, ttl: float | None = 3500.0) -> Write:
        """Put from a bystander; all of the responsible set have to acknowledge."""
        write = await self.world.put(name, node=self.bystanders(name)[0], ttl=ttl, ack="all")
        require(write.outcome is Outcome.OK and set(write.held) == set(self.nearest(name)), f"not everybody holds what was put: {write}")
        return write

    def start_beside(self, name: str) -> int:
        """Start a server that is closer to a key than every other one, without waiting for it."""
        return self.world.network.start(self.beside(name)[0]).number

    def beside(self, name: str, count: int = 1) -> list[NodeOptions]:
        """Servers that are closer to a key than every other one, the closest last."""
        distance_to = self.world.network.geometry.distance_from(_position(name))
        nearest = distance_to(self.contact(self.nearest(name, 1)[0]).key)
        found: dict[int, NodeOptions] = {}
        for attempt in range(100_000):
            identity = PrivateKey.from_seed(hashlib.sha256(f"{name} {nearest} {attempt}".encode()).digest())
            distance = distance_to(key_of(identity.peer_id))
            if distance < nearest:
                found[distance] = NodeOptions(identity=identity)
            if len(found) == count:
                return [found[each] for each in sorted(found, reverse=True)]
        raise BrokenPremise("nobody is closer")

    async def join(self, options: NodeOptions | None = None) -> int:
        """Let a server join, and wait until its word counts."""
        number = await self.world.join(options)
        if number is None:
            raise BrokenPremise("nobody joined")
        return number

    async def start_again(self, number: int, options: NodeOptions) -> None:
        """Start a server again with other properties."""
        self.world.network.messages.detach(self.world.network.peer_id(number))
        self.world.network.nodes[number].stop()
        await self.world.network.revive(number, options)

    def disk(self, commit_s: float) -> NodeOptions:
        """A server whose commits take so long."""
        network = self.world.network
        return NodeOptions(store=SlowDisk(Rules(namespaces=network.namespaces, parameters=network.parameters), commit_s=commit_s))

    async def shut(self, number: int) -> None:
        """End a server's process; its machine refuses connections."""
        self.world.network.go(number)
        self.world.history.events.append(Crash(self.world.now, number))

    async def repair(self, *numbers: int) -> None:
        """Let servers do their repair rounds, one after the other."""
        for number in numbers:
            replication = self.world.network.nodes[number].node.replication
            replication.repair()
            await self.until(lambda replication=replication: not replication.running, "a repair round does not end")  # type: ignore[misc]

    def sweep(self, *numbers: int) -> None:
        """Let servers sweep their stores, all at once."""
        for number in numbers:
            node = self.world.network.nodes[number]
            node.store.sweep(node.outside.wall_us(), done=lambda _swept: None)

    async def until(self, condition: Callable[[], bool], premise: str) -> None:
        """Wait for what has to come about."""
        deadline = self.world.now + _PATIENCE_S
        while not condition():
            require(self.world.now < deadline, premise)
            await asyncio.sleep(0.05)

    def _behave(self, node: NetworkNode[Any], sender: Contact, request: Request, respond: Callable[[Reply], None]) -> bool:
        asker = self.world.network.by_peer[sender.peer_id]
        rules = (each for each in self._rules[node.number] if isinstance(request, each.kinds) and each.sender in (None, asker.number))
        rule = next(rules, None)
        if rule is None:
            return False

        def serve() -> None:
            if node.is_up:
                node.node.serve(sender, request, lambda reply: respond(rule.change(reply)), is_server=asker.serving)

        rule.act(serve)
        return True


def require(condition: bool, premise: str) -> None:
    """What a schedule takes for granted: not its promise."""
    if not condition:
        raise BrokenPremise(premise)


def is_absent(read: Read) -> bool:
    """Whether a read is sure that there is nothing."""
    return read.result is Absence.NOT_FOUND


def _position(name: str) -> int:
    return position_of(wire_key("kv", name.encode()))
