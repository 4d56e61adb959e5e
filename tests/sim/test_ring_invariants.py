"""What holds of a ring of whole Chord nodes after every single event, whoever joins, leaves and crashes meanwhile."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from peerstack_chord.ring import Mode

from peerstack.testing import virtual_time
from peerstack.testing.message_network import LinkModel
from tests.sim.history import Snapshot
from tests.sim.oracle import Oracle
from tests.sim.watched_ring import WatchedChord
from tests.sim.world import SMALL

LINKS = LinkModel(latency_s=0.02, jitter_s=0.01)
"""Whoever lives answers in time: Zave's invariant assumes that nobody is taken for dead who is not."""


async def ring_of(size: int, seed: int, r: int) -> WatchedChord:
    network = WatchedChord(seed, parameters=replace(SMALL, r=r, replicas=min(3, r)), links=LINKS)
    network.assemble(size)
    network.watch_events()
    return network


async def lose_one(network: WatchedChord, dice: random.Random) -> None:
    """Let one leave or crash, as soon as the ring can bear it: r + 1 members are no more than Chord needs."""
    number = dice.choice(network.up())
    deadline = network.messages.loop.time() + 60
    while not network.bears([number]):
        assert network.messages.loop.time() < deadline, "the ring does not become one that can bear a crash"
        await asyncio.sleep(dice.uniform(0, 2))
    await (network.leave(number) if dice.random() < 0.5 else network.crash(number))


async def is_ideal(network: WatchedChord) -> list[str]:
    """What is not as it should be once all is quiet."""
    await asyncio.sleep(60)
    assert not network.broken, network.broken[0]
    now = network.messages.loop.time()
    snapshot = Snapshot(time=now, servers={number: network.nodes[number].contact.key for number in network.up()})
    network.take_down(snapshot)
    oracle = Oracle(lambda _slot, servers, _count: list(servers), replicas=3, remember_s=0, r=network.parameters.r)
    return [str(each) for each in oracle._judge_ring(snapshot)]


@pytest.mark.parametrize("r", [2, 3, 4])
@pytest.mark.parametrize("seed", range(2))
def test_zaves_invariant_holds_after_every_event_of_joins_and_crashes(seed: int, r: int) -> None:
    async def play() -> None:
        network = await ring_of(r + 6, seed, r)
        dice = random.Random(f"joins and crashes {seed}")
        crashed = 0
        for _ in range(60):
            await asyncio.sleep(dice.expovariate(2.0))
            up = network.up()
            victims = dice.sample(up, dice.randint(1, r - 1))
            if len(up) > r + 3 and dice.random() < 0.6 and network.bears(victims):
                for number in victims:
                    await network.crash(number)
                crashed += len(victims)
            elif len(up) < 20:
                network.start()
            assert not network.broken, network.broken[0]
        assert not await is_ideal(network)
        assert crashed > 5, "hardly anybody crashed"
        assert network.looks[Mode.RING] > 100
        await network.close()

    virtual_time.run(play())


@pytest.mark.parametrize("r", [2, 3])
@pytest.mark.parametrize("seed", range(2))
def test_a_ring_that_grows_and_shrinks_again_and_again_crosses_both_ways(seed: int, r: int) -> None:
    async def play() -> None:
        network = await ring_of(1, seed, r)
        dice = random.Random(f"both ways {seed}")
        for goal in (r + 4, 2, r + 3, 1, r + 5, r):
            while len(network.up()) != goal:
                if len(network.up()) < goal:
                    network.start()
                    await asyncio.sleep(dice.uniform(0, 6))
                else:
                    await lose_one(network, dice)
                assert not network.broken, network.broken[0]
            assert not await is_ideal(network)
        assert min(network.looks[Mode.RING], network.looks[Mode.FORMING]) > 20
        await network.close()

    virtual_time.run(play())


def test_a_crash_beyond_what_chord_can_bear_is_seen() -> None:
    async def play() -> None:
        network = await ring_of(9, 0, 3)
        await asyncio.sleep(5)
        order = sorted(network.up(), key=lambda number: network.nodes[number].contact.key)
        assert network.bears(order[:2])
        assert not network.bears(order[:3])
        for number in order[:3]:
            await network.crash(number)
        await asyncio.sleep(5)
        assert "one_live_successor" in network.broken[0]
        await network.close()

    virtual_time.run(play())
