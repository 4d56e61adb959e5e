"""What ``bench`` measures, against another peer's ``listen``."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from libp2p.abc import IHost
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PING_LENGTH
from libp2p.io.utils import read_exactly
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from node import identify, open_node, peer_at
from streams import ECHO, PERF, request_echo, request_perf

_SPARE_DIALERS = 32

Result = dict[str, Any]
Measure = Callable[[IHost, ID, "Counts"], Awaitable[Result]]


@dataclass(frozen=True)
class Counts:
    """The options of ``bench``."""

    n: int
    concurrency: int
    bytes: int
    streams: int


async def _timed(work: Callable[[], Awaitable[Result]]) -> Result:
    """Add the seconds of wall clock and of this process's CPU that ``work`` took to what it returns."""
    cpu, start = time.process_time(), time.perf_counter()
    result = await work()
    return {**result, "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


async def _repeat(n: int, concurrency: int, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` ``n`` times, ``concurrency`` at once."""
    turns = iter(range(n))

    async def worker() -> None:
        for _ in turns:
            await work()

    async with trio.open_nursery() as nursery:
        for _ in range(min(n, concurrency)):
            nursery.start_soon(worker)


async def _transfer(upload: bool, host: IHost, peer_id: ID, counts: Counts) -> Result:
    share = counts.bytes // counts.streams

    async def one() -> None:
        stream = await host.new_stream(peer_id, [PERF])
        await request_perf(stream, *((share, 0) if upload else (0, share)))

    await _repeat(counts.streams, counts.streams, one)
    return {"bytes": share * counts.streams, "streams": counts.streams}


async def _ping(host: IHost, peer_id: ID, counts: Counts) -> Result:
    stream = await host.new_stream(peer_id, [PING])
    times = []
    for _ in range(counts.n):
        payload = secrets.token_bytes(PING_LENGTH)
        start = time.perf_counter()
        await stream.write(payload)
        pong = await read_exactly(stream, PING_LENGTH)
        times.append(round((time.perf_counter() - start) * 1e6))
        if pong != payload:
            raise ValueError("the pong differs from the ping")
    await stream.close()
    times.sort()
    minimum, median, p99 = (times[int(quantile * (counts.n - 1))] for quantile in (0, 0.5, 0.99))
    return {"n": counts.n, "min_us": minimum, "median_us": median, "p99_us": p99}


async def _streams(host: IHost, peer_id: ID, counts: Counts) -> Result:
    async def one() -> None:
        await request_echo(await host.new_stream(peer_id, [ECHO]))

    await _repeat(counts.n, counts.concurrency, one)
    return {"n": counts.n, "concurrency": counts.concurrency}


async def _connections(target: PeerInfo, counts: Counts) -> Result:
    """Dial from a pool of hosts: one host would reuse its connection to the peer.

    The library sleeps for 0.2 s in each disconnect; spare hosts let the next dials overlap with that.
    """
    async with AsyncExitStack() as stack:
        idle, dialers = trio.open_memory_channel[IHost](counts.concurrency + _SPARE_DIALERS)
        for _ in range(counts.concurrency + _SPARE_DIALERS):
            idle.send_nowait(await stack.enter_async_context(open_node()))

        async def disconnect(host: IHost) -> None:
            await host.disconnect(target.peer_id)
            idle.send_nowait(host)

        async with trio.open_nursery() as disconnecting:

            async def one() -> None:
                host = await dialers.receive()
                await host.connect(target)
                await request_echo(await host.new_stream(target.peer_id, [ECHO]))
                disconnecting.start_soon(disconnect, host)

            async def all_of_them() -> Result:
                await _repeat(counts.n, counts.concurrency, one)
                return {"n": counts.n, "concurrency": counts.concurrency}

            return await _timed(all_of_them)


_MEASURES: dict[str, Measure] = {
    "upload": partial(_transfer, True),
    "download": partial(_transfer, False),
    "ping": _ping,
    "streams": _streams,
}
METRICS = [*_MEASURES, "connections"]


async def bench(address: str, metric: str, counts: Counts) -> Result:
    """Measure one metric."""
    target = peer_at(address)
    if metric == "connections":
        return {"metric": metric, **await _connections(target, counts)}
    async with open_node() as host:
        await host.connect(target)
        await identify(host, target.peer_id)
        result = await _timed(lambda: _MEASURES[metric](host, target.peer_id, counts))
        await host.disconnect(target.peer_id)
    return {"metric": metric, **result}
