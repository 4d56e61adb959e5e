"""Provider records and raw values between hosts on the memory network, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from peerstack_kad import Kademlia
from peerstack_kad.messages import AddProvider, GetRaw, PutRaw, RawReply, Taken

from peerstack import Host, PrivateKey, preset
from peerstack.dht.contract import Providers
from peerstack.dht.replica.contacts import Contact
from peerstack.dht.replica.messages import Reply, Request
from peerstack.errors import ConfigError, InvalidRecord, KeyNotFound, PeerstackError, StreamReset, Unavailable, ValueTooLarge
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.testing.virtual_time import seeded_environment

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

FOREIGN = "/ipfs/kad/1.0.0"
KEY = b"/number/one"


class Numbers:
    name = "number"

    def validate(self, key: bytes, value: bytes, now: int) -> None:
        if not value.isdigit():
            raise InvalidRecord("no number")

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        return max(range(len(values)), key=lambda index: int(values[index]))


class Node:
    """A host with its plugin."""

    def __init__(self, host: Host, kad: Kademlia) -> None:
        self.host = host
        self.kad = kad

    async def ask(self, other: Node, request: Request) -> Reply:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply | PeerstackError, _now: float) -> None:
            if isinstance(reply, PeerstackError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        addresses = tuple(address.without_peer().to_bytes() for address in other.host.addrs)
        self.kad.node.engine.ask(Contact.of(other.host.peer_id, addresses), request, done, timeout=5)
        return await future

    async def holds(self, other: Node, key: bytes = KEY) -> bytes | None:
        reply = await self.ask(other, GetRaw.of(key))
        assert isinstance(reply, RawReply)
        return reply.value


@asynccontextmanager
async def network(
    *names: str, protocol_id: str = FOREIGN, foreign: bool | None = None, folder: Path | None = None
) -> AsyncIterator[list[Node]]:
    """Hosts that joined by way of the first; one whose name begins with "client" does not listen."""
    memory = MemoryNetwork(seed=1, latency_s=(0.01, 0.01))
    nodes: list[Node] = []
    async with AsyncExitStack() as stack:
        for name in names:
            kad = Kademlia(Kademlia.Config(preset="local", protocol_id=protocol_id, foreign=foreign), raw_namespaces=[Numbers()])
            config = preset(
                "local",
                transports=(MemoryTransport(memory, node=name),),
                environment=seeded_environment(name),
                data_folder=str(folder) if folder is not None and name == names[0] else None,
            )
            host = Host(
                identity=PrivateKey.from_seed(name.encode().ljust(32, b".")),
                listen=[] if name.startswith("client") else ["/memory/0"],
                protocols=[kad],
                bootstrap=[nodes[0].host.addrs[0]] if nodes else [],
                config=config,
            )
            await stack.enter_async_context(host)
            nodes.append(Node(host, kad))
            await asyncio.sleep(3)
        yield nodes


async def test_what_was_put_is_got_by_a_client_that_knows_one_server() -> None:
    async with network("a", "b", "c", "client") as (a, b, c, client):
        result = await b.kad.put_raw(KEY, b"1")
        assert set(result.accepted) == {node.host.peer_id for node in (a, b, c)}
        assert result.refused == {}
        assert await client.kad.get_raw(KEY) == b"1"


async def test_nobody_rolls_a_value_back() -> None:
    async with network("a", "b", "client") as (a, b, client):
        await client.kad.put_raw(KEY, b"2")
        with pytest.raises(Unavailable, match="nobody took"):
            await client.kad.put_raw(KEY, b"1")
        assert [await client.holds(node) for node in (a, b)] == [b"2", b"2"]
        assert len((await client.kad.put_raw(KEY, b"2")).accepted) == 2


async def test_reading_repairs_who_has_less_and_who_has_nothing() -> None:
    async with network("a", "b", "c", "client") as (a, b, c, client):
        assert isinstance(await client.ask(a, PutRaw(KEY, b"1", 0)), Taken)
        assert isinstance(await client.ask(b, PutRaw(KEY, b"2", 0)), Taken)
        assert await c.kad.get_raw(KEY) == b"2"
        await asyncio.sleep(1)
        assert [await client.holds(node) for node in (a, b, c)] == [b"2"] * 3


async def test_an_invalid_value_is_refused_before_it_is_sent_and_by_whoever_gets_it() -> None:
    async with network("a", "client") as (a, client):
        with pytest.raises(InvalidRecord, match="no number"):
            await client.kad.put_raw(KEY, b"x")
        with pytest.raises(InvalidRecord, match="no validator"):
            await client.kad.put_raw(b"/nobody/one", b"1")
        with pytest.raises(InvalidRecord, match="no validator"):
            await client.kad.get_raw(b"/nobody/one")
        with pytest.raises(StreamReset):
            await client.ask(a, PutRaw(KEY, b"x", 0))
        with pytest.raises(ValueTooLarge):
            await client.kad.put_raw(b"/number/" + bytes(250), b"1")
        with pytest.raises(KeyNotFound):
            await client.kad.get_raw(KEY)


async def test_without_anybody_to_ask_it_is_unavailable() -> None:
    async with network("client") as (client,):
        for operation in (
            client.kad.put_raw(KEY, b"1"),
            client.kad.get_raw(KEY),
            client.kad.provide(b"k"),
            client.kad.find_providers(b"k"),
        ):
            with pytest.raises(Unavailable):
                await operation


async def test_a_network_of_one_keeps_values_and_providers() -> None:
    async with network("a") as (a,):
        await a.kad.put_raw(KEY, b"1")
        assert await a.kad.get_raw(KEY) == b"1"
        assert await a.kad.provide(b"key") == (a.host.peer_id,)
        assert [provider.peer for provider in await a.kad.find_providers(b"key")] == [a.host.peer_id]


async def test_our_own_records_are_for_our_own_ids_and_raw_values_for_foreign_ones() -> None:
    async with network("a", "b") as (a, _):
        for operation in (a.kad.put("key", b"value"), a.kad.get("key"), a.kad.get_all("key"), a.kad.delete("key")):
            with pytest.raises(ConfigError, match="put_raw"):
                await operation
        assert (await a.kad.lookup("key")).complete
        assert (await a.kad.leave()).complete
    async with network("a", "b", protocol_id="/peerstack/kad/1.0.0") as (a, _):
        with pytest.raises(InvalidRecord, match="no validator"):
            await a.kad.put_raw(KEY, b"1")


async def test_an_id_of_somebody_elses_may_be_called_foreign() -> None:
    async with network("a", "b", protocol_id="/somebody/kad/1.0.0", foreign=True) as (a, b):
        assert len((await b.kad.put_raw(KEY, b"1")).accepted) == 2
        assert await b.holds(a) == b"1"
    async with network("a", "b", protocol_id="/somebody/kad/1.0.0") as (a, _):
        assert (await a.kad.put("key", b"value", ttl=60)).promised


@pytest.mark.parametrize("protocol_id", [FOREIGN, "/peerstack/kad/1.0.0"])
async def test_a_provider_is_found_with_its_addresses(protocol_id: str) -> None:
    async with network("a", "b", "c", "client", protocol_id=protocol_id) as (a, b, c, client):
        assert isinstance(b.kad, Providers)
        told = await b.kad.provide("key")
        assert set(told) == {node.host.peer_id for node in (a, b, c)}
        (found,) = await client.kad.find_providers("key")
        assert found.peer == b.host.peer_id
        assert found.addresses == tuple(address.without_peer().to_bytes() for address in b.host.addrs)
        assert await client.kad.find_providers("another") == []
        await c.kad.provide("key")
        assert {each.peer for each in await client.kad.find_providers("key")} == {b.host.peer_id, c.host.peer_id}
        assert len(await client.kad.find_providers("key", limit=1)) == 1


@pytest.mark.parametrize("protocol_id", [FOREIGN, "/peerstack/kad/1.0.0"])
async def test_nobody_is_announced_by_others(protocol_id: str) -> None:
    async with network("a", "b", "client", protocol_id=protocol_id) as (a, b, client):
        request = AddProvider((b"key",), (Contact.of(b.host.peer_id),))
        if protocol_id == FOREIGN:
            with pytest.raises(StreamReset):
                await client.ask(a, request)
        else:
            reply = await client.ask(a, request)
            assert isinstance(reply, Taken)
            assert reply.refusal is not None
        assert await client.kad.find_providers(b"key") == []


async def test_keys_of_providers_have_1_to_80_bytes() -> None:
    async with network("a") as (a,):
        for key in (b"", bytes(81)):
            with pytest.raises(ValueTooLarge):
                await a.kad.provide(key)
            with pytest.raises(ValueTooLarge):
                await a.kad.find_providers(key)


async def test_what_a_server_holds_outlives_it(tmp_path: Path) -> None:
    async with network("a", "client", folder=tmp_path) as (_, client):
        await client.kad.put_raw(KEY, b"1")
        await client.kad.provide(b"key")
    async with network("a", "client", folder=tmp_path) as (a, client):
        assert await client.holds(a) == b"1"
        assert len(await client.kad.find_providers(b"key")) == 1
