from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from peerstack_kad.keys import common_prefix

from peerstack.dht.replica.contacts import KEY_BITS
from peerstack.dht.replica.messages import FindNode, Ping
from peerstack.testing import virtual_time
from tests.sim.kad_network import SimulatedKademlia


@pytest.mark.parametrize("k", [2, 4, 20])
def test_every_bucket_where_nothing_was_looked_up_is_refreshed_inside_its_own_range_or_with_our_own_corner(k: int) -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(8, parameters=replace(SimulatedKademlia.preset, k=k))
        node = network.nodes[0]
        asked: list[int] = []
        original = node.rpc.request

        def request(peer: Any, message: Any, timeout: float, done: Any) -> None:
            if isinstance(message, FindNode):
                asked.append(common_prefix(node.contact.key, message.position))
            original(peer, message, timeout, done)

        node.rpc.request = request  # type: ignore[method-assign]
        for _ in range(3):
            asked.clear()
            await asyncio.sleep(2 * 1.125 * network.parameters.forget_s + 5)  # a bucket that is not quite due waits for the next round
            table = node.node.table
            beyond = [index for index in range(table.depth) if sum(len(table.bucket(each)) for each in range(index, table.depth)) >= k]
            assert bool(beyond) is (k < 8)
            assert set(asked) == {*beyond, KEY_BITS}
        await network.close()

    virtual_time.run(main())


def test_a_client_whose_own_network_was_down_finds_the_servers_again() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(4)
        client = await network.add_client()
        await network.dht(0).put("key", b"value", ttl=3500)
        for pause in (60.0, 900.0):
            network.messages.partition([network.peer_id(number) for number in range(4)], [network.clients[0].contact.peer_id])
            for _ in range(6):
                await asyncio.gather(client.get("key", timeout=3), return_exceptions=True)
            await asyncio.sleep(pause)
            await network.heal()
            await asyncio.sleep(3 * network.parameters.repair_s)
            assert (await client.get("key")).value == b"value"
        await network.close()

    virtual_time.run(main())


def test_a_stranger_that_asks_has_somebody_pinged_to_make_room_but_not_one_that_pings() -> None:
    async def main() -> None:
        network = SimulatedKademlia(1, parameters=replace(SimulatedKademlia.preset, k=2, replicas=1), trace=True)
        network.assemble(60)
        await asyncio.sleep(10)  # everybody has been silent for a while, and upkeep asks nobody yet
        asked, *others = network.nodes
        stranger = next(node for node in others if node.contact.key not in asked.node.table)
        answers: list[Any] = []
        for request, pings in ((Ping(), 1), (FindNode(), 2)):
            stranger.rpc.request(asked.contact, request, 5.0, lambda reply, _now: answers.append(reply))
            await asyncio.sleep(2)
            assert network.requests["Ping"] == pings
        assert [type(answer).__name__ for answer in answers] == ["Done", "NodesReply"]
        await network.close()

    virtual_time.run(main())
