"""Schedules of servers: what they hold, whom they know, and what they announce."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

from peerstack_kad.content import Content
from peerstack_kad.keys import common_prefix
from peerstack_kad.messages import AddProvider

from peerstack.dht.replica.messages import GetValue, Request
from tests.sim.history import Found
from tests.sim.schedule import schedule
from tests.sim.stage import WRITES, Stage, require
from tests.sim.world import SMALL

# -- who holds what


@schedule()
async def what_is_acknowledged_is_committed(stage: Stage) -> None:
    world, holders = stage.world, stage.nearest("disk")
    for number in holders:
        await stage.start_again(number, stage.disk(commit_s=0.5))
    await stage.put("disk")
    await asyncio.sleep(0.01)
    for number in holders:
        await world.crash(number, disk_lost=False)
    for number in holders:
        await world.back(number, with_disk=True, wait=False)
    await world.quiet()
    await world.get("disk", quiescent=True)


@schedule()
async def what_one_holder_missed_it_is_sent_in_the_next_round(stage: Stage) -> None:
    world, (misses, *others) = stage.world, stage.nearest("missed")
    await stage.put_everywhere("missed")
    stage.lose([misses], *WRITES)
    await stage.put("missed")
    await stage.let_through()
    await world.quiet(150)
    for number in others:
        await world.crash(number)
    await world.quiet()
    await world.get("missed", quiescent=True)


@schedule(size=14, parameters=replace(SMALL, k=5, replicas=5))
async def a_stale_holder_that_offers_first_does_not_silence_the_others(stage: Stage) -> None:
    world = stage.world
    *newer, stale, staler = stage.nearest("offer")
    await stage.put_everywhere("offer")
    stage.lose([stale, staler], *WRITES)
    await stage.put("offer")
    await stage.let_through()
    require(stage.record_of(staler, "offer") == stage.record_of(stale, "offer"), "nobody missed the later record")
    await stage.repair(stale, *newer, staler)
    await world.quiet(1)
    for number in [*newer, stale]:
        await world.crash(number)
    await world.quiet()
    await world.get("offer", quiescent=True)


@schedule()
async def a_displaced_copy_stays_until_everybody_responsible_has_it(stage: Stage) -> None:
    world, (misses, keeps, displaced) = stage.world, stage.nearest("displaced")
    stage.lose([misses], *WRITES)
    await stage.put("displaced")
    await stage.let_through()
    newcomer = stage.start_beside("displaced")
    stage.cut([keeps, displaced], [misses, newcomer])
    await stage.until(lambda: stage.counts(displaced, newcomer) and stage.counts(keeps, newcomer), "the newcomer asked nobody")
    await stage.repair(displaced)
    stage.mend()
    await world.crash(keeps)
    await world.quiet()
    await world.get("displaced", quiescent=True)


@schedule()
async def who_leaves_hands_over_first(stage: Stage) -> None:
    await stage.put_everywhere("left")
    for number in stage.nearest("left"):
        assert await stage.world.leave(number), "a server could not hand over although nothing is wrong"
    await stage.world.get("left", quiescent=True)


@schedule(size=32)
async def newcomers_are_given_what_they_have_to_hold(stage: Stage) -> None:
    names = [f"given {number}" for number in range(6)]
    await stage.world.put_all(names)
    for name in names:
        stage.hold_up(stage.nearest(name), 0.9, GetValue)  # so that their copies help nobody
        for newcomer in stage.beside(name, stage.world.parameters.replicas):
            await stage.join(newcomer)
        read = await stage.world.get(name, node=stage.bystanders(name)[0], quiescent=True)
        assert isinstance(read.result, Found), "three newcomers took the place of the holders without the value"


# -- the routing table


@schedule(size=512, parameters=replace(SMALL, k=8))
async def a_newcomer_fills_every_bucket(stage: Stage) -> None:
    network = stage.world.network
    for _ in range(6):
        number = await stage.join()
        await asyncio.sleep(5)
        table, own = network.nodes[number].node.table, stage.contact(number).key
        others = (stage.contact(each).key for each in network.up() if each != number)
        for index, count in sorted(Counter(common_prefix(own, other) for other in others).items()):
            known, wanted = len(table.bucket(index)), min(count, stage.world.parameters.k)
            assert known >= wanted, f"of {count} servers in bucket {index} a newcomer knows {known}"


@schedule()
async def no_client_is_in_a_table(stage: Stage) -> None:
    await stage.world.network.add_client()
    client = stage.world.network.clients[0].number
    for number in range(4):
        await stage.world.put(f"client {number}", node=client)
        await stage.world.get(f"client {number}", node=client)
    stage.world.look()


# -- providers


@schedule(size=8)
async def what_is_provided_is_announced_once_a_day(stage: Stage) -> None:
    network, announced = stage.world.network, 0
    contents = {node.number: Content(node.node, serving=True) for node in network.nodes}

    def serve(node: Any, sender: Any, request: Request, respond: Any) -> bool:
        nonlocal announced
        announced += isinstance(request, AddProvider)
        return contents[node.number].serve(sender, request, respond)

    for node in network.nodes:
        node.options = replace(node.options, behaviour=serve)
        contents[node.number].start()
    contents[0].provided.update(f"key {number}".encode() for number in range(20))
    contents[0].reprovide()
    await asyncio.sleep(60)
    once = announced
    require(once > 0, "nothing was announced")
    await asyncio.sleep(1800)
    for content in contents.values():
        content.stop()
    assert announced == once, f"what was announced in {once} messages was announced again within half an hour, in {announced - once}"
