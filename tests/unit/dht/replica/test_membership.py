"""Whom a server counts, over a message network in virtual time."""

from __future__ import annotations

import asyncio

from peerstack.testing import virtual_time
from tests.sim.kad_network import SimulatedKademlia


def counted(network: SimulatedKademlia, number: int) -> set[int]:
    members = network.nodes[number].node.engine.hood.members
    return {network.by_peer[member.contact.peer_id].number for member in members.values()}


async def _dead_caller() -> None:
    network = await SimulatedKademlia.open(4)
    parameters = network.parameters
    await network.crash(3)
    await asyncio.sleep(2 * parameters.forget_s)
    server = network.nodes[1].node
    assert counted(network, 1) == {0, 2}
    assert network.nodes[3].contact.key in server.engine.callers
    await network.partition({0, 2}, {1})
    await asyncio.sleep(parameters.authority_loss_s + 4 * parameters.repair_s)
    assert server.engine.hood.taking_over
    assert counted(network, 1) == {0, 2}
    await network.close()


def test_a_take_over_does_not_wait_for_who_called_once_and_is_dead() -> None:
    virtual_time.run(_dead_caller())


async def _leaver() -> None:
    network = await SimulatedKademlia.open(4)
    leaver = network.nodes[3]
    await network.leave(3)
    server = network.nodes[1].node
    server.membership.take_over(settled=False)
    server.membership.consider(leaver.contact)
    assert counted(network, 1) == {0, 2}
    await network.close()


def test_a_take_over_does_not_wait_for_who_left() -> None:
    virtual_time.run(_leaver())
