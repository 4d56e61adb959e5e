from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from peerstack.dht.records import Record, Slot
from peerstack.dht.replica.contacts import key_of
from peerstack.dht.replica.messages import Offer, Pull, Push
from peerstack.dht.store.contract import Source, SourceKind
from peerstack.testing import virtual_time
from tests.sim.kad_network import SimulatedKademlia
from tests.sim.node_network import sent

KEY = "key"
SLOT = Slot("kv", b"key")


def run(main: Coroutine[Any, Any, None]) -> None:
    virtual_time.run(main)


def holders(network: SimulatedKademlia) -> list[int]:
    """Who holds the key."""
    return [number for number in network.up() if held(network, number) is not None]


def held(network: SimulatedKademlia, number: int) -> Record | None:
    node = network.nodes[number]
    return node.store.get(SLOT, now=node.outside.wall_us())


def members(network: SimulatedKademlia, slot: Slot = SLOT) -> list[int]:
    """Who is responsible for the key, or for another one."""
    return network.responsible(int.from_bytes(slot.position, "big"), network.up(), network.parameters.replicas)


async def drop(network: SimulatedKademlia, number: int) -> None:
    record = held(network, number)
    assert record is not None
    network.nodes[number].store.drop([record], done=lambda _count: None)
    assert held(network, number) is None


async def a_round(network: SimulatedKademlia, rounds: float = 1) -> None:
    """Long enough for every node's round, however its period is spread."""
    await asyncio.sleep(rounds * 1.125 * network.parameters.repair_s + 2)


def test_a_holder_that_lost_its_copy_has_it_again_after_one_round() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(6)
        await network.dht(0).put(KEY, b"value", ttl=3000, ack="all")
        for number in members(network)[:2]:
            await drop(network, number)
        await a_round(network)
        assert set(members(network)) <= set(holders(network))
        await network.close()

    run(main())


@pytest.mark.parametrize("survivor", range(3))
def test_after_one_quiet_round_all_but_one_holder_may_crash(survivor: int) -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(7, seed=survivor)
        everybody = set(range(7))
        missing = members(network)[survivor]
        writer = next(iter(sorted(everybody - {missing})))
        await network.partition(everybody - {missing}, {missing})
        put = await network.dht(writer).put(KEY, b"value", ttl=3000)
        assert network.peer_id(missing) not in put.stored
        await network.heal()
        await a_round(network)
        for number in members(network):
            if number != missing:
                await network.crash(number)
        assert (await network.dht(missing).get(KEY, timeout=30)).value == b"value"
        await network.close()

    run(main())


def test_copies_that_are_equal_cost_no_value_bytes_and_one_holder_offers_for_all() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(5)
        await network.dht(0).put(KEY, bytes(60_000), ttl=3000, ack="all")
        await a_round(network)
        pushes, offers, pulls = sent(network, Push), sent(network, Offer), sent(network, Pull)
        started = asyncio.get_running_loop().time()
        await a_round(network, 8)
        assert not pushes
        assert not pulls
        rounds = (asyncio.get_running_loop().time() - started) / network.parameters.repair_s
        # Every round each of three holders would offer to two others; here about one of them does.
        assert rounds < len(offers) < 4.5 * rounds
        await network.close()

    run(main())


def test_a_holder_of_something_greater_is_not_overwritten_but_heard() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(5)
        await network.dht(0).put(KEY, b"old", ttl=3000, ack="all")
        old = held(network, members(network)[0])
        await network.dht(1).put(KEY, b"new", ttl=3000, ack="all")
        new = held(network, members(network)[0])
        assert old is not None
        assert new is not None
        for number in members(network)[1:]:
            await drop(network, number)
            node = network.nodes[number]
            source = Source(SourceKind.PULL, node.contact.peer_id)
            node.store.merge([old], source=source, now=node.outside.wall_us(), done=lambda _outcomes: None)
        await a_round(network)
        assert {held(network, number) for number in members(network)} == {new}
        await network.close()

    run(main())


