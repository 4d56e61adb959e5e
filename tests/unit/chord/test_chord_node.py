"""What a node's ring and its records have to do with each other, over a message network in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from peerstack_chord.node import ChordNode
from peerstack_chord.ring import Mode, ideal

from peerstack.testing import virtual_time
from tests.sim.chord_network import SimulatedChord

R = 3


def on_a_ring(size: int) -> Callable[[Callable[[SimulatedChord], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Run a test on a network of so many servers."""

    def decorate(test: Callable[[SimulatedChord], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        async def play() -> None:
            network = await SimulatedChord.open(size)
            try:
                await test(network)
            finally:
                await network.close()

        def run() -> None:
            virtual_time.run(play())

        run.__name__ = test.__name__
        return run

    return decorate


def node(network: SimulatedChord, number: int) -> ChordNode:
    return network.nodes[number].node


def counts(network: SimulatedChord, number: int, other: int) -> bool:
    return network.nodes[other].contact.key in node(network, number).engine.hood.members


def follower(network: SimulatedChord, number: int) -> int:
    """Who stands next on the ring."""
    first = node(network, number).ring.place.successors.first
    assert first is not None
    return network.by_peer[first.contact.peer_id].number


def is_ideal(network: SimulatedChord) -> bool:
    """Whether all servers that run stand on one ring, each where it belongs."""
    states = [node(network, number).ring.place.state() for number in network.up()]
    return all(state.mode is not Mode.OUTSIDE for state in states) and ideal(states, R)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"still not so after {seconds} s"
        await asyncio.sleep(0.1)


@on_a_ring(8)
async def test_those_who_joined_stand_on_one_ring_and_count_each_other(network: SimulatedChord) -> None:
    await until(lambda: is_ideal(network))
    assert all(counts(network, a, b) for a in range(8) for b in range(8) if a != b)
    assert {node(network, number).ring.mode for number in range(8)} == {Mode.RING}


@on_a_ring(3)
async def test_a_few_stand_on_a_ring_that_forms(network: SimulatedChord) -> None:
    await until(lambda: is_ideal(network))
    assert {node(network, number).ring.mode for number in range(3)} == {Mode.FORMING}
    assert node(network, 1).topology()["mode"] == "forming"


@on_a_ring(6)
async def test_a_client_never_stands_on_the_ring(network: SimulatedChord) -> None:
    await network.add_client()
    await asyncio.sleep(30)
    client = network.clients[0].node
    assert client.ring.mode is Mode.OUTSIDE
    assert await network.clients[0].put("key", b"value", ttl=600)
    assert all(node(network, number).table.get(network.clients[0].contact.key) is None for number in range(6))


@on_a_ring(8)
async def test_who_was_found_dead_is_led_past_at_once_and_counted_until_it_is_forgotten(network: SimulatedChord) -> None:
    dead = follower(network, 1)
    contact = network.nodes[dead].contact
    await network.crash(dead)
    await until(lambda: follower(network, 1) != dead, 10)
    assert counts(network, 1, dead)
    assert contact.key not in [named.key for named in node(network, 1).table.leading_to(contact.key + 1, 20)]
    assert contact.key not in [named.key for named in node(network, 1).table.closest(contact.key, 20)]
    await asyncio.sleep(2 * network.parameters.forget_s)
    assert not counts(network, 1, dead)


@on_a_ring(8)
async def test_a_leaver_hands_over_first_then_leaves_the_ring_and_is_missed_by_nobody(network: SimulatedChord) -> None:
    await until(lambda: is_ideal(network))
    leaver = network.nodes[3]
    (behind,) = (number for number in range(8) if follower(network, number) == 3)
    await network.dht(0).put("key", b"value", ttl=600)
    report = await leaver.leave()
    assert report.complete
    assert report.handed_over == report.records
    assert follower(network, behind) != 3, "it was told"
    network.go(3)
    await until(lambda: is_ideal(network), 10)
    assert not any(counts(network, number, 3) for number in network.up())
    for number in network.up():
        assert (await network.dht(number).get("key")).value == b"value"


@on_a_ring(6)
async def test_every_life_is_higher_than_the_one_before_even_if_the_clock_is_behind(network: SimulatedChord) -> None:
    before = network.nodes[2]
    lived = before.node.ring.place.own.incarnation
    await network.crash(2)
    options = replace(before.options, store=before.store, state=before.state, skew_s=-3600.0)
    await network.revive(2, options)
    assert node(network, 2).ring.place.own.incarnation > lived
    await until(lambda: is_ideal(network))


@on_a_ring(7)
async def test_two_halves_that_were_cut_off_become_one_ring_again_and_keep_what_they_hold(network: SimulatedChord) -> None:
    await network.dht(0).put("before", b"value", ttl=3000)
    await network.partition({0, 1, 2, 3}, {4, 5, 6})
    await asyncio.sleep(60)
    assert not is_ideal(network)
    await network.heal()
    await until(lambda: is_ideal(network), 120)
    for number in network.up():
        found = await network.dht(number).get("before")
        assert (found.value, found.confirmed) == (b"value", True)


@on_a_ring(6)
async def test_who_reaches_nobody_founds_a_ring_of_its_own_and_claims_nothing(network: SimulatedChord) -> None:
    alone = network.start()
    await network.partition(set(range(6)), {6})
    await asyncio.sleep(30)
    assert alone.node.ring.mode is Mode.FORMING
    assert not alone.node.ready
    await network.heal()
    await until(lambda: alone.node.ready and is_ideal(network), 120)


@on_a_ring(5)
async def test_the_whole_network_starts_again_on_one_ring(network: SimulatedChord) -> None:
    await network.dht(0).put("key", b"value", ttl=3000)
    for number in range(5):
        await network.crash(number)
    await network.restart_with_disk(*range(5))
    await until(lambda: is_ideal(network), 120)
    assert (await network.dht(4).get("key")).value == b"value"


@on_a_ring(8)
async def test_the_topology_tells_the_place_on_the_ring(network: SimulatedChord) -> None:
    await until(lambda: is_ideal(network))
    told = network.dht(2).topology()
    place = node(network, 2).ring.place
    assert (told["kind"], told["mode"], told["incarnation"]) == ("chord", "ring", place.own.incarnation)
    assert told["successors"] == [str(member.contact.peer_id) for member in place.successors]
    assert place.predecessor is not None
    assert told["predecessor"] == str(place.predecessor.contact.peer_id)
    assert told["fingers"]
    assert len(told["counted"]) == 7
