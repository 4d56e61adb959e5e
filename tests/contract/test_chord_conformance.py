"""The DHT suite on Chord over whole hosts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from peerstack_chord import Chord

from peerstack.dht.parameters import CHORD_PRESETS
from peerstack.testing.dht_conformance import DhtConformance, DhtNetwork
from tests.contract.dht_hosts import HostNetwork

PARAMETERS = replace(CHORD_PRESETS["local"], stabilise_s=2.0)
"""The suite lets hours pass: a ring that looks after itself every half second shows nothing more in them, and takes twice as long."""


@pytest.mark.asyncio(loop_factories=["virtual"])
class TestChord(DhtConformance):
    async def make_network(self, size: int) -> DhtNetwork:
        asyncio.get_running_loop().set_debug(False)
        return await HostNetwork.open(size, lambda: Chord(Chord.Config(preset="local", parameters=PARAMETERS)))