def test_a_displaced_copy_is_dropped_only_once_all_responsible_hold_it() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(7)
        await network.dht(0).put(KEY, b"value", ttl=3000, ack="all")
        (stranger, *_) = sorted(set(network.up()) - set(members(network)), key=lambda n: key_of(network.peer_id(n)))
        record = held(network, members(network)[0])
        assert record is not None
        node = network.nodes[stranger]
        away = members(network)[0]
        await network.partition(set(network.up()) - {away}, {away})
        node.store.merge(
            [record], source=Source(SourceKind.PULL, node.contact.peer_id), now=node.outside.wall_us(), done=lambda _outcomes: None
        )
        await a_round(network, 3)
        assert held(network, stranger) is not None, "dropped although one responsible node did not confirm"
        await network.heal()
        await a_round(network, 3)
        assert held(network, stranger) is None
        assert set(members(network)) <= set(holders(network))
        await network.close()

    run(main())


def test_a_displaced_copy_is_kept_when_one_who_confirmed_it_falls_silent_in_the_same_round() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(7)
        other = next(f"key {n}" for n in range(1000) if set(members(network, Slot("kv", f"key {n}".encode()))) == set(members(network)))
        for name in (KEY, other):
            await network.dht(0).put(name, b"value", ttl=3000, ack="all")
        stranger = network.nodes[next(number for number in network.up() if number not in members(network))]
        silent = network.nodes[members(network)[0]]
        slots = SLOT, Slot("kv", other.encode())
        records = [record for slot in slots if (record := silent.store.get(slot, now=silent.outside.wall_us())) is not None]
        assert len(records) == 2
        # It confirms the one, and does not answer any more when it is sent the other, which it has lost.
        silent.store.drop(records[1:], done=lambda _count: None)
        silent.options = replace(silent.options, behaviour=lambda _node, _sender, request, _respond: isinstance(request, Push))
        source = Source(SourceKind.PULL, stranger.contact.peer_id)
        stranger.store.merge(records, source=source, now=stranger.outside.wall_us(), done=lambda _outcomes: None)
        await a_round(network, 3)
        assert held(network, stranger.number) is not None, "dropped although one who confirmed it has not answered since"
        silent.options = replace(silent.options, behaviour=None)
        await a_round(network, 3)
        assert held(network, stranger.number) is None
        assert set(members(network)) <= set(holders(network))
        await network.close()

    run(main())


def test_what_is_outside_ones_responsibility_reaches_those_who_are_responsible() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(7)
        await network.dht(0).put(KEY, b"value", ttl=3000, ack="all")
        record = held(network, members(network)[0])
        assert record is not None
        stranger = next(number for number in network.up() if number not in members(network))
        for number in holders(network):
            await drop(network, number)
        node = network.nodes[stranger]
        node.store.merge(
            [record], source=Source(SourceKind.PULL, node.contact.peer_id), now=node.outside.wall_us(), done=lambda _outcomes: None
        )
        await a_round(network, 3)
        assert set(members(network)) == set(holders(network))
        await network.close()

    run(main())


def test_the_dead_are_replicated_too() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(5)
        await network.dht(0).put(KEY, b"value", ttl=3000, ack="all")
        await network.dht(0).delete(KEY)
        await a_round(network)
        lost = members(network)[0]
        await drop(network, lost)
        await a_round(network)
        record = held(network, lost)
        assert record is not None
        assert record.is_delete
        await network.close()

    run(main())


def test_rounds_are_periodic_and_stop_with_the_node() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(3)
        await network.dht(0).put(KEY, b"value", ttl=3000, ack="all")
        offers = sent(network, Offer)
        seen = []
        for _ in range(5):
            await a_round(network)
            seen.append(len(offers))
        assert seen == sorted(set(seen)), "a round passed without an offer"
        for node in network.nodes:
            node.stop()
        await asyncio.sleep(1)
        stopped = len(offers)
        await a_round(network, 5)
        assert len(offers) == stopped
        assert [node.outside.timers for node in network.nodes] == [0, 0, 0]
        await network.close()

    run(main())
