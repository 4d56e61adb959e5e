"""The DHT suite on Chord over whole hosts."""

from __future__ import annotations

import asyncio

import pytest
from peerstack_chord import Chord

from peerstack.testing.dht_conformance import DhtConformance, DhtNetwork
from tests.contract.dht_hosts import HostNetwork


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestChord(DhtConformance):
    async def make_network(self, size: int) -> DhtNetwork:
        asyncio.get_running_loop().set_debug(False)  # hours of a ring that looks after itself every half second
        return await HostNetwork.open(size, lambda: Chord(Chord.Config(preset="local")))
