"""Scenarios of servers that come, go, fail and lose sight of each other."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from collections.abc import Callable
from math import comb
from typing import Final

from peerstack.dht.namespaces import Namespaces
from peerstack.dht.records import wire_key
from peerstack.dht.replica.contacts import key_of, position_of
from peerstack.dht.store import Rules
from peerstack.identity import PrivateKey
from peerstack.testing.message_network import LinkModel
from tests.sim.disk import SlowDisk
from tests.sim.history import Found
from tests.sim.kad_network import NodeOptions
from tests.sim.scenario import names_of, one, scenario, until, use
from tests.sim.world import SMALL, World, together


@scenario("S1", "Steady state: every reader finds every value.")
async def steady(world: World) -> None:
    names = names_of("steady", 20)
    await world.put_all(names)
    await world.network.add_client()
    await world.quiet(150)
    await world.read_all(names, quiescent=True, readers=3)
    hops = [hop.depth for name in names for hop in (await world.network.dht(world.anyone()).lookup(name, trace=True)).hops]
    world.figures["most hops"] = max(hops)
    assert max(hops) <= 2 * math.log2(world.network.size), "a lookup went too far"
    await world.put_all(names)
    await world.read_all(names, quiescent=True)


@scenario("S2", "All but one of the nodes that acknowledged a write crash at once.")
async def holders_crash(world: World) -> None:
    names = names_of("crash", 12)
    writes = await world.put_all(names)
    victims = list(world.dice.choice(writes).acked)
    for number in victims[1:] if world.dice.random() < 0.5 else victims[:-1]:
        await world.crash(number)
    await world.read_all(names, readers=2)
    await use(world, names, 60)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@scenario("S2r", "After a quiet round all but one of the responsible set crash at once, again and again.")
async def holders_crash_repeatedly(world: World) -> None:
    names = names_of("repeat", 12)
    await world.put_all(names)
    await world.quiet(150)
    for _ in range(3):
        victims = world.guardians((world.dice.choice(names).encode(), b""))
        world.dice.shuffle(victims)
        if not world.spares(*victims[1:]):
            break
        for number in victims[1:]:
            await world.crash(number)
        await world.read_all(names)
        await use(world, names, 30)
        await world.quiet()
        await world.read_all(names, quiescent=True)


@scenario("S2m", "All but one of those that acknowledged each write crash at once: of no key all, and of no r servers in a row.")
async def many_holders_crash(world: World) -> None:
    names = names_of("many", 20)
    writes = await world.put_all(names)
    up = world.network.up()
    rows = [world.network.responsible(key_of(world.network.peer_id(number)), up, world.parameters.r) for number in up]
    sets = [set(row) for row in (*rows, *(write.acked for write in writes))]
    counted = [world.counted_by(number) for number in up]  # who loses half of these loses its voice
    victims: set[int] = set()
    for number in world.dice.sample(up, len(up)):
        more = victims | {number}
        if not any(each <= more for each in sets) and all(2 * len(each & more) < len(each) for each in counted):
            victims.add(number)
    for number in sorted(victims):
        await world.crash(number)
    world.figures["crashed"] = len(victims)
    await world.read_all(names, readers=2)
    await use(world, names, 60)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@scenario(
    "S3",
    "More crash than is promised: the loss is seen, and is what chance says.",
    seeds=10,
    least=8,
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
    for name in names_of("loss", 500):
        guardians = set(world.guardians((name.encode(), b"")))
        if not guardians & taken:
            taken |= guardians
            names.append(name)
    return names


@scenario("S4", "One after the other leaves gracefully until one is left.")
async def everybody_leaves(world: World) -> None:
    names = names_of("leave", 10)
    await world.put_all(names)
    await world.quiet(150)
    while len(world.network.up()) > 1:
        task = asyncio.ensure_future(_leave(world, world.anyone()))
        await until(task, lambda: one(world, names), 0.05)
    await world.read_all(names, quiescent=True)


_SURE_IN_ORDER: Final = 0.96
"""The same sets lose one after the other, so that now and then most of those whom a reader asks have just left."""


@scenario(
    "S4o",
    "In the order of their positions, one way or the other, they leave until one is left.",
    size=30,
    most={"kad": 30},
    sure=_SURE_IN_ORDER,
)
async def everybody_leaves_in_order(world: World) -> None:
    names = names_of("order", 10)
    await world.put_all(names)
    await world.quiet(150)
    order = sorted(world.network.up(), key=lambda number: key_of(world.network.peer_id(number)), reverse=world.dice.random() < 0.5)
    for number in order[:-1]:
        await until(asyncio.ensure_future(_leave(world, number)), lambda: one(world, names), 0.05)
    await world.read_all(names, quiescent=True)


async def _leave(world: World, number: int) -> None:
    assert await world.leave(number), f"node {number} could not hand everything over"


@scenario("S5", "A storm of joiners while everybody reads.", size=6)
async def join_storm(world: World) -> None:
    names = names_of("storm", 10)
    await world.put_all(names)

    async def join() -> None:
        for _ in range(9 * world.network.size):
            world.network.start()
            await asyncio.sleep(60 / (9 * world.network.size))

    await until(asyncio.ensure_future(join()), lambda: one(world, names), 0.2)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@scenario("S6", "Somebody joins exactly between a key and its owner during reads and writes.")
async def join_at_key(world: World) -> None:
    names = names_of("between", 4)
    await world.put_all(names)
    for name in names:
        identity = _closer_identity(world, name)
        task = asyncio.ensure_future(_join(world, NodeOptions(identity=identity)))
        await until(task, lambda name=name: together([lambda: world.read(name), lambda: world.read(name)]), 0.01)  # type: ignore[misc]
        await world.write(name)
        await world.read(name)
    await world.quiet(150)
    await world.read_all(names, quiescent=True, readers=3)


async def _join(world: World, options: NodeOptions | None = None) -> None:
    await world.join(options)


def _closer_identity(world: World, name: str) -> PrivateKey:
    distance = world.network.geometry.distance_from(position_of(wire_key("kv", name.encode())))
    nearest = min(distance(key_of(world.network.peer_id(number))) for number in world.network.up())
    for attempt in range(100_000):
        identity = PrivateKey.from_seed(hashlib.sha256(f"{name} {attempt}".encode()).digest())
        if distance(key_of(identity.peer_id)) < nearest:
            return identity
    raise AssertionError("nobody is closer")


_SURE_IN_CHURN: Final = 0.93
"""Two who join next to each other while one of the set that they enter is down wait for it, and do not speak for the set meanwhile."""


@scenario("S7p", "Poisson joins, leaves and crashes while everybody reads and writes.", sure=_SURE_IN_CHURN)
async def poisson_churn(world: World) -> None:
    await _churn(world, lambda: world.dice.expovariate(1 / 12))


@scenario("S7w", "Sessions of Weibull lengths (shape 0.4) while everybody reads and writes.", sure=_SURE_IN_CHURN)
async def weibull_churn(world: World) -> None:
    await _churn(world, lambda: min(120.0, world.dice.weibullvariate(4, 0.4)))


async def _churn(world: World, pause_s: Callable[[], float]) -> None:
    names = names_of("churn", 10)
    await world.put_all(names)
    size = world.network.size

    async def faults() -> None:
        end = world.now + 240
        while world.now < end:
            await asyncio.sleep(pause_s())
            number = world.anyone()
            chance = world.dice.random()
            may_go = len(world.network.up()) > size * 0.7 and world.spares(number)
            if may_go and chance < 0.3:
                await world.crash(number)
            elif may_go and chance < 0.55:
                await world.leave(number)
            else:
                world.network.start()

    await until(asyncio.ensure_future(faults()), lambda: one(world, names), 0.5)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@scenario(
    "S8",
    "The network falls in two for ten minutes, is written on both sides, and heals.",
    no_floor="neither half has the majority of the servers it knew, so both lose their voice until they have taken over",
)
async def partition(world: World) -> None:
    names = names_of("cut", 12)
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


@scenario(
    "S8h",
    "The network falls in two for an hour, is written on both sides all the time, and heals.",
    seeds=0,
    no_floor="neither half has the majority of the servers it knew, so both lose their voice until they have taken over",
)
async def long_partition(world: World) -> None:
    names = names_of("hour", 8)
    await world.put_all(names)
    up = world.network.up()
    await world.cut_off(world.dice.sample(up, len(up) // 2))
    for _ in range(12):
        await asyncio.sleep(295)
        await together([lambda name=name: world.write(name) for name in names])  # type: ignore[misc]
        await world.read_all(names[:4])
    await world.heal()
    await world.quiet(700)
    await world.read_all(names, quiescent=True, readers=3)


@scenario("S8m", "A small part is cut off for ten minutes; the majority goes on.")
async def small_partition(world: World) -> None:
    names = names_of("part", 12)
    await world.put_all(names)
    await world.cut_off(world.dice.sample(world.network.up(), max(2, world.network.size // 10)))
    for _ in range(6):
        await asyncio.sleep(100)
        await together([lambda name=name: world.write(name) for name in world.dice.sample(names, 4)])  # type: ignore[misc]
        await world.read_all(names[:6])
    await world.heal()
    await world.quiet(600)
    await world.read_all(names, quiescent=True, readers=3)


@scenario(
    "S9",
    "Messages are lost, doubled and overtaken, one node is slow, some links work one way only.",
    links=LinkModel(loss=0.05, duplication=0.05, jitter_s=0.1),
    no_floor="every twentieth message is lost, and some links never carry any",
)
async def bad_links(world: World) -> None:
    """On whole hosts, where a connection either carries everything or breaks, what that means is in `HostNetwork`."""
    names = names_of("links", 12)
    up = world.network.up()
    slow = world.dice.choice(up)
    world.network.slow_down(slow, 0.9)
    for _ in range(40):
        world.network.cut(*world.dice.sample(up, 2))
    for _ in range(4):
        await world.put_all(names)
        await world.read_all(names, readers=2)
        await asyncio.sleep(20)
    await world.network.heal()
    world.network.mend_links()
    world.network.slow_down(slow, 0.5)  # who now and then is too late for any answer to count is dead now and then
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


def _on_disk(_dice: random.Random, _number: int) -> NodeOptions:
    return NodeOptions(store=SlowDisk(Rules(namespaces=Namespaces(), parameters=SMALL)))


@scenario("S10", "Servers lose power in the middle of commits, and come back with their disks.", options=_on_disk)
async def power_cut(world: World) -> None:
    names = names_of("power", 12)
    await world.put_all(names)
    victims: list[int] = []
    task = asyncio.ensure_future(use(world, names, 60, pause_s=0.1, puts=0.8))
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


@scenario("S10a", "Every server at once loses power and comes back with its disk.", options=_on_disk)
async def all_power_cut(world: World) -> None:
    names = names_of("all", 12)
    await world.put_all(names)
    everybody = world.network.up()
    for number in everybody:
        await world.crash(number, disk_lost=False)
    await asyncio.sleep(400)
    for number in everybody:
        await world.back(number, with_disk=True, wait=False)
    await world.quiet()
    await world.read_all(names, quiescent=True, readers=2)


@scenario("S10e", "Servers crash and come back empty, under their identities.")
async def empty_disk(world: World) -> None:
    names = names_of("empty", 12)
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


@scenario(
    "S15",
    "A share of the servers, up to half, crashes at once: whatever somebody still holds is found.",
    no_floor="more crash than is promised",
    no_copies="who lost most of the servers that it counted forgets nobody, until they return or an operator says that they will not",
)
async def share_crashes(world: World) -> None:
    names = names_of("share", 20)
    writes = await world.put_all(names)
    await world.quiet(150)
    share = world.dice.choice([0.1, 0.2, 0.3, 0.4, 0.5])
    crashed = set(world.dice.sample(world.network.up(), round(share * world.network.size)))
    lost = {write.slot for write in writes if all(number in crashed for number in world.network.up() if world.holds(number, write))}
    for number in sorted(crashed):
        await world.crash(number)
    await world.quiet()
    missed = {read.slot for read in await world.read_all(names, readers=2) if not isinstance(read.result, Found)}
    world.figures |= {"share": share, "lost": len(lost), "missed": len(missed)}
    assert missed <= lost, f"{sorted(missed - lost)} live somewhere, and are not found"


@scenario("S21", "A network grows beyond r + 2 servers and shrinks to two, by leaves and by crashes.", size=2, only="chord")
async def small_and_large(world: World) -> None:
    names = names_of("small", 6)
    await world.put_all(names)
    for by_crashes in (False, True, False):
        while len(world.network.up()) < world.parameters.r + 5:
            await until(asyncio.ensure_future(_join(world)), lambda: one(world, names), 0.2)
        await world.quiet(150)
        world.look()
        await world.read_all(names, quiescent=True)
        while len(world.network.up()) > 2:
            if by_crashes:
                await world.crash(world.anyone())
                await world.quiet()
            else:
                await until(asyncio.ensure_future(_leave(world, world.anyone())), lambda: one(world, names), 0.05)
        await world.quiet(150)
        world.look()
        await world.read_all(names, quiescent=True)
