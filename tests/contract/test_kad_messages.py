"""The DHT suite on Kademlia nodes over the message network: the plugin above its `rpc` seam."""

from __future__ import annotations

import pytest

from peerstack.testing.dht_conformance import DhtConformance, DhtNetwork
from tests.sim.kad_network import SimulatedKademlia


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestKademliaOverMessages(DhtConformance):
    async def make_network(self, size: int) -> DhtNetwork:
        return await SimulatedKademlia.open(size)
