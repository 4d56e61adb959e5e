"""The DHT suite on Kademlia nodes over the message network: the plugin above its `rpc` seam."""

from __future__ import annotations

import pytest
from peerstack_kad.simulation import SimulatedKademlia

from peerstack.testing.dht_conformance import DhtConformance, DhtNetwork


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestKademliaOverMessages(DhtConformance):
    async def make_network(self, size: int) -> DhtNetwork:
        return await SimulatedKademlia.open(size)
