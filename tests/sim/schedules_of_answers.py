"""Schedules of answers: who counts, and what a read or a write makes of those that come, or do not."""

from __future__ import annotations

import asyncio

from peerstack.dht.replica.messages import GetValue, Offer, Pull, PutValue, Request
from peerstack.errors import QuorumNotMet
from tests.sim.history import Found, Outcome
from tests.sim.schedule import schedule
from tests.sim.stage import WRITES, Stage, require

# -- who counts


@schedule()
async def unreachable_holders_still_count(stage: Stage) -> None:
    writer, reader = stage.bystanders("count")[:2]
    first, *others = stage.nearest("count")
    await stage.put_everywhere("count")
    stage.cut([writer], others)
    await stage.world.put("count", node=writer)
    stage.lose([first], GetValue, sender=reader)
    await stage.world.get("count", node=reader)


@schedule()
async def one_acknowledgement_is_no_majority(stage: Stage) -> None:
    writer, reader = stage.bystanders("one")[:2]
    first, *others = stage.nearest("one")
    await stage.put_everywhere("one")
    stage.lose(others, PutValue, sender=writer)
    await stage.world.put("one", node=writer)
    stage.lose([first], GetValue, sender=reader)
    await stage.world.get("one", node=reader)


@schedule()
async def a_put_that_nobody_stored_says_so(stage: Stage) -> None:
    stage.lose(stage.nearest("nobody"), PutValue)
    try:
        result = await stage.world.network.dht(stage.bystanders("nobody")[0]).put("nobody", b"value", timeout=10)
    except QuorumNotMet:
        return
    raise AssertionError(f"a put that reached nobody came back as if it were done: {result}")


@schedule()
async def the_no_of_a_newcomer_does_not_count(stage: Stage) -> None:
    world, (first, *others) = stage.world, stage.nearest("no")
    readers = stage.bystanders("no")[:3]
    stage.lose([first], *WRITES)
    await stage.put("no")
    newcomer = stage.start_beside("no")
    stage.lose([number for number in world.network.up() if number not in (first, newcomer)], Pull, sender=newcomer)
    stage.hold_up(others, 0.8, GetValue)
    await stage.until(lambda: stage.counts(first, newcomer), "the newcomer asked nobody")
    await asyncio.sleep(0.5)
    require(stage.held(newcomer, "no") is None, "the newcomer was handed the value")
    for reader in readers:
        await world.get("no", node=reader)
    await stage.let_through()
    await world.quiet(200)
    await world.get("no", quiescent=True)


@schedule()
async def the_acknowledgement_of_a_newcomer_does_not_count(stage: Stage) -> None:
    world, (first, *others) = stage.world, stage.nearest("ack")
    writer, reader = stage.bystanders("ack")[:2]
    await stage.put_everywhere("ack")
    newcomer = stage.start_beside("ack")
    stage.lose([*others, reader], Request, sender=newcomer)
    stage.lose([number for number in world.network.up() if number not in (first, newcomer)], Pull, sender=newcomer)
    await stage.until(lambda: stage.counts(first, newcomer), "the newcomer asked nobody")
    await asyncio.sleep(0.5)
    stage.lose(others, PutValue)
    await world.put("ack", node=writer)
    stage.lose([first, newcomer], GetValue, sender=reader)
    await world.get("ack", node=reader)


@schedule()
async def an_own_copy_is_one_answer_of_several(stage: Stage) -> None:
    await stage.put_everywhere("own")
    stale = stage.nearest("own")[0]
    stage.lose([stale], *WRITES)
    await stage.put("own")
    await stage.world.get("own", node=stale)


@schedule()
async def who_was_cut_off_does_not_count_when_it_is_back(stage: Stage) -> None:
    world = stage.world
    away, misses = await _come_back(stage, "back")
    world.network.nodes[away].node.meet(stage.contact(misses))
    await stage.until(lambda: stage.counts(misses, away), "who was cut off does not come back")
    await asyncio.sleep(1)
    await world.get("back", node=stage.bystanders("back")[1])


@schedule()
async def who_is_back_waits_to_hear_of_the_others(stage: Stage) -> None:
    world = stage.world
    away, misses = await _come_back(stage, "wait")
    others = [number for number in world.network.up() if number not in stage.nearest("wait", 4)]
    for number in (misses, *others):
        world.network.nodes[away].node.meet(stage.contact(number))
        await stage.ping(away, number)
    await stage.until(lambda: stage.counts(misses, away), "who was cut off does not come back")
    await asyncio.sleep(15)
    await world.get("wait", node=stage.bystanders("wait")[1])


async def _come_back(stage: Stage, name: str) -> tuple[int, int]:
    """One holder is cut off for long, and back, but does not reach yet who holds what was written meanwhile; another holder missed that."""
    world, (away, misses, *newer) = stage.world, stage.nearest(name, 4)
    writer = stage.bystanders(name)[0]
    await stage.put_everywhere(name)
    await world.cut_off([away])
    others = [number for number in world.network.up() if number != away]
    await stage.until(lambda: not any(stage.counts(each, away) for each in others), "who is cut off is not forgotten")
    await asyncio.sleep(5)  # the rest exchange
    stage.lose([misses], *WRITES)
    stage.lose(newer, *WRITES, Offer, Pull, sender=misses)
    await stage.put(name, node=writer)
    await world.heal()
    stage.cut([away], newer)
    stage.cut(newer, [away])
    stage.hold_up(newer, 0.8, GetValue)
    return away, misses


# -- reads that have to succeed


@schedule()
async def a_read_does_not_need_everybody(stage: Stage) -> None:
    await stage.put_everywhere("down")
    await stage.world.crash(stage.nearest("down")[0])
    for reader in stage.bystanders("down")[:3]:
        read = await stage.world.get("down", node=reader, quiescent=True)
        assert isinstance(read.result, Found), "two of three holders did not do"
        assert read.result.confirmed, "two of three answers did not confirm"


@schedule()
async def a_refused_connection_ends_no_read(stage: Stage) -> None:
    await stage.put_everywhere("shut")
    gone, *others = stage.nearest("shut")
    stage.hold_up(others, 0.5, GetValue)
    await stage.shut(gone)
    for reader in stage.bystanders("shut")[:3]:
        await stage.world.get("shut", node=reader, quiescent=True)


@schedule()
async def a_repair_that_fails_ends_no_read(stage: Stage) -> None:
    await stage.put_everywhere("repair")
    misses = stage.nearest("repair")[0]
    stage.lose([misses], *WRITES)
    await stage.put("repair")
    for reader in stage.bystanders("repair")[:3]:
        await stage.world.get("repair", node=reader, quiescent=True)


@schedule(size=64)
async def a_value_is_found_from_everywhere(stage: Stage) -> None:
    names = [f"far {number}" for number in range(6)]
    for name, write in zip(names, await stage.world.put_all(names), strict=True):
        assert write.outcome is Outcome.OK, f"{name} was not acknowledged although nothing is wrong: {write.outcome.value}"
    for read in await stage.world.read_all(names, quiescent=True, readers=4):
        assert isinstance(read.result, Found), f"{read.slot} is not found although nothing is wrong: {read.result.value}"
