"""Small plays, each built around the one step in which a known defect would break a promise. Correct code keeps it.

A dozen servers, virtual time, and a `Stage` that loses or holds up exactly the requests that matter. The general oracle judges what was
written and read; a schedule asserts only what the oracle cannot know. In ``make test`` every one of them passes; `mutations` puts the
defects back and sees which fails.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from peerstack_kad.content import Content
from peerstack_kad.keys import common_prefix
from peerstack_kad.messages import AddProvider

from peerstack.dht.parameters import NetworkParameters
from peerstack.dht.replica.messages import GetValue, Offer, Pull, Push, PutValue, Request
from peerstack.errors import QuorumNotMet
from peerstack.testing import virtual_time
from tests.sim.history import Found, Outcome
from tests.sim.kad_network import NodeOptions
from tests.sim.oracle import Violation
from tests.sim.stage import Stage, is_absent, require
from tests.sim.world import SMALL

__all__ = ["SCHEDULES", "Schedule", "perform", "schedule"]

Play = Callable[[Stage], Awaitable[None]]

_WRITES = (PutValue, Push)


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """One of them."""

    name: str
    play: Play
    size: int
    parameters: NetworkParameters
    dht: str = "kad"


SCHEDULES: dict[str, Schedule] = {}


def schedule(*, size: int = 12, parameters: NetworkParameters = SMALL, dht: str = "kad") -> Callable[[Play], Play]:
    """Enter a play under its name."""

    def register(play: Play) -> Play:
        name = play.__name__.replace("_", " ")
        SCHEDULES[name] = Schedule(name=name, play=play, size=size, parameters=parameters, dht=dht)
        return play

    return register


def perform(name: str, seed: int = 0) -> list[str]:
    """Play a schedule; what promises were broken.

    Args:
        name: Of `SCHEDULES`.
        seed: Another one is another network: other identities, other delays.

    Raises:
        BrokenPremise: It did not come to its point.
        RuntimeError: Something raised where nobody catches.
    """
    return virtual_time.run(_perform(SCHEDULES[name], seed))


async def _perform(entry: Schedule, seed: int) -> list[str]:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context))
    stage = Stage(entry.size, seed=seed, parameters=entry.parameters, dht=entry.dht)
    world = stage.world
    broken: list[Violation] = []
    try:
        await entry.play(stage)
    except AssertionError as error:
        broken.append(Violation("promise", world.now, str(error)))
    finally:
        await world.network.close()
    if raised:
        raise RuntimeError(f"{raised[0].get('message')}: {raised[0].get('exception')!r}")
    return [str(each) for each in [*broken, *world.oracle().judge(world.history)]]


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
    stage.lose([misses], *_WRITES)
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
    stage.lose([first], *_WRITES)
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
    stage.lose([stale], *_WRITES)
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
    stage.lose([misses], *_WRITES)
    stage.lose(newer, *_WRITES, Offer, Pull, sender=misses)
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
    stage.lose([misses], *_WRITES)
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
    stage.lose([misses], *_WRITES)
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
    stage.lose([stale, staler], *_WRITES)
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
    stage.lose([misses], *_WRITES)
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
