"""What befalls a network in each scenario. The oracle judges afterwards; a scenario only asserts what is its own point."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import comb
from typing import Any, Final

from peerstack.dht.contract import RefusalReason
from peerstack.dht.namespaces import LatestVersion, Namespaces
from peerstack.dht.records import wire_key
from peerstack.dht.replica.contacts import Contact, key_of, position_of
from peerstack.dht.replica.messages import FindNode, GetReply, GetValue, NodesReply, Push, PutReply, PutValue, Reply, Request, Standing
from peerstack.dht.store import MemoryStore, Rules, StoreLimits
from peerstack.errors import PeerstackError, QuorumNotMet
from peerstack.identity import PrivateKey
from peerstack.testing.message_network import LinkModel
from tests.sim.disk import SlowDisk
from tests.sim.history import Absence, Found, Outcome, Write
from tests.sim.kad_network import NodeOptions, SimulatedNode
from tests.sim.world import SMALL, World, together

__all__ = ["FLOORS", "SCENARIOS", "Scenario"]

Play = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One of them."""

    name: str
    summary: str
    play: Play
    links: LinkModel = field(default_factory=LinkModel)
    options: Callable[[random.Random, int], NodeOptions] = lambda _dice, _number: NodeOptions()
    """What each server has of its own."""
    size: int = 60
    seeds: int = 3
    """How many the tests play."""
    no_floor: str = ""
    """Why operations may fail that the promise covers; empty: they may not, see `FLOORS`."""
    no_copies: str = ""
    """Why values may lie elsewhere than in their responsible sets at the end; empty: they may not."""


SCENARIOS: dict[str, Scenario] = {}

FLOORS: Final[Mapping[str, float]] = {"reads": 0.99, "sure": 0.99, "puts": 0.95}
"""The least shares of covered operations, see `tests.sim.oracle.Availability`, that succeed within five virtual seconds, retry included."""


def _scenario(name: str, summary: str, **rest: Any) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        SCENARIOS[name] = Scenario(name=name, summary=summary, play=play, **rest)
        return play

    return register


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix} {number}" for number in range(count)]


async def _use(world: World, names: Sequence[str], seconds: float, *, pause_s: float = 1.0, puts: float = 0.2) -> None:
    """Read and write for a while, somebody now and then."""
    end = world.now + seconds
    while world.now < end:
        await _one(world, names, puts)
        await asyncio.sleep(pause_s)


async def _one(world: World, names: Sequence[str], puts: float = 0.2) -> None:
    name = world.dice.choice(names)
    await (world.write(name) if world.dice.random() < puts else world.read(name))


async def _until(task: asyncio.Task[None], step: Callable[[], Awaitable[object]], pause_s: float) -> None:
    while not task.done():
        await step()
        await asyncio.sleep(pause_s)
    await task


@_scenario("S1", "Steady state: every reader finds every value.")
async def steady(world: World) -> None:
    names = _names("steady", 20)
    await world.put_all(names)
    await world.network.add_client()
    await world.quiet(150)
    await world.read_all(names, quiescent=True, readers=3)
    hops = [hop.depth for name in names for hop in (await world.network.dht(world.anyone()).lookup(name, trace=True)).hops]
    world.figures["most hops"] = max(hops)
    assert max(hops) <= 2 * math.log2(world.network.size), "a lookup went too far"
    await world.put_all(names)
    await world.read_all(names, quiescent=True)


@_scenario("S2", "All but one of the nodes that acknowledged a write crash at once.")
async def holders_crash(world: World) -> None:
    names = _names("crash", 12)
    writes = await world.put_all(names)
    victims = list(world.dice.choice(writes).acked)
    for number in victims[1:] if world.dice.random() < 0.5 else victims[:-1]:
        await world.crash(number)
    await world.read_all(names, readers=2)
    await _use(world, names, 60)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@_scenario("S2r", "After a quiet round all but one of the responsible set crash at once, again and again.")
