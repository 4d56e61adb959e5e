"""Schedules of taking over: a newcomer does not speak until it has all that it asked for, and others write meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from peerstack.dht.records import position as wire_position
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import FindNode, GetValue, NodesReply, Pull, PullReply, Reply, Request
from peerstack.dht.store import Rules
from tests.sim.disk import Forgetful
from tests.sim.schedule import schedule
from tests.sim.stage import WRITES, Stage, require

__all__ = ["leave_out"]


@schedule()
async def a_source_that_leaves_out_a_record_makes_nobody_speak(stage: Stage) -> None:
    world, others = stage.world, await _missed_by_the_first(stage, "left out")
    stage.change(others, Pull, to=leave_out)
    newcomer = stage.start_beside("left out")
    await _read_beside(stage, "left out", newcomer, others)
    await stage.let_through()
    await stage.until(lambda: world.network.nodes[newcomer].node.ready, "the newcomer never speaks")
    assert stage.held(newcomer, "left out") is not None, "a newcomer speaks for a key of which it was not handed the record"
    await world.get("left out", quiescent=True)


@schedule()
async def a_store_that_loses_what_it_took_makes_nobody_speak(stage: Stage) -> None:
    world, others = stage.world, await _missed_by_the_first(stage, "torn")
    store = Forgetful(Rules(namespaces=world.network.namespaces, parameters=world.parameters))
    newcomer = world.network.start(replace(stage.beside("torn")[0], store=store)).number
    await _read_beside(stage, "torn", newcomer, others)
    store.forgets = False
    await stage.let_through()
    await stage.until(lambda: world.network.nodes[newcomer].node.ready, "the newcomer never speaks")
    assert stage.held(newcomer, "torn") is not None, "a newcomer speaks for a key whose record its store has lost"
    await world.get("torn", quiescent=True)


async def _missed_by_the_first(stage: Stage, name: str) -> list[int]:
    """A record that only a majority of its holders holds; which those are."""
    first, *others = stage.nearest(name)
    stage.lose([first], *WRITES)
    await stage.put(name)
    require(stage.held(first, name) is None, "nobody missed the record")
    return others


async def _read_beside(stage: Stage, name: str, newcomer: int, others: list[int]) -> None:
    """Read while a newcomer takes over; whoever holds the record is slow to answer."""
    stage.lose([newcomer], *WRITES)
    stage.hold_up(others, 0.8, GetValue)
    await stage.until(lambda: all(stage.counts(each, newcomer) for each in others), "the newcomer asked nobody")
    await asyncio.sleep(20)
    for reader in stage.bystanders(name)[:3]:
        await stage.world.get(name, node=reader)


def leave_out(reply: Reply) -> Reply:
    """The same page without its first record, and as if it were the last."""
    require(isinstance(reply, PullReply), "a page was asked for")
    return replace(reply, records=reply.records[1:], next=None) if isinstance(reply, PullReply) else reply


@schedule(size=8)
async def a_write_between_two_pages_of_a_takeover_is_not_lost(stage: Stage) -> None:
    world, loop, handed = stage.world, asyncio.get_running_loop(), Counter[int]()
    name = min((f"between {number}" for number in range(100)), key=lambda each: wire_position("kv", each.encode()))  # on the first page
    for number in range(40):
        await world.network.dht(0).put(f"page {number}", bytes(40_000), ttl=3500, timeout=20)
    await stage.put_everywhere(name)
    (stale, *newer), (writer, reader) = stage.nearest(name), stage.bystanders(name)[:2]
    for each in world.network.up():
        stage.rule(each, Pull, act=lambda serve: loop.call_later(1, serve), change=partial(_note, handed, each))
    newcomer = stage.start_beside(name)
    await stage.until(lambda: all(handed[each] == 1 for each in (stale, *newer)), "the newcomer was not handed the first pages alone")
    stage.lose([newcomer], Request, sender=writer)
    stage.lose([stale, newcomer], *WRITES)
    require(not world.network.nodes[newcomer].node.ready, "the takeover is over before the write")
    await world.put(name, node=writer, ttl=3500)
    await stage.until(lambda: world.network.nodes[newcomer].node.ready, "the newcomer never speaks")
    stage.hold_up(newer, 0.8, GetValue)
    await world.get(name, node=reader)


@schedule()
async def a_source_that_dies_once_its_first_page_has_left_names_the_newcomer(stage: Stage) -> None:
    world, name, handed = stage.world, "handed", Counter[int]()
    other, stale, source = stage.nearest(name)
    await stage.start_again(source, stage.disk(commit_s=0.5))
    await stage.put_everywhere(name)
    (writer, reader), asked = stage.bystanders(name)[:2], {source}
    newcomer = stage.start_beside(name)
    for each in range(newcomer):
        stage.rule(each, Pull, sender=newcomer, act=partial(_serve_if, asked, each), change=partial(_note, handed, each))
    await stage.until(lambda: handed[source] > 0, "the newcomer was not handed the source's page")
    await asyncio.sleep(0.2)  # enough for the page to arrive, not for a commit
    stage.lose([source], Request, sender=newcomer)
    stage.change(range(newcomer), FindNode, sender=source, to=partial(_leave_away, stage.contact(newcomer)))  # nobody else names it either
    stage.hold_up([newcomer], 0.9, Request, sender=source)
    await world.crash(source, disk_lost=False)
    await world.back(source, with_disk=True)
    asked.add(stale)
    await stage.until(lambda: stage.speaks(newcomer, name), "the newcomer never speaks")
    require(handed == {source: 1, stale: 1}, f"the newcomer was handed pages by others: {handed}")
    stage.lose([newcomer, stale], Request, sender=writer)
    stage.lose([newcomer, stale], *WRITES)
    write = await world.put(name, node=writer, ttl=3500)
    stage.hold_up([other, source], 0.8, GetValue)
    await world.get(name, node=reader)
    assert stage.counts(source, newcomer), f"a source that was started again does not count whom it handed a page: {write.outcome}"


def _serve_if(asked: set[int], source: int, serve: Callable[[], None]) -> None:
    if source in asked:
        serve()


def _leave_away(server: Contact, reply: Reply) -> Reply:
    require(isinstance(reply, NodesReply), "servers were asked for")
    return NodesReply(tuple(each for each in reply.closer if each.key != server.key)) if isinstance(reply, NodesReply) else reply


def _note(handed: Counter[int], source: int, reply: Reply) -> Reply:
    handed[source] += 1
    return reply
