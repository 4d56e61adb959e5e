"""The DHT suite on Kademlia over whole hosts."""

from __future__ import annotations

import asyncio

import pytest
from peerstack_kad import Kademlia

from peerstack.testing.dht_conformance import DhtConformance, DhtNetwork
from tests.contract.dht_hosts import HostNetwork


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestKademlia(DhtConformance):
    async def make_network(self, size: int) -> DhtNetwork:
        asyncio.get_running_loop().set_debug(False)  # the suite lets hours pass, of which debugging makes most of the work
        return await HostNetwork.open(size, lambda: Kademlia(Kademlia.Config(preset="local")))