async def holders_crash_repeatedly(world: World) -> None:
    names = _names("repeat", 12)
    await world.put_all(names)
    await world.quiet(150)
    for _ in range(3):
        victims = world.guardians((world.dice.choice(names).encode(), b""))
        world.dice.shuffle(victims)
        for number in victims[1:]:
            await world.crash(number)
        await world.read_all(names)
        await _use(world, names, 30)
        await world.quiet()
        await world.read_all(names, quiescent=True)


@_scenario(
    "S3",
    "More crash than is promised: the loss is seen, and is what chance says.",
    seeds=10,
    no_floor="more crash than is promised",
    no_copies="who lost most of the servers that it counted forgets nobody, until they return or an operator says that they will not",
)
async def too_many_crash(world: World) -> None:
    names = _with_sets_of_their_own(world)
    writes = await world.put_all(names, ack="all")
    await world.quiet(150)
    crashed = set(world.dice.sample(world.network.up(), world.network.size * 2 // 5))
    numbers = range(world.network.size)
    lost = {write.slot for write in writes if all(number in crashed for number in numbers if world.holds(number, write))}
    for number in sorted(crashed):
        await world.crash(number)
    await world.read_all(names)
    await world.quiet()
    reads = await world.read_all(names)
    missed = {read.slot for read in reads if not isinstance(read.result, Found)}
    size, dead, replicas = world.network.size, len(crashed), world.parameters.replicas
    world.figures |= {"keys": len(names), "lost": len(lost), "chance": comb(size - replicas, dead - replicas) / comb(size, dead)}
    assert lost <= missed, f"nobody lives who holds {sorted(lost - missed)}, and yet they were read"
    assert missed <= lost, f"{sorted(missed - lost)} live somewhere, and are not found"


def _with_sets_of_their_own(world: World) -> list[str]:
    """Keys of which no two share a responsible server: what becomes of one says nothing of another."""
    taken: set[int] = set()
    names: list[str] = []
    for name in _names("loss", 500):
        guardians = set(world.guardians((name.encode(), b"")))
        if not guardians & taken:
            taken |= guardians
            names.append(name)
    return names


@_scenario("S4", "One after the other leaves gracefully until one is left.")
async def everybody_leaves(world: World) -> None:
    names = _names("leave", 10)
    await world.put_all(names)
    await world.quiet(150)
    while len(world.network.up()) > 1:
        task = asyncio.ensure_future(_leave(world, world.anyone()))
        await _until(task, lambda: _one(world, names), 0.05)
    await world.read_all(names, quiescent=True)


async def _leave(world: World, number: int) -> None:
    assert await world.leave(number), f"node {number} could not hand everything over"


@_scenario("S5", "A storm of joiners while everybody reads.", size=6)
async def join_storm(world: World) -> None:
    names = _names("storm", 10)
    await world.put_all(names)

    async def join() -> None:
        for _ in range(9 * world.network.size):
            world.network.start()
            await asyncio.sleep(60 / (9 * world.network.size))

    await _until(asyncio.ensure_future(join()), lambda: _one(world, names), 0.2)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@_scenario("S6", "Somebody joins exactly between a key and its owner during reads and writes.")
async def join_at_key(world: World) -> None:
    names = _names("between", 4)
    await world.put_all(names)
    for name in names:
        identity = _closer_identity(world, name)
        task = asyncio.ensure_future(_join(world, NodeOptions(identity=identity)))
        await _until(task, lambda name=name: together([lambda: world.read(name), lambda: world.read(name)]), 0.01)  # type: ignore[misc]
        await world.write(name)
        await world.read(name)
    await world.quiet(150)
    await world.read_all(names, quiescent=True, readers=3)


async def _join(world: World, options: NodeOptions | None = None) -> None:
    await world.join(options)


def _closer_identity(world: World, name: str) -> PrivateKey:
    position = position_of(wire_key("kv", name.encode()))
    nearest = min(key_of(world.network.peer_id(number)) ^ position for number in world.network.up())
    for attempt in range(100_000):
        identity = PrivateKey.from_seed(hashlib.sha256(f"{name} {attempt}".encode()).digest())
        if key_of(identity.peer_id) ^ position < nearest:
            return identity
    raise AssertionError("nobody is closer")


@_scenario("S7p", "Poisson joins, leaves and crashes while everybody reads and writes.")
async def poisson_churn(world: World) -> None:
    await _churn(world, lambda: world.dice.expovariate(1 / 12))


@_scenario("S7w", "Sessions of Weibull lengths (shape 0.4) while everybody reads and writes.")
async def weibull_churn(world: World) -> None:
    await _churn(world, lambda: min(120.0, world.dice.weibullvariate(4, 0.4)))


async def _churn(world: World, pause_s: Callable[[], float]) -> None:
    names = _names("churn", 10)
    await world.put_all(names)
    size = world.network.size

    async def faults() -> None:
        end = world.now + 240
        while world.now < end:
            await asyncio.sleep(pause_s())
            number = world.anyone()
            chance = world.dice.random()
            if len(world.network.up()) > size * 0.7 and chance < 0.3:
                await world.crash(number)
            elif len(world.network.up()) > size * 0.7 and chance < 0.55:
                await world.leave(number)
            else:
                world.network.start()

    await _until(asyncio.ensure_future(faults()), lambda: _one(world, names), 0.5)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@_scenario(
    "S8",
    "The network falls in two for ten minutes, is written on both sides, and heals.",
    no_floor="neither half has the majority of the servers it knew, so both lose their voice until they have taken over",
)
async def partition(world: World) -> None:
    names = _names("cut", 12)
    await world.put_all(names)
    up = world.network.up()
    await world.cut_off(world.dice.sample(up, len(up) // 2))
    for _ in range(6):
        await asyncio.sleep(100)
        await together([lambda name=name: world.write(name) for name in world.dice.sample(names, 4)])  # type: ignore[misc]
        await world.read_all(names[:4])
    await world.heal()
    await world.quiet(700)
    await world.read_all(names, quiescent=True, readers=3)


@_scenario("S8m", "A small part is cut off for ten minutes; the majority goes on.")
async def small_partition(world: World) -> None:
    names = _names("part", 12)
    await world.put_all(names)
    await world.cut_off(world.dice.sample(world.network.up(), max(2, world.network.size // 10)))
    for _ in range(6):
        await asyncio.sleep(100)
        await together([lambda name=name: world.write(name) for name in world.dice.sample(names, 4)])  # type: ignore[misc]
        await world.read_all(names[:6])
    await world.heal()
    await world.quiet(600)
    await world.read_all(names, quiescent=True, readers=3)


@_scenario(
    "S9",
    "Messages are lost, doubled and overtaken, one node is slow, some links work one way only.",
    links=LinkModel(loss=0.05, duplication=0.05, jitter_s=0.1),
    no_floor="every twentieth message is lost, and some links never carry any",
)
async def bad_links(world: World) -> None:
    names = _names("links", 12)
    up = world.network.up()
    world.network.messages.slow_down(world.network.peer_id(world.dice.choice(up)), 0.9)
    for _ in range(40):
        source, target = world.dice.sample(up, 2)
        world.network.messages.cut(world.network.peer_id(source), world.network.peer_id(target))
    for _ in range(4):
        await world.put_all(names)
        await world.read_all(names, readers=2)
        await asyncio.sleep(20)
    world.network.messages.heal()
    world.network.messages.links = LinkModel()
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


def _on_disk(_dice: random.Random, _number: int) -> NodeOptions:
    return NodeOptions(store=SlowDisk(Rules(namespaces=Namespaces(), parameters=SMALL)))


@_scenario("S10", "Servers lose power in the middle of commits, and come back with their disks.", options=_on_disk)
async def power_cut(world: World) -> None:
    names = _names("power", 12)
    await world.put_all(names)
    victims: list[int] = []
    task = asyncio.ensure_future(_use(world, names, 60, pause_s=0.1, puts=0.8))
    while len(victims) < world.network.size // 5 and not task.done():
        await asyncio.sleep(0.001)
        writing = [number for number in world.network.up() if _disk(world, number).under_way]
        if writing and world.dice.random() < 0.02:
            victims.append(world.dice.choice(writing))
            await world.crash(victims[-1], disk_lost=False)
    await task
    torn = [_disk(world, number).torn for number in victims]
    world.figures["commits torn"] = sum(torn)
    assert all(torn), "somebody lost power between commits"
    await world.read_all(names)
    for number in victims:
        await world.back(number, with_disk=True, wait=False)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


def _disk(world: World, number: int) -> SlowDisk:
    disk = world.network.nodes[number].store
    assert isinstance(disk, SlowDisk)
    return disk


@_scenario("S10a", "Every server at once loses power and comes back with its disk.", options=_on_disk)
async def all_power_cut(world: World) -> None:
    names = _names("all", 12)
    await world.put_all(names)
    everybody = world.network.up()
    for number in everybody:
        await world.crash(number, disk_lost=False)
    await asyncio.sleep(400)
    for number in everybody:
        await world.back(number, with_disk=True, wait=False)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@_scenario("S10e", "Servers crash and come back empty, under their identities.")
async def empty_disk(world: World) -> None:
    names = _names("empty", 12)
    await world.put_all(names)
    await world.quiet(150)
    for _ in range(8):
        number = world.anyone()
        await world.crash(number)
        await world.read_all(world.dice.sample(names, 3))
        await world.back(number, with_disk=False)
        await world.read_all(world.dice.sample(names, 6))
        await world.write(world.dice.choice(names))
        await world.write(world.dice.choice(names))
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@_scenario(
    "S11", "Clocks differ by up to five minutes either way.", options=lambda dice, _number: NodeOptions(skew_s=dice.uniform(-300, 300))
)
async def skewed_clocks(world: World) -> None:
    world.max_skew_s = 300
    names = _names("skew", 10)
    for _ in range(6):
        await world.put_all(names, ttl=2500)
        await world.read_all(names, readers=2)
        await world.write(world.dice.choice(names), delete=True)
        await asyncio.sleep(30)
    await world.quiet(150)
    await world.read_all(names, quiescent=True, readers=2)


@_scenario("S12", "Values live exactly as long as they were given, renewed ones as long as their writer.")
async def lifetimes(world: World) -> None:
    short, renewed, orphaned = _names("short", 6), _names("renewed", 6), _names("orphaned", 6)
    mortal = world.anyone()
    await world.put_all(short, ttl=300)
    await world.put_all(renewed, ttl=None)
    for name in orphaned:
        await world.write(name, ttl=None, node=mortal)
    await world.leave(mortal)
    await asyncio.sleep(200)
    await world.read_all([*short, *renewed, *orphaned])
    await asyncio.sleep(150)
    gone = await world.read_all(short)
    assert all(read.result is Absence.NOT_FOUND for read in gone), "a value outlived its time"
    await asyncio.sleep(3300)
    kept = await world.read_all(renewed)
    lost = [read.slot for read in kept if not isinstance(read.result, Found)]
    writers = {write.slot: write.node for write in world.history.writes}
    assert all(writers[slot] == mortal for slot in lost), "a value was not renewed although its writer lives"
    gone = await world.read_all(orphaned)
    assert all(read.result is Absence.NOT_FOUND for read in gone), "a value outlived its writer's last renewal"


@_scenario("S13", "A value is deleted while some of its holders are cut off.")
async def delete_in_partition(world: World) -> None:
    names = _names("delete", 8)
    await world.put_all(names)
    away = {world.guardians((name.encode(), b""))[world.dice.randrange(3)] for name in names}
    await world.cut_off(away)
    writer = world.dice.choice([number for number in world.network.up() if number not in away])
    for name in names:
        await world.write(name, node=writer, delete=True)
    await world.read_all(names, readers=2)
    await asyncio.sleep(world.dice.choice([20, 300]))
    await world.heal()
    await world.read_all(names, readers=2)
    await world.quiet(400)
    await world.read_all(names, quiescent=True, readers=3)


_LYING: Final = 0.2
_SEEN_AMONG_LIARS: Final = frozenset({"no_phantom", "expiry", "bounded"})


async def _liars(world: World) -> None:
    world.promises = _SEEN_AMONG_LIARS
    names = _names("liars", 60)
    paths = world.network.nodes[0].options.disjoint_paths
    lookups = [await world.network.dht(world.anyone()).lookup(name, trace=True) for name in names]
    lengths = [max(hop.depth for hop in lookup.hops) for lookup in lookups]
    bad = set(world.dice.sample(world.network.up(), round(world.network.size * _LYING)))
    gang = [world.network.nodes[number].contact for number in sorted(bad)]
    honest = [number for number in world.network.up() if number not in bad]
    for number in sorted(bad):
        node = world.network.nodes[number]
        node.options = replace(node.options, behaviour=_liar(gang))
    writes = await together([lambda name=name: world.write(name, node=world.dice.choice(honest)) for name in names])  # type: ignore[misc]
    written = {write.slot[0].decode(): write.value for write in writes if write.outcome is Outcome.OK}
    reads = await together([lambda name=name: world.read(name, node=world.dice.choice(honest)) for name in written])  # type: ignore[misc]
    good = sum(isinstance(read.result, Found) and read.result.value == written[read.slot[0].decode()] for read in reads)
    starts = min(paths, world.parameters.k)  # no more paths than servers to begin with
    clean = sum(1 - (1 - (1 - _LYING) ** length) ** starts for length in lengths) / len(lengths)
    world.figures |= {"written": len(written) / len(names), "read": good / max(1, len(reads)), "a clean path": clean}


for _paths in (1, 2, 4, 8):
    _scenario(
        "S14" if _paths == 1 else f"S14d{_paths}",
        f"A fifth of the servers lie: they name only each other, deny what they hold, take what they drop. Disjoint paths: {_paths}.",
        options=lambda _dice, _number, paths=_paths: NodeOptions(disjoint_paths=paths),
        no_floor="who asks a liar may be lied to",
        no_copies="liars drop what they take",
    )(_liars)


def _liar(gang: list[Contact]) -> Callable[[SimulatedNode, Contact, Request, Callable[[Reply], None]], bool]:
    def behave(node: SimulatedNode, _sender: Contact, request: Request, respond: Callable[[Reply], None]) -> bool:
        match request:
            case FindNode(position=position):
                respond(NodesReply(_closest(gang, position)))
            case GetValue(position=position):
                closest = _closest(gang, position)
                respond(GetReply((), closest, Standing(True, closest)))
            case PutValue(record=record):
                closest = _closest(gang, int.from_bytes(record.position, "big"))
                respond(PutReply(None, Standing(True, closest)))
            case _:
                return False
        return True

    return behave


def _closest(gang: list[Contact], position: int) -> tuple[Contact, ...]:
    return tuple(sorted(gang, key=lambda contact: contact.key ^ position)[:4])


@_scenario(
    "S16",
    "One node fills its share of every store.",
    options=lambda _dice, _number: NodeOptions(limits=StoreLimits(max_records=40)),
    no_floor="puts over a node's share are refused",
)
async def full_stores(world: World) -> None:
    names = _names("full", 8 * world.network.size)
    greedy = world.anyone()
    writes = await together([lambda name=name: world.write(name, node=greedy) for name in names])  # type: ignore[misc]
    refused = [write for write in writes if write.outcome is not Outcome.OK]
    world.figures |= {"acknowledged": len(writes) - len(refused), "refused": len(refused)}
    assert refused, "one node may fill every store"
    modest = world.dice.choice([number for number in world.network.up() if number != greedy])
    others = [await world.write(name, node=modest) for name in _names("modest", 5)]
    assert all(write.outcome is Outcome.OK for write in others), "one node's writes leave no room for the others'"
    await world.read_all(names)
    kept = [write.slot[0].decode() for write in writes if write.outcome is Outcome.OK]
    number = world.anyone()
    assert await world.leave(number), "a leave was refused for lack of room"
    await world.quiet()
    await world.read_all(kept, quiescent=True)
    deleted = await together([lambda name=name: world.write(name, delete=True) for name in kept[:10]])  # type: ignore[misc]
    assert all(write.outcome is Outcome.OK for write in deleted), "a delete was refused for lack of room"


@_scenario("S17", "Old records are sent again by everybody who ever had them.")
async def replay(world: World) -> None:
    names = _names("replay", 8)
    await world.put_all(names)
    old = [record for node in world.network.nodes for record in node.store.scan(bytes(32), None, now=node.outside.wall_us())]
    await world.put_all(names[:4])
    await together([lambda name=name: world.write(name, delete=True) for name in names[4:]])  # type: ignore[misc]
    for record in old:
        for number in world.guardians((record.key, record.subkey)):
            target = world.network.nodes[number].contact
            sender = world.network.nodes[world.anyone()]
            for message in (PutValue(record), Push((record,))):
                sender.node.engine.ask(target, message, lambda _reply, _now: None)
    await asyncio.sleep(5)
    await world.read_all(names, readers=3)
    await world.quiet(150)
    await world.read_all(names, quiescent=True, readers=2)


@_scenario(
    "S18",
    "Half of the servers do not know a namespace yet.",
    options=lambda dice, _number: NodeOptions(namespaces=Namespaces([LatestVersion("news")]) if dice.random() < 0.5 else None),
)
async def mixed_namespaces(world: World) -> None:
    knowing = [number for number in world.network.up() if "news" in world.network.nodes[number].node.engine.namespaces]
    acknowledged = silent = 0
    for name in _names("mixed", 30):
        writer = world.network.dht(world.dice.choice(knowing))
        try:
            result = await writer.put(name, b"news", namespace="news", ttl=600, timeout=20)
        except QuorumNotMet as error:
            reasons = {refusal.reason for refusal in error.result.refused.values()}
            assert RefusalReason.INVALID in reasons, f"nobody said why it was refused: {reasons}"
        except PeerstackError:
            pass
        else:
            acknowledged += 1
            for peer in result.acknowledged:
                node = world.network.by_peer[peer]
                silent += not node.store.get_all("news", name.encode(), now=node.outside.wall_us())
            found = await world.network.dht(world.dice.choice(knowing)).get(name, namespace="news", timeout=20)
            assert found.value == b"news"
    world.figures |= {"acknowledged": acknowledged, "of": 30}
    assert not silent, "somebody acknowledged a namespace that it does not know"
    plain = _names("plain", 6)
    await world.put_all(plain)
    await world.read_all(plain, quiescent=True)


@_scenario("S19", "An older write that is refused does not shorten the newer one's life.")
async def refused_write(world: World) -> None:
    names = _names("refused", 8)
    olds: list[Write] = await world.put_all(names, ttl=100)
    records = [record for node in world.network.nodes for record in node.store.scan(bytes(32), None, now=node.outside.wall_us())]
    await world.put_all(names, ttl=1000)
    for record in records:
        for number in world.guardians((record.key, record.subkey)):
            sender = world.network.nodes[world.anyone()]
            done: list[Reply | PeerstackError] = []
            sender.node.engine.ask(world.network.nodes[number].contact, PutValue(record), lambda reply, _now, done=done: done.append(reply))  # type: ignore[misc]
    await asyncio.sleep(110)
    assert all(write.expires_at < world.now for write in olds)
    await world.read_all(names, quiescent=True, readers=3)


@_scenario("S20", "Sweeping takes the dead and nobody else.")
async def sweeping(world: World) -> None:
    names = _names("sweep", 24)
    for index, name in enumerate(names):
        await world.write(name, ttl=60 if index % 2 else 3000)
    await world.quiet(61)
    await world.read_all(names)
    await world.quiet(200)
    reads = await world.read_all(names, quiescent=True)
    assert all(isinstance(read.result, Found) == (index % 2 == 0) for index, read in enumerate(reads))
    for node in world.network.nodes:
        for record in node.store.scan(bytes(32), None, now=0):
            assert record.value is None or record.expires_at > node.outside.wall_us() - 20_000_000, "a dead value was not swept"
    assert isinstance(world.network.nodes[0].store, MemoryStore)
