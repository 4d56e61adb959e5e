"""How many servers a read asks, and which of them it repairs, at the `rpc` seam."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from peerstack.dht.contract import Dht
from peerstack.dht.parameters import KADEMLIA_PRESETS
from peerstack.dht.quorum import read_quorum
from peerstack.dht.records import wire_key
from peerstack.dht.replica.contacts import Contact, position_of
from peerstack.dht.replica.messages import GetReply, GetValue, PutValue, Reply, Request
from peerstack.errors import KeyNotFound, Unavailable
from tests.sim.kad_network import NodeOptions, SimulatedKademlia, SimulatedNode

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

REPLICAS = 8
QUORUM = read_quorum(REPLICAS)
KEY = "key"


class Net:
    """Servers that know each other, and what they were asked."""

    def __init__(self) -> None:
        self.simulated = SimulatedKademlia(3, parameters=replace(KADEMLIA_PRESETS["local"], k=2 * REPLICAS, replicas=REPLICAS))
        self.simulated.assemble(4 * REPLICAS)
        position = position_of(wire_key("kv", KEY.encode()))
        self.closest = sorted(self.simulated.nodes, key=lambda node: node.contact.key ^ position)
        self.asked: list[SimulatedNode] = []
        self.deaf_to_puts: list[SimulatedNode] = []
        self.unsettled: list[SimulatedNode] = []
        for node in self.simulated.nodes:
            node.options = NodeOptions(behaviour=self._serve)

    async def client(self) -> Dht:
        """A node that holds nothing, and has met those around the key."""
        client = await self.simulated.add_client()
        with pytest.raises(KeyNotFound):
            await client.get(KEY)
        self.asked.clear()
        return client

    def holds(self, node: SimulatedNode) -> bool:
        return bool(node.store.get_all("kv", KEY.encode(), now=node.outside.wall_us()))

    def _serve(self, node: SimulatedNode, sender: Contact, request: Request, respond: Callable[[Reply], None]) -> bool:
        if isinstance(request, PutValue) and node in self.deaf_to_puts:
            return True  # it never answers
        if isinstance(request, GetValue):
            self.asked.append(node)
            if node in self.unsettled:
                node.node.serve(sender, request, lambda reply: respond(_without_authority(reply)), is_server=False)
                return True
        return False


def _without_authority(reply: Reply) -> Reply:
    assert isinstance(reply, GetReply)
    return replace(reply, standing=replace(reply.standing, authoritative=False))


@pytest_asyncio.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    yield net
    await net.simulated.close()


async def test_where_all_agree_no_more_are_asked_than_a_read_needs(net: Net) -> None:
    client = await net.client()
    await client.put(KEY, b"value")
    assert sorted(net.asked, key=net.closest.index) == net.closest[:QUORUM]
    await asyncio.sleep(0.5)
    net.asked.clear()
    found = await client.get(KEY)
    assert found.value == b"value"
    assert found.confirmed
    assert found.answers == QUORUM
    await asyncio.sleep(0.5)
    assert sorted(net.asked, key=net.closest.index) == net.closest[:QUORUM]


async def test_who_is_in_the_set_itself_asks_one_less(net: Net) -> None:
    client = await net.client()
    await client.put(KEY, b"value")
    await asyncio.sleep(0.5)
    for reader in (net.closest[0], net.closest[REPLICAS - 1]):
        net.asked.clear()
        found = await reader.get(KEY)
        assert found.confirmed
        assert found.answers == QUORUM
        assert found.local
        others = [node for node in net.closest if node is not reader]
        assert sorted(net.asked, key=net.closest.index) == others[: QUORUM - 1]


async def test_who_is_in_the_set_without_authority_counts_on_the_others(net: Net) -> None:
    client = await net.client()
    await client.put(KEY, b"value")
    await asyncio.sleep(0.5)
    reader = net.closest[0]
    reader.node.engine.hood.settled = False
    net.asked.clear()
    found = await reader.get(KEY)
    assert found.confirmed
    assert sorted(net.asked, key=net.closest.index) == net.closest[1 : QUORUM + 1]


async def test_an_absence_is_as_quickly_certain(net: Net) -> None:
    client = await net.client()
    with pytest.raises(KeyNotFound):
        await client.get(KEY)
    assert len(net.asked) == QUORUM


async def test_where_answers_differ_the_whole_set_is_asked_and_repaired(net: Net) -> None:
    client = await net.client()
    net.deaf_to_puts = [net.closest[0], net.closest[REPLICAS - 1]]
    await client.put(KEY, b"value")
    await asyncio.sleep(0.5)
    assert [net.holds(node) for node in net.closest[:REPLICAS]] == [False, *[True] * (REPLICAS - 2), False]
    net.asked.clear()
    found = await client.get(KEY)
    assert found.value == b"value"
    assert found.confirmed
    assert found.repaired == 2
    assert sorted(net.asked, key=net.closest.index) == net.closest[:REPLICAS]
    await asyncio.sleep(0.5)
    assert all(net.holds(node) for node in net.closest[:REPLICAS])


@pytest.mark.parametrize("unsettled", [1, 2, QUORUM])
async def test_for_each_that_has_no_authority_one_more_is_asked(net: Net, unsettled: int) -> None:
    client = await net.client()
    await client.put(KEY, b"value")
    await asyncio.sleep(0.5)
    net.unsettled = net.closest[:unsettled]
    net.asked.clear()
    found = await client.get(KEY)
    assert found.confirmed
    assert sorted(net.asked, key=net.closest.index) == net.closest[: QUORUM + unsettled]


async def test_stand_ins_are_asked_up_to_twice_the_replicas_and_confirm_nothing(net: Net) -> None:
    client = await net.client()
    await client.put(KEY, b"value")
    await asyncio.sleep(0.5)
    net.unsettled = net.closest[: REPLICAS - QUORUM + 1]
    net.asked.clear()
    found = await client.get(KEY)
    assert found.value == b"value"
    assert not found.confirmed
    assert sorted(set(net.asked), key=net.closest.index) == net.closest[: 2 * REPLICAS]
    with pytest.raises(Unavailable):
        await client.put(KEY, b"other")


async def test_members_that_still_take_over_are_asked_again_for_a_moment(net: Net) -> None:
    client = await net.client()
    await client.put(KEY, b"value")
    await asyncio.sleep(0.5)
    net.unsettled = net.closest[: REPLICAS - QUORUM + 1]
    asyncio.get_running_loop().call_later(1.0, net.unsettled.clear)
    found = await client.get(KEY)
    assert found.value == b"value"
    assert found.confirmed


async def test_who_does_not_answer_is_passed_over(net: Net) -> None:
    client = await net.client()
    await client.put(KEY, b"value")
    await asyncio.sleep(0.5)
    for node in net.closest[:2]:
        await net.simulated.crash(node.number)
    net.asked.clear()
    found = await client.get(KEY)
    assert found.confirmed
    assert sorted(net.asked, key=net.closest.index) == net.closest[2 : QUORUM + 2]


async def test_an_explicit_quorum_has_as_many_asked(net: Net) -> None:
    client = await net.client()
    await client.put(KEY, b"value")
    await asyncio.sleep(0.5)
    net.asked.clear()
    assert (await client.get(KEY, quorum=REPLICAS)).answers == REPLICAS
    assert sorted(net.asked, key=net.closest.index) == net.closest[:REPLICAS]


async def test_a_key_s_whole_set_is_read_from_as_few(net: Net) -> None:
    client = await net.client()
    for subkey in ("a", "b"):
        await client.put(KEY, subkey.encode(), subkey=subkey)
    await asyncio.sleep(0.5)
    net.asked.clear()
    assert [record.value for record in await client.get_all(KEY)] == [b"a", b"b"]
    assert len(net.asked) == QUORUM
