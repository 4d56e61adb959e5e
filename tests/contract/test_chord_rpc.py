"""The DHT suite on Chord above its `rpc` seam, over a message network in virtual time."""

from __future__ import annotations

import pytest

from peerstack.testing.dht_conformance import DhtConformance, DhtNetwork
from tests.sim.chord_network import SimulatedChord


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestChord(DhtConformance):
    async def make_network(self, size: int) -> DhtNetwork:
        return await SimulatedChord.open(size)
