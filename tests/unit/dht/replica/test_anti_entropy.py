"""What keeps copies equal costs bytes only for what differs, on either DHT: every request of a repair round, encoded as on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import pytest
from peerstack_chord.codec import Codec as ChordCodec
from peerstack_kad.codec import Codec as KademliaCodec

from peerstack.dht.records import Record
from peerstack.dht.replica.contacts import key_bytes
from peerstack.dht.replica.messages import Offer, Pull, Push, Request
from peerstack.rpc.codec import RequestFrame
from peerstack.testing import virtual_time
from tests.sim.chord_network import SimulatedChord
from tests.sim.kad_network import SimulatedKademlia
from tests.sim.node_network import sent
from tests.sim.world import together

NETWORKS: Final[Mapping[str, type[SimulatedKademlia] | type[SimulatedChord]]] = {"kad": SimulatedKademlia, "chord": SimulatedChord}
CODECS: Final[Mapping[str, Any]] = {"kad": KademliaCodec, "chord": ChordCodec}
VALUES: Final = 60
VALUE_BYTES: Final = 4096
DHTS: Final = pytest.mark.parametrize("dht", sorted(NETWORKS))

Network = SimulatedKademlia | SimulatedChord


def weight(dht: str, messages: list[Request]) -> int:
    """Bytes of requests, as on the wire."""
    codec = CODECS[dht]()
    return sum(len(codec.encode_request(RequestFrame(message, 1))) for message in messages)


def pushed(messages: list[Request]) -> set[bytes]:
    """The records sent, by their digests."""
    return {record.digest for message in messages if isinstance(message, Push) for record in message.records}


async def filled(dht: str) -> Network:
    network = await NETWORKS[dht].open(6)
    await together([partial(put, network, number) for number in range(VALUES)])
    await rounds(network, 2)
    return network


async def put(network: Network, number: int) -> None:
    await network.dht(number % 6).put(f"key {number}", number.to_bytes(2, "big") * (VALUE_BYTES // 2), ttl=3000, ack="all")


async def rounds(network: Network, count: float) -> None:
    await asyncio.sleep(count * 1.125 * network.parameters.repair_s + 2)


def held(network: Network, number: int) -> list[Record]:
    node = network.nodes[number]
    return node.store.scan(key_bytes(0), None, now=node.outside.wall_us())


@DHTS
def test_equal_copies_cost_less_than_a_tenth_of_one_value_each(dht: str) -> None:
    async def main() -> None:
        network = await filled(dht)
        messages = sent(network, Offer, Pull, Push)
        await rounds(network, 1)
        assert not pushed(messages)
        assert 0 < weight(dht, messages) < VALUES * VALUE_BYTES / 10
        await network.close()

    virtual_time.run(main())


@DHTS
def test_of_many_records_only_those_that_a_holder_lacks_travel_again(dht: str) -> None:
    async def main() -> None:
        network = await filled(dht)
        holder = max(range(6), key=lambda number: len(held(network, number)))
        kept = held(network, holder)
        lost = kept[:: len(kept) // 3][:3]
        messages = sent(network, Offer, Pull, Push)
        network.nodes[holder].store.drop(lost, done=lambda _count: None)
        await rounds(network, 2)
        assert pushed(messages) == {record.digest for record in lost}
        assert {record.digest for record in lost} <= {record.digest for record in held(network, holder)}
        # Two others hold each record, and both may offer it before either has been heard of.
        assert weight(dht, messages) < 2 * len(lost) * (VALUE_BYTES + 512) + VALUES * VALUE_BYTES / 5
        await network.close()

    virtual_time.run(main())
