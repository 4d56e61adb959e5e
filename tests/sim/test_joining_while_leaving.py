"""Who joins while somebody leaves is told of it, however the two fall together: else it counts the leaver, and waits for it in vain."""

from __future__ import annotations

import asyncio

import pytest

from peerstack.testing import virtual_time
from tests.sim.world import DHTS, SMALL

LATER_S = [0.2 * step for step in range(10)]
"""When the newcomer starts, after the leave began: a member of a ring that forms takes that long to get away."""


async def left_and_joined(dht: str, seed: int, size: int, later_s: float) -> None:
    network = DHTS[dht](seed, parameters=SMALL)
    network.assemble(size)
    await asyncio.sleep(5)
    leaver = seed % size
    leaving = asyncio.ensure_future(network.leave(leaver))
    await asyncio.sleep(later_s)
    newcomer = network.start()
    await leaving
    await asyncio.sleep(3)
    gone = network.nodes[leaver].contact.key
    assert newcomer.node.ready
    assert not [number for number in network.up() if gone in network.nodes[number].node.engine.hood.members]
    await network.close()


@pytest.mark.parametrize("size", [3, 6])
@pytest.mark.parametrize("dht", DHTS)
def test_nobody_counts_who_has_left_while_it_joined(dht: str, size: int) -> None:
    for seed in range(3):
        for later_s in LATER_S:
            virtual_time.run(left_and_joined(dht, seed, size, later_s))
