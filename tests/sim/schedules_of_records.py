"""Schedules of records: how long a value lives, and which of two stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peerstack.dht.replica.messages import PutValue
from tests.sim.history import Found, Outcome
from tests.sim.kad_network import NodeOptions
from tests.sim.schedule import schedule
from tests.sim.stage import WRITES, Stage, is_absent, require

# -- how long a value lives


@schedule()
async def a_value_ends_when_its_writer_said(stage: Stage) -> None:
    await stage.put_everywhere("short", ttl=60)
    await asyncio.sleep(70)
    for reader in stage.bystanders("short")[:3]:
        await stage.world.get("short", node=reader, quiescent=True)
    stage.world.look()


@schedule()
async def a_renewal_changes_the_end_and_nothing_else(stage: Stage) -> None:
    world, writer = stage.world, stage.bystanders("renewed")[0]
    write = await stage.put("renewed", node=writer, ttl=None)
    await asyncio.sleep(write.expires_at - world.now + 100)
    for reader in stage.bystanders("renewed")[:3]:
        read = await world.get("renewed", node=reader, quiescent=True)
        assert isinstance(read.result, Found), "a value was not renewed although its writer runs"


@schedule()
async def what_has_ended_is_not_renewed_into_life(stage: Stage) -> None:
    world, writer = stage.world, stage.bystanders("orphan")[0]
    write = await stage.put("orphan", node=writer, ttl=None)
    await world.cut_off([writer])  # its renewals reach nobody
    await asyncio.sleep(write.expires_at - world.now + 10)
    reader = stage.bystanders("orphan")[1]
    require(is_absent(await world.get("orphan", node=reader)), "the value did not end")
    await world.heal()
    await world.quiet(700)
    read = await world.get("orphan", node=reader)
    assert is_absent(read), f"after everybody saw it end it is back: {read.result}"


@schedule()
async def an_older_write_that_is_refused_does_not_shorten_the_newer(stage: Stage) -> None:
    world, everybody = stage.world, stage.nearest("refused")
    await stage.put_everywhere("refused", ttl=30)
    old = stage.record_of(everybody[0], "refused")
    await stage.put_everywhere("refused", ttl=1000)
    stage.send_again(stage.bystanders("refused")[0], old, *everybody)
    await asyncio.sleep(40)
    await world.get("refused", quiescent=True)
    await asyncio.sleep(100)  # a sweep later
    await world.get("refused", quiescent=True)


@schedule()
async def sweeping_takes_nothing_that_lives(stage: Stage) -> None:
    await stage.put_everywhere("swept", ttl=3000)
    await stage.put_everywhere("ended", ttl=30)
    await asyncio.sleep(40)
    stage.sweep(*stage.nearest("swept"), *stage.nearest("ended"))
    await stage.world.get("swept", quiescent=True)
    await stage.world.get("ended", quiescent=True)
    stage.world.look()


# -- which of two records stands


@schedule()
async def an_ended_value_keeps_older_ones_away(stage: Stage) -> None:
    await _older_stays_away(stage, "ended")


@schedule()
async def a_deleted_value_stays_away(stage: Stage) -> None:
    await _older_stays_away(stage, "deleted")


async def _older_stays_away(stage: Stage, name: str) -> None:
    """One holder misses how a value was replaced by one that then ended, or by a delete."""
    world, misses = stage.world, stage.nearest(name)[1]
    await stage.put_everywhere(name, ttl=3000)
    stage.lose([misses], *WRITES)
    if name == "deleted":
        await world.delete(name, node=stage.bystanders(name)[0])
    else:
        await stage.put(name, ttl=15)
    await asyncio.sleep(20)
    require(stage.record_of(misses, name).value is not None, "nobody missed the later record")
    for reader in [*stage.bystanders(name)[:3], misses]:
        await world.get(name, node=reader)
    await stage.let_through()
    await world.quiet(200)
    await world.get(name, quiescent=True)


@schedule()
async def a_record_sent_again_replaces_nothing(stage: Stage) -> None:
    world, everybody = stage.world, stage.nearest("again")
    await stage.put_everywhere("again")
    old = stage.record_of(everybody[0], "again")
    await stage.put_everywhere("again")
    stage.send_again(stage.bystanders("again")[0], old, *everybody)
    await asyncio.sleep(2)
    await world.get("again", quiescent=True)


@schedule()
async def of_two_writes_that_meet_in_a_store_the_later_stands(stage: Stage) -> None:
    world, everybody = stage.world, stage.nearest("meet")
    early, late = stage.bystanders("meet")[:2]
    await stage.put_everywhere("meet")
    delayed: dict[int, Callable[[], None]] = {}
    loop = asyncio.get_running_loop()

    def overtaken(at: int, serve: Callable[[], None]) -> None:
        serve()
        loop.call_later(0.001, delayed.pop(at, lambda: None))

    for number in everybody:
        stage.rule(number, PutValue, sender=early, act=lambda serve, at=number: delayed.setdefault(at, serve))  # type: ignore[misc]
        stage.rule(number, PutValue, sender=late, act=lambda serve, at=number: overtaken(at, serve))  # type: ignore[misc]
    first = await world.put("meet", node=early)
    require(first.outcome is Outcome.UNDECIDED and len(delayed) == len(everybody), "the first write was not held up")
    await stage.put("meet", node=late)
    await asyncio.sleep(1)
    require(not delayed, "the two writes did not meet")
    await world.get("meet", quiescent=True)


@schedule()
async def a_put_gets_past_a_faster_clock(stage: Stage) -> None:
    world = stage.world
    slow, fast = stage.bystanders("clocks")[:2]
    world.max_skew_s = 300
    await stage.start_again(fast, NodeOptions(skew_s=300))
    stage.hold_up(stage.nearest("clocks"), 0.7, PutValue, sender=slow)
    write = asyncio.ensure_future(world.put("clocks", node=slow, ttl=600))
    await asyncio.sleep(0.4)  # it has looked up, and seen nothing
    await stage.put("clocks", node=fast, ttl=600)
    assert (await write).outcome is Outcome.OK, "a put lost against a faster clock and was not stamped anew"
    await world.get("clocks", quiescent=True)
