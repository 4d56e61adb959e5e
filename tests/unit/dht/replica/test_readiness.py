"""The first operation of a program: right after `connect`, right after start, with whoever answers late or never."""

from __future__ import annotations

import asyncio

import pytest
from peerstack_kad import Kademlia

from peerstack import Host, PrivateKey, preset
from peerstack.errors import Closed, Unavailable
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.plugin import ProtocolPlugin, Stream
from peerstack.testing.virtual_time import seeded_environment

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

SEEDS = range(50)


class Net:
    def __init__(self, seed: int = 0) -> None:
        self.memory = MemoryNetwork(seed=seed, latency_s=(0.001, 0.3))
        self._seed = seed

    def host(self, name: str, *protocols: ProtocolPlugin | str, listen: bool = True, bootstrap: tuple[str, ...] = ()) -> Host:
        environment = seeded_environment(f"{name} {self._seed}")
        config = preset("local", transports=(MemoryTransport(self.memory, node=name),), environment=environment)
        identity = PrivateKey.from_seed(name.encode().ljust(32, b"."))
        listens = ["/memory/0"] if listen else []
        return Host(identity=identity, listen=listens, protocols=protocols or ["kad"], bootstrap=list(bootstrap), config=config)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("listen", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_put_right_after_connect_reaches_the_peer(seed: int, listen: bool) -> None:
    net = Net(seed)
    async with net.host("first") as first, net.host("second", listen=listen) as second:
        await second.connect(first.addrs[0])
        put = await second.put("greeting", b"hello")
        assert first.peer_id in put.acknowledged
        assert (await first.get("greeting")).value == b"hello"


@pytest.mark.parametrize("listen", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_put_right_after_start_reaches_the_bootstrap_peer(seed: int, listen: bool) -> None:
    net = Net(seed)
    async with net.host("first") as first, net.host("second", listen=listen, bootstrap=(str(first.addrs[0]),)) as second:
        put = await second.put("greeting", b"hello")
        assert first.peer_id in put.acknowledged
        assert (await second.get("greeting")).confirmed


async def test_every_operation_waits() -> None:
    net = Net()
    async with net.host("first") as first:
        await first.put("greeting", b"hello")
        for number in range(4):
            async with net.host(f"client {number}", listen=False, bootstrap=(str(first.addrs[0]),)) as client:
                dht = client.dht("kad")
                match number:
                    case 0:
                        assert (await dht.get("greeting")).value == b"hello"
                    case 1:
                        assert [record.value for record in await dht.get_all("greeting")] == [b"hello"]
                    case 2:
                        assert (await dht.lookup("greeting")).peers == (first.peer_id,)
                    case _:
                        assert first.peer_id in (await dht.delete("greeting")).acknowledged


async def test_a_bootstrap_peer_that_comes_late_is_waited_for_within_the_operations_own_time() -> None:
    net = Net()
    async with net.host("first") as first:
        address = str(first.addrs[0])
        net.memory.partition(["first"], ["second"])
        async with net.host("second", listen=False, bootstrap=(address,)) as second:
            asyncio.get_running_loop().call_later(4.0, net.memory.heal)
            put = await second.put("greeting", b"hello", timeout=60)
            assert first.peer_id in put.acknowledged


async def test_nobody_to_be_reached_ends_with_the_operations_time_and_says_who_is_missing() -> None:
    net = Net()
    async with net.host("first") as first:
        address = str(first.addrs[0])
    async with net.host("second", listen=False, bootstrap=(address,)) as second:
        began = now()
        with pytest.raises(Unavailable, match="1 bootstrap peers are not reached"):
            await second.get("greeting", timeout=7)
        assert 6.9 < now() - began < 7.5


async def test_nobody_to_wait_for_fails_at_once() -> None:
    async with Net().host("alone", listen=False) as alone:
        began = now()
        with pytest.raises(Unavailable):
            await alone.get("greeting", timeout=60)
        assert now() - began < 1


async def test_a_peer_that_serves_no_dht_is_not_waited_for_once_it_said_so() -> None:
    net = Net()
    async with net.host("plain", "perf") as plain, net.host("second", listen=False, bootstrap=(str(plain.addrs[0]),)) as second:
        began = now()
        with pytest.raises(Unavailable):
            await second.get("greeting", timeout=60)
        assert now() - began < 5


class Silent(ProtocolPlugin):
    """Takes identify's place and never says anything."""

    name = "identify"
    ids = ("/ipfs/id/1.0.0",)

    async def handle(self, stream: Stream) -> None:
        await stream.read()


async def test_a_peer_that_never_identifies_itself_is_not_waited_for_for_ever() -> None:
    net = Net()
    async with net.host("silent", Silent()) as silent, net.host("second") as second:
        await second.connect(silent.addrs[0])
        began = now()
        put = await second.put("greeting", b"hello", timeout=60)
        assert put.acknowledged == (second.peer_id,)
        assert now() - began < 15


async def test_a_host_that_closes_answers_whoever_still_waits() -> None:
    net = Net()
    async with net.host("first") as first:
        address = str(first.addrs[0])
    second = net.host("second", listen=False, bootstrap=(address,))
    await second.start()
    call = asyncio.ensure_future(second.get("greeting", timeout=60))
    await asyncio.sleep(0.1)
    await second.close()
    with pytest.raises(Closed):
        await call


async def test_a_server_that_only_takes_over_still_reads_within_half_of_the_time() -> None:
    """Two of three holders are gone for good: the third cannot confirm, and a newcomer never finishes; a read ends all the same."""
    net = Net()
    async with net.host("first") as first, net.host("second", bootstrap=(str(first.addrs[0]),)) as second:
        await first.put("greeting", b"hello")
        await second.close()
        async with net.host("third", bootstrap=(str(first.addrs[0]),)) as third:
            plugin = third.dht("kad")
            assert isinstance(plugin, Kademlia)
            assert not plugin.node.ready
            began = now()
            found = await third.get("greeting", timeout=20)
            assert found.value == b"hello"
            assert now() - began < 20
