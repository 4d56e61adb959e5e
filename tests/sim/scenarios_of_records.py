"""Scenarios of records, clocks and stores, and of servers that lie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from peerstack.dht.contract import RefusalReason
from peerstack.dht.namespaces import LatestVersion, Namespaces
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import FindNode, GetReply, GetValue, NodesReply, Push, PutReply, PutValue, Reply, Request, Standing
from peerstack.dht.store import MemoryStore, StoreLimits
from peerstack.errors import PeerstackError, QuorumNotMet
from tests.sim.history import Absence, Found, Outcome, Write
from tests.sim.kad_network import NodeOptions, SimulatedNode
from tests.sim.scenario import names_of, scenario
from tests.sim.world import World, together


@scenario(
    "S11", "Clocks differ by up to five minutes either way.", options=lambda dice, _number: NodeOptions(skew_s=dice.uniform(-300, 300))
)
async def skewed_clocks(world: World) -> None:
    world.max_skew_s = 300
    names = names_of("skew", 10)
    for _ in range(6):
        await world.put_all(names, ttl=2500)
        await world.read_all(names, readers=2)
        await world.write(world.dice.choice(names), delete=True)
        await asyncio.sleep(30)
    await world.quiet(150)
    await world.read_all(names, quiescent=True, readers=2)


@scenario("S12", "Values live exactly as long as they were given, renewed ones as long as their writer.")
async def lifetimes(world: World) -> None:
    short, renewed, orphaned = names_of("short", 6), names_of("renewed", 6), names_of("orphaned", 6)
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


_SURE_WHEN_CUT: Final = 0.97
"""In the first seconds who is cut off with a few others asks many that do not answer any more."""


@scenario("S13", "A value is deleted while some of its holders are cut off.", sure=_SURE_WHEN_CUT)
async def delete_in_partition(world: World) -> None:
    names = names_of("delete", 8)
    await world.put_all(names)
    holders = [world.guardians((name.encode(), b""))[world.dice.randrange(3)] for name in names]
    away = set(holders[: max(2, world.network.size // 8)])
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
    names = names_of("liars", 60)
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
    scenario(
        "S14" if _paths == 1 else f"S14d{_paths}",
        f"A fifth of the servers lie: they name only each other, deny what they hold, take what they drop. Disjoint paths: {_paths}.",
        options=lambda _dice, _number, paths=_paths: NodeOptions(disjoint_paths=paths),
        no_floor="who asks a liar may be lied to",
        no_copies="liars drop what they take",
        only="kad",
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


@scenario(
    "S16",
    "One node fills its share of every store.",
    least=16,
    options=lambda _dice, _number: NodeOptions(limits=StoreLimits(max_records=40)),
    no_floor="puts over a node's share are refused",
)
async def full_stores(world: World) -> None:
    names = names_of("full", 8 * world.network.size)
    greedy = world.anyone()
    writes = await together([lambda name=name: world.write(name, node=greedy) for name in names])  # type: ignore[misc]
    refused = [write for write in writes if write.outcome is not Outcome.OK]
    world.figures |= {"acknowledged": len(writes) - len(refused), "refused": len(refused)}
    assert refused, "one node may fill every store"
    modest = world.dice.choice([number for number in world.network.up() if number != greedy])
    others = [await world.write(name, node=modest) for name in names_of("modest", 5)]
    assert all(write.outcome is Outcome.OK for write in others), "one node's writes leave no room for the others'"
    await world.read_all(names)
    kept = [write.slot[0].decode() for write in writes if write.outcome is Outcome.OK]
    number = world.anyone()
    assert await world.leave(number), "a leave was refused for lack of room"
    await world.quiet()
    await world.read_all(kept, quiescent=True)
    deleted = await together([lambda name=name: world.write(name, delete=True) for name in kept[:10]])  # type: ignore[misc]
    assert all(write.outcome is Outcome.OK for write in deleted), "a delete was refused for lack of room"


@scenario("S17", "Old records are sent again by everybody who ever had them.")
async def replay(world: World) -> None:
    names = names_of("replay", 8)
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


@scenario(
    "S18",
    "Half of the servers do not know a namespace yet.",
    least=12,
    options=lambda dice, _number: NodeOptions(namespaces=Namespaces([LatestVersion("news")]) if dice.random() < 0.5 else None),
)
async def mixed_namespaces(world: World) -> None:
    knowing = [number for number in world.network.up() if "news" in world.network.nodes[number].node.engine.namespaces]
    acknowledged = silent = 0
    for name in names_of("mixed", 30):
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
    plain = names_of("plain", 6)
    await world.put_all(plain)
    await world.read_all(plain, quiescent=True)


@scenario("S19", "An older write that is refused does not shorten the newer one's life.")
async def refused_write(world: World) -> None:
    names = names_of("refused", 8)
    olds: list[Write] = await world.put_all(names, ttl=100)
    records = [record for node in world.network.nodes for record in node.store.scan(bytes(32), None, now=node.outside.wall_us())]
    await world.put_all(names, ttl=1000)
    for record in records:
        for number in world.guardians((record.key, record.subkey)):
            sender = world.network.nodes[world.anyone()]
            done: list[Reply | PeerstackError] = []
            sender.node.engine.ask(world.network.nodes[number].contact, PutValue(record), lambda reply, _now, done=done: done.append(reply))
    await asyncio.sleep(110)
    assert all(write.expires_at < world.now for write in olds)
    await world.read_all(names, quiescent=True, readers=3)


@scenario("S20", "Sweeping takes the dead and nobody else.")
async def sweeping(world: World) -> None:
    names = names_of("sweep", 24)
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
