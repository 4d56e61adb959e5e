"""``kadbench``: a DHT of many nodes in this one process, put and get measured (../README.md)."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import trio
from kad import open_kad
from libp2p.abc import IHost
from libp2p.kad_dht.kad_dht import KadDHT
from libp2p.peer.peerinfo import PeerInfo

_VALUE_BYTES = 1024
_CONCURRENCY = 8
_WARM_UP_SHARE = 5
_READY_DEADLINE_SECONDS = 120
_POLL_SECONDS = 0.1
_OPERATION_DEADLINE_SECONDS = 30

Operation = Callable[[int], Awaitable[bool]]


@dataclass(frozen=True)
class _Node:
    host: IHost
    dht: KadDHT

    async def meet(self, other: _Node) -> None:
        """Connect; a server that is met enters the table."""
        await self.host.connect(PeerInfo(other.host.get_id(), other.host.get_addrs()))

    async def learn(self, servers: Sequence[_Node]) -> bool:
        """Take those who identified themselves into the table; whether it has all of them now."""
        others = [node for node in servers if node is not self]
        for node in others:
            await self.dht.add_peer(node.host.get_id())
        return self.dht.routing_table.size() == len(others)


@dataclass(frozen=True)
class _Value:
    key: str
    content: bytes


def _random_values(count: int) -> list[_Value]:
    return [_Value(f"/example/data/{os.urandom(16).hex()}", os.urandom(_VALUE_BYTES)) for _ in range(count)]


async def _join(servers: Sequence[_Node], client: _Node) -> None:
    """Connect every server to every other one and the client to all of them, and fill their tables."""

    async def meet_all(node: _Node, others: Sequence[_Node]) -> None:
        for other in others:
            await node.meet(other)

    async with trio.open_nursery() as nursery:
        for index, server in enumerate(servers):
            nursery.start_soon(meet_all, server, servers[:index])
        nursery.start_soon(meet_all, client, servers)
    with trio.fail_after(_READY_DEADLINE_SECONDS):
        for node in [*servers, client]:
            while not await node.learn(servers):  # noqa: ASYNC110 - the library does not tell
                await trio.sleep(_POLL_SECONDS)


async def _measure(n: int, concurrency: int, operate: Operation) -> dict[str, Any]:
    """Run ``operate(number)`` for all numbers below ``n``, ``concurrency`` at once."""
    times: list[float] = []
    results: list[bool] = []
    turns = iter(range(n))

    async def worker() -> None:
        for number in turns:
            begun = time.perf_counter()
            done = False
            try:
                with trio.move_on_after(_OPERATION_DEADLINE_SECONDS):
                    done = await operate(number)
            except Exception as error:  # noqa: BLE001 - whatever a library raises is a result here
                print(repr(error), file=sys.stderr)
            times.append(time.perf_counter() - begun)
            results.append(done)

    cpu, start = time.process_time(), time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(concurrency):
            nursery.start_soon(worker)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    times.sort()
    return {
        "n": n,
        "ok": sum(results),
        "concurrency": concurrency,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "median_ms": median(times) * 1000,
        "p99_ms": times[int(0.99 * (n - 1))] * 1000,
    }


async def kadbench(nodes: int, puts: int, gets: int) -> dict[str, Any]:
    """Measure. A put of the library tells only that nothing was raised: the copies are counted afterwards."""
    async with AsyncExitStack() as stack:
        begun = time.perf_counter()
        servers = [_Node(*await stack.enter_async_context(open_kad(serve=True))) for _ in range(nodes)]
        client = _Node(*await stack.enter_async_context(open_kad(serve=False)))
        await _join(servers, client)
        ready_seconds = time.perf_counter() - begun

        async def measure_puts(values: Sequence[_Value]) -> dict[str, Any]:
            async def put(number: int) -> bool:
                await servers[number % nodes].dht.put_value(values[number].key, values[number].content)
                return True

            return await _measure(len(values), 1, put)

        async def measure_gets(values: Sequence[_Value], n: int, concurrency: int) -> dict[str, Any]:
            async def get(number: int) -> bool:
                value = values[number % len(values)]
                client.dht.value_store.store.pop(value.key.encode(), None)  # a get keeps what it found
                return await client.dht.get_value(value.key) == value.content

            return await _measure(n, concurrency, get)

        warm, values = _random_values(math.ceil(puts / _WARM_UP_SHARE)), _random_values(puts)
        await measure_puts(warm)
        put = await measure_puts(values)
        copies = [sum(node.dht.value_store.get(value.key.encode()) is not None for node in servers) for value in values]
        await measure_gets(warm, len(warm), 1)
        return {
            "nodes": nodes,
            "ready_seconds": ready_seconds,
            "put": put,
            "copies": [min(copies), max(copies)],
            "get": await measure_gets(values, gets, 1),
            "get_concurrent": await measure_gets(values, gets, _CONCURRENCY),
        }
