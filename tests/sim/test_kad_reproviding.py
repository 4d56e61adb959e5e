"""Announcing many keys again, region by region, at the `rpc` seam."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from peerstack_kad.content import Content
from peerstack_kad.messages import AddProvider, GetProviders, ProvidersReply
from peerstack_kad.provider_records import ProviderRecords
from peerstack_kad.reproviding import Sweep

from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.replica.contacts import Contact, position_of
from peerstack.dht.replica.messages import FindNode, Reply, Request
from peerstack.identity import PeerId
from tests.sim.kad_network import NodeOptions, SimulatedKademlia, SimulatedNode

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

K = 5


class Net:
    """A network whose servers keep provider records."""

    def __init__(self, size: int, *, k: int = K) -> None:
        self.simulated = SimulatedKademlia(7, parameters=replace(KADEMLIA_PRESETS["local"], k=k, replicas=3))
        self.simulated.assemble(size)
        self.announcements = 0
        self.contents = {node.contact.key: Content(node.node, serving=True) for node in self.simulated.nodes}
        for node in self.simulated.nodes:
            node.options = NodeOptions(behaviour=self._serve)

    def _serve(self, node: SimulatedNode, sender: Contact, request: Request, respond: Callable[[Reply], None]) -> bool:
        self.announcements += isinstance(request, AddProvider)
        return self.contents[node.contact.key].serve(sender, request, respond)

    def closest(self, key: bytes, count: int = K) -> list[int]:
        return sorted(self.contents, key=position_of(key).__xor__)[:count]

    def providers(self, holder: int, key: bytes) -> list[PeerId]:
        found: list[PeerId] = []

        def respond(reply: Reply) -> None:
            assert isinstance(reply, ProvidersReply)
            found.extend(contact.peer_id for contact in reply.providers)

        self.contents[holder].serve(self.simulated.nodes[0].contact, GetProviders.of(key), respond)
        return found

    def share_told(self, keys: list[bytes], provider: PeerId) -> float:
        """The share of keys and their k closest servers that know of the provider."""
        told = [provider in self.providers(holder, key) for key in keys for holder in self.closest(key)]
        return sum(told) / len(told)


async def sweep(net: Net, keys: list[bytes], *, own: ProviderRecords | None = None) -> int:
    over = asyncio.Event()
    round_ = Sweep(net.simulated.nodes[0].node.engine, keys, own=own, finished=over.set)
    round_.start()
    await over.wait()
    return round_.lookups


async def test_by_region_it_takes_a_twentieth_of_the_lookups_and_reaches_the_same_servers() -> None:
    net = Net(64)
    keys = [f"key {number}".encode() for number in range(1000)]
    lookups = await sweep(net, keys)
    me = net.simulated.peer_id(0)
    # The announcing node is among the closest of some keys and keeps no record of itself here.
    others = [key for key in keys if net.simulated.nodes[0].contact.key not in net.closest(key)]
    assert lookups <= len(keys) * 0.05
    assert net.share_told(others, me) >= 0.99
    await net.simulated.close()


async def test_the_lookups_follow_the_servers_and_not_the_keys() -> None:
    net = Net(64)
    few, many = [[f"key {number}".encode() for number in range(count)] for count in (500, 4000)]
    assert await sweep(net, many) <= 1.5 * await sweep(net, few)
    await net.simulated.close()


async def test_each_server_is_sent_its_keys_of_a_region_at_once() -> None:
    net = Net(64)
    keys = [f"key {number}".encode() for number in range(1000)]
    await sweep(net, keys)
    assert 0 < net.announcements < K * len(keys) / 10
    await net.simulated.close()


async def test_where_there_are_fewer_servers_than_k_one_lookup_is_enough() -> None:
    net = Net(4)
    keys = [f"key {number}".encode() for number in range(200)]
    own = ProviderRecords(net.simulated.nodes[0].contact.key)
    assert await sweep(net, keys, own=own) == 1
    me = net.simulated.peer_id(0)
    assert all(me in net.providers(node.contact.key, key) for key in keys for node in net.simulated.nodes[1:])
    assert len(own) == len(keys)
    await net.simulated.close()


async def test_a_node_alone_ends_its_round() -> None:
    net = Net(1)
    assert await sweep(net, [b"one", b"two"]) >= 1
    await net.simulated.close()


async def test_a_round_with_dead_servers_ends_and_tells_the_living() -> None:
    net = Net(40)
    keys = [f"key {number}".encode() for number in range(300)]
    for number in range(1, 40, 5):
        await net.simulated.crash(number)
        del net.contents[net.simulated.nodes[number].contact.key]
    await sweep(net, keys)
    me = net.simulated.peer_id(0)
    others = [key for key in keys if net.simulated.nodes[0].contact.key not in net.closest(key)]
    assert net.share_told(others, me) >= 0.95
    await net.simulated.close()


async def test_a_key_found_by_trying_lies_where_it_should() -> None:
    net = Net(1)
    engine = net.simulated.nodes[0].node.engine
    round_ = Sweep(engine, [], own=None, finished=lambda: None)
    for depth in (0, 1, 5, 10):
        key = round_._key_within(0xABCDEF << 232, depth)
        assert key is not None
        assert FindNode.of(key).position >> (256 - depth) == (0xABCDEF << 232) >> (256 - depth)
    await net.simulated.close()


async def test_what_is_provided_is_announced_every_22_hours_and_forgotten_48_hours_after_the_last_time() -> None:
    net = Net(4)
    me = net.simulated.peer_id(0)
    for node in net.simulated.nodes:
        node.node.stop()  # its upkeep every half second has no part in this
    for content in net.contents.values():
        content.start()
    mine = net.contents[net.simulated.nodes[0].contact.key]
    mine.provided.add(b"key")
    for hours, told in ((21, False), (2, True), (47, True)):
        await asyncio.sleep(hours * 3600)
        assert all((me in net.providers(holder, b"key")) is told for holder in net.contents)
    mine.provided.clear()  # as if it had ended
    await asyncio.sleep(48 * 3600)
    assert not any(net.providers(holder, b"key") for holder in net.contents)
    for content in net.contents.values():
        content.stop()
    await net.simulated.close()
