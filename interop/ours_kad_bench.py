"""Our own part of ``kadbench``: a DHT of many nodes in this one process, put and get measured (see peers/README.md)."""

from __future__ import annotations

import argparse
import asyncio
import math
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Any, Final

from peerstack_kad import Kademlia

from peerstack import Host, preset
from peerstack.config import LimitsConfig
from peerstack.dht import NetworkParameters
from peerstack.errors import PeerstackError

__all__ = ["bench"]

_VALUE_BYTES: Final = 1024
_CONCURRENCY: Final = 8
_WARM_UP_SHARE: Final = 5
_READY_TIMEOUT_S: Final = 120.0
_DEADLINE_S: Final = 600.0
_LISTEN: Final = "/ip4/127.0.0.1/tcp/0"

Operation = Callable[[], Awaitable[bool]]
"""Whether it did what it promises."""


class _Network:
    """Servers, and one client that stores nothing."""

    def __init__(self, size: int) -> None:
        parameters = NetworkParameters(replicas=20)
        config = Kademlia.Config(preset="local", parameters=parameters)  # without the caps on nodes of one address
        self.servers = [Kademlia(config) for _ in range(size)]
        self.client = Kademlia(config)

    async def start(self, stack: AsyncExitStack) -> None:
        """Every node joins by way of the first one."""
        limits = LimitsConfig(max_connections_per_ip=4096, max_pending_inbound_per_ip=4096)
        host_config = preset("local", limits=limits)
        bootstrap: list[str] = []
        for kad in [*self.servers, self.client]:
            listen = [_LISTEN] if kad is not self.client else []
            host = await stack.enter_async_context(Host(listen=listen, bootstrap=bootstrap, protocols=[kad], config=host_config))
            bootstrap = bootstrap or [str(host.addrs[0])]
        async with asyncio.timeout(_READY_TIMEOUT_S):
            while not self.ready:  # noqa: ASYNC110 - nothing tells what other nodes know
                await asyncio.sleep(0.05)

    @property
    def ready(self) -> bool:
        """Whether every server counts all others and its word counts, and the client knows them all."""
        others = len(self.servers) - 1
        counted = all(kad.node.ready and len(kad.node.engine.hood.members) == others for kad in self.servers)
        return counted and self.client.node.ready and len(self.client.node.table) == len(self.servers)

    async def put(self, number: int, key: str, value: bytes) -> bool:
        """A signed record, acknowledged by a majority."""
        return (await self.servers[number % len(self.servers)].put(key, value)).promised

    async def get(self, key: str, value: bytes) -> bool:
        """The value, confirmed."""
        found = await self.client.get(key)
        return found.confirmed and found.value == value

    async def copies(self, keys: Sequence[str]) -> list[int]:
        """On how many nodes the records are, the least and the most, once the last of them has settled."""
        await asyncio.sleep(0.5)
        stores = [kad.node.engine.store for kad in self.servers]
        now = time.time_ns() // 1000
        counts = [sum(bool(store.get_all("kv", key.encode(), now=now)) for store in stores) for key in keys]
        return [min(counts), max(counts)]


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure; the result's fields are described in peers/README.md."""
    async with asyncio.timeout(_DEADLINE_S), AsyncExitStack() as stack:
        network = _Network(arguments.nodes)
        began = time.perf_counter()
        await network.start(stack)
        ready_seconds = time.perf_counter() - began
        warm = _values(math.ceil(arguments.puts / _WARM_UP_SHARE))
        values = _values(arguments.puts)
        await _measure(_puts(network, warm), 1)
        put = await _measure(_puts(network, values), 1)
        copies = await network.copies(list(values))
        await _measure(_gets(network, warm, len(warm)), 1)
        return {
            "nodes": arguments.nodes,
            "ready_seconds": ready_seconds,
            "put": put,
            "copies": copies,
            "get": await _measure(_gets(network, values, arguments.gets), 1),
            "get_concurrent": await _measure(_gets(network, values, arguments.gets), _CONCURRENCY),
        }


def _values(count: int) -> dict[str, bytes]:
    return {secrets.token_hex(16): secrets.token_bytes(_VALUE_BYTES) for _ in range(count)}


def _puts(network: _Network, values: dict[str, bytes]) -> Iterator[Operation]:
    for number, (key, value) in enumerate(values.items()):
        yield lambda number=number, key=key, value=value: network.put(number, key, value)  # type: ignore[misc]


def _gets(network: _Network, values: dict[str, bytes], count: int) -> Iterator[Operation]:
    items = list(values.items())
    for number in range(count):
        key, value = items[number % len(items)]
        yield lambda key=key, value=value: network.get(key, value)  # type: ignore[misc]


async def _measure(operations: Iterator[Operation], concurrency: int) -> dict[str, float]:
    """Run all, `concurrency` at a time."""
    times: list[float] = []
    succeeded = 0

    async def worker() -> None:
        nonlocal succeeded
        for operation in operations:
            began = time.perf_counter()
            try:
                done = await operation()
            except PeerstackError as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                done = False
            times.append(time.perf_counter() - began)
            succeeded += done

    cpu, begun = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
    times.sort()
    return {
        "n": len(times),
        "ok": succeeded,
        "concurrency": concurrency,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "median_ms": median(times) * 1000,
        "p99_ms": times[int(0.99 * (len(times) - 1))] * 1000,
    }
