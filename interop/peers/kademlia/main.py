"""The PyPI package ``kademlia``: UDP, plaintext, no identities. It serves ``kadbench`` alone (../README.md)."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Any

from kademlia.network import Server
from kademlia.utils import digest

_HOST = "127.0.0.1"
_VALUE_BYTES = 1024
_CONCURRENCY = 8
_WARM_UP_SHARE = 5
_DEADLINE_SECONDS = 600
_READY_DEADLINE_SECONDS = 120
_OPERATION_DEADLINE_SECONDS = 30

Operation = Callable[[int], Awaitable[bool]]


class _Network:
    """Servers of one DHT."""

    def __init__(self, size: int) -> None:
        self.servers = [Server() for _ in range(size)]

    async def start(self) -> None:
        """Every node joins by way of the first one, until all know all."""
        for server in self.servers:
            await server.listen(0, _HOST)
        first = self.servers[0].transport.get_extra_info("sockname")
        async with asyncio.timeout(_READY_DEADLINE_SECONDS):
            while any(len(server.protocol.router.find_neighbors(server.node)) < len(self.servers) - 1 for server in self.servers):
                for server in self.servers[1:]:
                    await server.bootstrap([first])

    def stop(self) -> None:
        """Close all sockets."""
        for server in self.servers:
            server.stop()

    async def put(self, number: int, key: str, value: bytes) -> bool:
        """Whether any node has stored it."""
        return bool(await self.servers[number % len(self.servers)].set(key, value))

    async def get(self, key: str, value: bytes) -> bool:
        """By a node whose own copy is deleted first."""
        server = random.choice(self.servers)
        server.storage.data.pop(digest(key), None)
        return bool(await server.get(key) == value)

    def copies(self, key: str) -> int:
        """How many nodes have it."""
        return sum(server.storage.get(digest(key)) is not None for server in self.servers)


async def _measure(n: int, concurrency: int, operate: Operation) -> dict[str, Any]:
    """Run ``operate(number)`` for all numbers below ``n``, ``concurrency`` at once."""
    times: list[float] = []
    results: list[bool] = []
    turns = iter(range(n))

    async def worker() -> None:
        for number in turns:
            begun = time.perf_counter()
            try:
                async with asyncio.timeout(_OPERATION_DEADLINE_SECONDS):
                    results.append(await operate(number))
            except Exception as error:  # noqa: BLE001 - whatever a library raises is a result here
                print(repr(error), file=sys.stderr)
            times.append(time.perf_counter() - begun)

    cpu, start = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
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
    """Measure."""
    network = _Network(nodes)
    begun = time.perf_counter()
    await network.start()
    ready_seconds = time.perf_counter() - begun
    warm, values = _random_values(math.ceil(puts / _WARM_UP_SHARE)), _random_values(puts)

    async def measure_puts(items: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
        return await _measure(len(items), 1, lambda number: network.put(number, *items[number]))

    async def measure_gets(items: Sequence[tuple[str, bytes]], n: int, concurrency: int) -> dict[str, Any]:
        return await _measure(n, concurrency, lambda number: network.get(*items[number % len(items)]))

    await measure_puts(warm)
    put = await measure_puts(values)
    copies = [network.copies(key) for key, _ in values]
    await measure_gets(warm, len(warm), 1)
    result = {
        "nodes": nodes,
        "ready_seconds": ready_seconds,
        "put": put,
        "copies": [min(copies), max(copies)],
        "get": await measure_gets(values, gets, 1),
        "get_concurrent": await measure_gets(values, gets, _CONCURRENCY),
    }
    network.stop()
    return result


def _random_values(count: int) -> list[tuple[str, bytes]]:
    return [(secrets.token_hex(16), secrets.token_bytes(_VALUE_BYTES)) for _ in range(count)]


def main() -> int:
    """Run the command; report whatever stops it as a line of JSON."""
    parser = argparse.ArgumentParser()
    benching = parser.add_subparsers(dest="command", required=True).add_parser("kadbench")
    for option, default in (("--nodes", 20), ("--puts", 100), ("--gets", 100)):
        benching.add_argument(option, type=int, default=default)
    arguments = parser.parse_args()
    try:
        work = asyncio.wait_for(kadbench(arguments.nodes, arguments.puts, arguments.gets), _DEADLINE_SECONDS)
        print(json.dumps({"event": "done", **asyncio.run(work)}), flush=True)
    except Exception as error:  # noqa: BLE001 - the boundary of the program
        print(json.dumps({"event": "error", "message": f"{type(error).__name__}: {error}"}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
