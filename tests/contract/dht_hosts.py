"""Whole hosts on one memory network, in virtual time, for the DHT suite: identify, Noise, yamux and the plugin."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from peerstack import Host, PeerId, PrivateKey, preset
from peerstack.dht.contract import Dht
from peerstack.dht.store import MemoryStorage, MemoryStore, Rules
from peerstack.dht_plugin.plugin import DhtPlugin
from peerstack.net.memory import MemoryNetwork, MemoryTransport
from peerstack.testing.dht_conformance import DhtNetwork
from peerstack.testing.virtual_time import seeded_environment


class _KeptStore(MemoryStore):
    """Outlives the host that closes it."""

    async def close(self) -> None:
        """Nothing is let go."""


class _KeptStorage(MemoryStorage):
    """A disk in virtual time: what is written is there for the next run."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, _KeptStore] = {}

    def record_store(self, name: str, rules: Rules) -> MemoryStore:
        return self._kept.setdefault(name, _KeptStore(rules))

    async def close(self) -> None:
        """Nothing is let go."""


__all__ = ["HostNetwork"]

Plugin = DhtPlugin[Any]


class HostNetwork(DhtNetwork):
    """Hosts on one memory network; each bootstraps from up to two that are up.

    Args:
        make: Makes a plugin with the parameters of ``local``.
    """

    def __init__(self, make: Callable[[], Plugin]) -> None:
        self._make = make
        self._network = MemoryNetwork(seed=1, latency_s=(0.005, 0.02))
        self._hosts: list[Host] = []
        self._plugins: list[Plugin] = []
        self._up: set[int] = set()
        self._clients: list[Host] = []
        self._disks: dict[int, _KeptStorage] = {}

    @property
    def size(self) -> int:
        return len(self._hosts)

    def dht(self, number: int) -> Dht:
        return self._plugins[number]

    def peer_id(self, number: int) -> PeerId:
        return self._hosts[number].peer_id

    @classmethod
    async def open(cls, size: int, make: Callable[[], Plugin]) -> HostNetwork:
        """Start `size` servers, one after the other."""
        network = cls(make)
        for _ in range(size):
            await network.add()
        return network

    async def add(self) -> int:
        number = len(self._hosts)
        host, plugin = await self._start(number, listen=True)
        self._hosts.append(host)
        self._plugins.append(plugin)
        await self._until(lambda: plugin.node.ready)
        self._up.add(number)
        return number

    async def add_client(self) -> Dht:
        host, plugin = await self._start(1000 + len(self._clients), listen=False)
        self._clients.append(host)
        await self._until(lambda: plugin.node.ready)
        return plugin

    async def crash(self, number: int) -> None:
        self._up.discard(number)
        self._network.crash(f"node {number}", reset=False)
        await self._hosts[number].close()

    async def restart(self, number: int) -> None:
        self._disks.pop(number)
        host, plugin = await self._start(number, listen=True, again=True)
        self._hosts[number], self._plugins[number] = host, plugin
        await self._until(lambda: plugin.node.ready)
        self._up.add(number)

    async def restart_with_disk(self, *numbers: int) -> None:
        for number in numbers:
            self._hosts[number], self._plugins[number] = await self._start(number, listen=True, again=True)
        for number in numbers:
            await self._until(lambda: self._plugins[number].node.ready)  # noqa: B023  (awaited at once)
            self._up.add(number)

    async def leave(self, number: int) -> None:
        await self._plugins[number].leave()
        self._up.discard(number)
        await self._hosts[number].close()

    async def partition(self, *sides: set[int]) -> None:
        self._network.partition(*([f"node {number}" for number in side] for side in sides))

    async def heal(self) -> None:
        self._network.heal()

    async def close(self) -> None:
        for host in (*self._clients, *self._hosts):
            await host.close()

    async def _start(self, number: int, *, listen: bool, again: bool = False) -> tuple[Host, Plugin]:
        identity = PrivateKey.from_seed(hashlib.sha256(b"host %d" % number).digest())
        name = f"node {number}"
        config = preset(
            "local",
            transports=(MemoryTransport(self._network, node=name),),
            environment=seeded_environment(f"{name} {again}"),
            storage=self._disks.setdefault(number, _KeptStorage()),
        )
        bootstrap = [self._hosts[up].addrs[0] for up in sorted(self._up)[:2]]
        listens = [f"/memory/{100 + number}"] if listen else []
        plugin = self._make()
        host = Host(identity=identity, listen=listens, bootstrap=bootstrap, protocols=[plugin], config=config)
        await host.start()
        return host, plugin

    async def _until(self, check: Callable[[], bool]) -> None:
        deadline = asyncio.get_running_loop().time() + 300
        while not check():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
