"""Schedules of rings: what only a ring can do wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from peerstack_chord.messages import Join

from peerstack.dht.contract import HopOutcome
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import GetReply, GetValue, Pull, Reply, Request, Standing
from peerstack.identity import PrivateKey
from tests.sim.history import Found
from tests.sim.schedule import schedule
from tests.sim.schedules_of_takeover import leave_out
from tests.sim.stage import Stage, require
from tests.sim.world import SMALL


def _order(stage: Stage) -> list[int]:
    """Who runs, clockwise."""
    return sorted(stage.world.network.up(), key=lambda number: stage.contact(number).key)


@schedule(dht="chord")
async def a_ring_closes_over_its_dead(stage: Stage) -> None:
    for _ in range(2):  # the second time, whoever keeps up the ring has to have gone on
        await asyncio.sleep(30)
        first, second, *_rest = _order(stage)[stage.world.dice.randrange(6) :]
        await stage.world.crash(first)
        await stage.world.crash(second)
    await stage.world.quiet(60)
    stage.world.look()


@schedule(dht="chord")
async def a_newcomer_is_known_on_either_side(stage: Stage) -> None:
    for _ in range(3):
        await stage.join()
    await stage.world.quiet(60)
    stage.world.look()


@schedule(dht="chord", size=40, parameters=replace(SMALL, r=8))
async def a_lookup_meets_nobody_who_is_long_dead(stage: Stage) -> None:
    world, asker = stage.world, stage.world.anyone()
    half_way = stage.contact(asker).key + (1 << 255)
    *fingers, behind = world.network.responsible(half_way % (1 << 256), world.network.up(), 5)
    for number in fingers:
        await world.crash(number)
    await world.quiet(600)
    beyond = [name for name in map(str, range(1000)) if stage.nearest(name, 1) == [behind]]
    for name in beyond[:5]:
        lookup = await world.network.dht(asker).lookup(name, trace=True)
        silent = [hop for hop in lookup.hops if hop.outcome is HopOutcome.TIMEOUT]
        assert not silent, f"ten minutes after it died somebody is asked again: {silent[0]}"


@schedule(dht="chord")
async def a_liar_does_not_lead_a_lookup_on_for_ever(stage: Stage) -> None:
    world, asker = stage.world, stage.bystanders("endless")[0]
    asked = 0
    liars = [world.network.nodes[number] for number in world.network.up() if number != asker]

    def serve(node: Any, _sender: Contact, request: Request, respond: Callable[[Reply], None]) -> bool:
        nonlocal asked
        if not isinstance(request, GetValue):
            return False
        asked += 1  # each names one more who is a little closer
        invented = Contact(PrivateKey.from_seed(asked.to_bytes(32, "big")).peer_id, (request.position - (1 << 200) + asked) % (1 << 256))
        world.network.by_peer[invented.peer_id] = node
        world.network.messages.attach(invented.peer_id, node._handle)
        respond(GetReply((), (invented,), Standing(False)))
        return True

    for node in liars:
        node.options = replace(node.options, behaviour=serve)
    await world.get("endless", node=asker, timeout=60)
    require(asked > len(liars), "nobody was led on")
    assert asked <= 200, f"a lookup was led on over {asked} servers"


@schedule(dht="chord")
async def who_comes_back_is_no_member_before_it_has_joined(stage: Stage) -> None:
    world = stage.world
    before, back, *_ = _order(stage)
    await world.crash(back)
    stage.lose(world.network.up(), Join, sender=back)
    await world.back(back, with_disk=True, wait=False)
    await asyncio.sleep(30)
    place = world.network.nodes[before].node.ring.place
    named = [member.key for member in place.successors]
    assert stage.contact(back).key not in named, "a server that has not joined again is on a successor list"
    assert len(named) == place.r, f"a successor list has {len(named)} of {place.r} entries"
    await stage.let_through()
    await world.quiet(60)
    world.look()


@schedule(dht="chord", size=5)
async def who_takes_over_has_every_page(stage: Stage) -> None:
    network, names = stage.world.network, [f"page {number}" for number in range(40)]
    for name in names:
        await network.dht(0).put(name, bytes(40_000), ttl=3500, timeout=20)
    for source in network.up():
        stage.change([source], Pull, to=_at_first(2, leave_out))
    newcomer = await stage.join()
    lacking = [name for name in names if newcomer in stage.nearest(name) and stage.held(newcomer, name) is None]
    mine = [name for name in names if newcomer in stage.nearest(name)]
    require(len(mine) >= 10, "the newcomer is responsible for no more than a page")
    assert not lacking, f"a server speaks for {len(mine)} records and lacks {len(lacking)} of them"


def _at_first(times: int, change: Callable[[Reply], Reply]) -> Callable[[Reply], Reply]:
    answered = count()
    return lambda reply: change(reply) if next(answered) < times else reply


@schedule(dht="chord", size=24)
async def a_server_answers_everybody(stage: Stage) -> None:
    await stage.put_everywhere("busy")
    for reader in stage.world.network.up():
        read = await stage.world.get("busy", node=reader, quiescent=True)
        assert isinstance(read.result, Found), f"server {reader} is not answered: {read.result.value}"
