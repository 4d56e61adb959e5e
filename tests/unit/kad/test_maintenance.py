from __future__ import annotations

import asyncio
from typing import Any

from peerstack_kad.keys import common_prefix

from peerstack.dht.replica.messages import FindNode
from peerstack.testing import virtual_time
from tests.sim.kad_network import SimulatedKademlia


def test_every_bucket_where_nothing_was_looked_up_is_refreshed_inside_its_own_range() -> None:
    async def main() -> None:
        network = await SimulatedKademlia.open(8)
        node = network.nodes[0]
        asked: list[int] = []
        original = node.rpc.request

        def request(peer: Any, message: Any, timeout: float, done: Any) -> None:
            if isinstance(message, FindNode) and not message.key:
                asked.append(common_prefix(node.contact.key, message.position))
            original(peer, message, timeout, done)

        node.rpc.request = request  # type: ignore[method-assign]
        for _ in range(3):
            asked.clear()
            await asyncio.sleep(2 * 1.125 * network.parameters.forget_s + 5)  # a bucket that is not quite due waits for the next round
            assert set(asked) == set(range(node.node.table.depth))
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
