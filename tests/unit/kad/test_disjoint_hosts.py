"""Disjoint paths as an application chooses them: over whole hosts."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from peerstack_kad import Kademlia

from peerstack import Host, PrivateKey, preset
from peerstack.errors import ConfigError
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.testing.virtual_time import seeded_environment


@pytest.mark.asyncio(loop_factories=["virtual"])
async def test_operations_along_disjoint_paths_find_what_is_there() -> None:
    memory = MemoryNetwork(seed=4, latency_s=(0.001, 0.05))
    hosts: list[Host] = []
    async with AsyncExitStack() as stack:
        for number in range(8):
            config = preset("local", transports=(MemoryTransport(memory, node=str(number)),), environment=seeded_environment(str(number)))
            host = Host(
                identity=PrivateKey.from_seed(bytes([number]) * 32),
                listen=["/memory/0"],
                bootstrap=[str(hosts[0].addrs[0])] if hosts else [],
                protocols=[Kademlia(Kademlia.Config(preset="local", disjoint_paths=3))],
                config=config,
            )
            hosts.append(await stack.enter_async_context(host))
        put = await hosts[1].put("key", b"value", ack="all")
        assert len(put.acknowledged) == 3
        for host in hosts:
            found = await host.get("key")
            assert (found.value, found.confirmed) == (b"value", True)
        lookup = await hosts[7].dht("kad").lookup("key", trace=True)
        assert lookup.complete
        assert lookup.peers[:3] == put.targets
        assert {hop.path for hop in lookup.hops} == {0, 1, 2}
        asked = [hop.peer for hop in lookup.hops]
        assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(("paths", "parallelism"), [(0, 10), (11, 10), (2, 1)])
def test_there_are_no_more_paths_than_requests_at_once(paths: int, parallelism: int) -> None:
    with pytest.raises(ConfigError, match="disjoint_paths"):
        Kademlia.Config(disjoint_paths=paths, parallelism=parallelism)
