"""Our own peer program, with the same commands as the others: ``python -m interop.ours listen | dial | bench | kad | kadbench``."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from peerstack_identify import Identify
from peerstack_kad.pb.kad_pb2 import Message
from peerstack_perf import Perf
from peerstack_ping import Ping

from interop import ours_kad, ours_kad_bench
from interop.protocol import BENCH_ECHO, BENCH_RPC, INTEROP, BenchEcho, BenchRpc, Interop, exchange, rpc_request
from peerstack import Host, HostConfig, PeerId, ProtocolPlugin, Stream, preset
from peerstack.config import LimitsConfig
from peerstack.dht.pb.peers_pb2 import Peer
from peerstack.errors import PeerstackError

TOTAL_TIMEOUT_S = 60
TRANSFER_BYTES = 8 << 20
PINGS = 10


def say(**fields: Any) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def configuration(*, identify: bool) -> HostConfig:
    """Without the limits that a test from one address would run into, as for the other stacks."""
    limits = LimitsConfig(max_connections=4096, max_connections_per_peer=4096, max_connections_per_ip=4096, max_pending_inbound_per_ip=4096)
    base = preset("local", limits=limits, protocol_settings={"identify": {"ask": identify}})
    return replace(base, peers=replace(base.peers, low_water=4000, high_water=4096))


def make_host(*, listen: bool, identify: bool = True) -> Host:
    """A host with everything the tests use."""
    protocols: list[str | ProtocolPlugin] = ["perf", Interop(), BenchEcho(), BenchRpc()]
    return Host(listen=["/ip4/127.0.0.1/tcp/0"] if listen else [], protocols=protocols, config=configuration(identify=identify))


async def listen(arguments: argparse.Namespace) -> None:
    """Serve until stdin ends."""
    async with make_host(listen=True, identify=not arguments.no_identify) as host:
        say(event="ready", addr=str(host.addrs[0]), agent=str(host.config.agent))
        await stdin_ended()


async def stdin_ended() -> None:
    """Wait for whoever started this program to be done."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else ended.set())
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())


async def dial(arguments: argparse.Namespace) -> None:
    """Run every check against one peer."""
    confirm = arguments.negotiation == "classic"
    async with make_host(listen=False) as host:
        connection = await host.connect(arguments.address)
        identify, ping = host.plugin("identify"), host.plugin("ping")
        assert isinstance(identify, Identify)
        assert isinstance(ping, Ping)
        identity = await identify.identify(connection.peer_id)
        pings = [round(seconds * 1e6, 1) async for seconds in ping.ping(connection.peer_id, count=PINGS)]
        async with host.open(connection.peer_id, INTEROP, confirm=confirm) as stream:
            await exchange(stream, TRANSFER_BYTES, TRANSFER_BYTES)
        await host.disconnect(connection.peer_id)
        say(
            event="done",
            remote_peer=str(connection.peer_id),
            agent=identity.agent,
            protocols=sorted(identity.protocols or ()),
            pings_us=pings,
            uploaded=TRANSFER_BYTES,
            downloaded=TRANSFER_BYTES,
            verified=True,
            half_closed=True,
            negotiation=arguments.negotiation,
        )


async def bench(arguments: argparse.Namespace) -> None:
    """Measure one metric against one peer."""
    metrics: dict[str, Callable[[argparse.Namespace], Awaitable[dict[str, Any]]]] = {
        "upload": bench_bulk,
        "download": bench_bulk,
        "ping": bench_ping,
        "streams": bench_streams,
        "rpc": bench_rpc,
        "rpc-streams": bench_rpc_streams,
        "connections": bench_connections,
        "idle": bench_idle,
    }
    say(event="done", metric=arguments.metric, **await metrics[arguments.metric](arguments))


async def timed(work: Awaitable[Any]) -> dict[str, float]:
    """Run, and tell wall-clock and CPU seconds."""
    cpu, begun = time.process_time(), time.perf_counter()
    await work
    return {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu}


async def together(count: int, concurrency: int, one: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `one` `count` times, `concurrency` at a time."""
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await one()

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


async def bench_bulk(arguments: argparse.Namespace) -> dict[str, Any]:
    """Upload or download ``--bytes`` over ``--streams`` streams of one connection."""
    share = arguments.bytes // arguments.streams
    upload, download = (share, 0) if arguments.metric == "upload" else (0, share)
    async with make_host(listen=False) as host:
        connection = await host.connect(arguments.address)
        perf = host.plugin("perf")
        assert isinstance(perf, Perf)
        await perf.transfer(connection.peer_id, upload=1 << 20, download=1 << 20)

        async def one() -> None:
            await perf.transfer(connection.peer_id, upload=upload, download=download)

        return await timed(together(arguments.streams, arguments.streams, one)) | {"bytes": share * arguments.streams}


async def bench_ping(arguments: argparse.Namespace) -> dict[str, Any]:
    """``--n`` pings, one after the other, on one stream."""
    times: list[float] = []
    async with make_host(listen=False) as host:
        connection = await host.connect(arguments.address)
        ping = host.plugin("ping")
        assert isinstance(ping, Ping)

        async def all_of_them() -> None:
            async for seconds in ping.ping(connection.peer_id, count=arguments.n):
                times.append(seconds * 1e6)  # noqa: PERF401 - the loop is what is measured

        result = await timed(all_of_them())
    times.sort()
    return result | {"min_us": times[0], "median_us": times[len(times) // 2], "p99_us": times[int(len(times) * 0.99)], "n": len(times)}


async def echo_once(host: Host, target: PeerId, *, confirm: bool) -> None:
    """Open a stream, 64 bytes up, 64 bytes down, close."""
    async with host.open(target, BENCH_ECHO, confirm=confirm) as stream:
        await stream.write(bytes(64), eof=True)
        await stream.readexactly(64)


async def bench_streams(arguments: argparse.Namespace) -> dict[str, Any]:
    """``--n`` request-response streams on one connection."""
    async with make_host(listen=False) as host:
        connection = await host.connect(arguments.address)
        classic = arguments.negotiation == "classic"

        async def one() -> None:
            await echo_once(host, connection.peer_id, confirm=classic)

        await together(min(200, arguments.n), arguments.concurrency, one)
        return await timed(together(arguments.n, arguments.concurrency, one)) | {"n": arguments.n}


async def ask(stream: Stream) -> None:
    """One request, one answer, parsed into what a lookup uses."""
    await stream.write_message(rpc_request())
    await answered(stream)


async def answered(stream: Stream) -> None:
    """Read one answer."""
    answer = await stream.read_message(Message, limit=1 << 16)
    assert answer is not None
    peers = [Peer.FromString(data) for data in answer.closerPeers]
    assert len([(peer.id, tuple(peer.addrs)) for peer in peers]) == 20


async def bench_rpc(arguments: argparse.Namespace) -> dict[str, Any]:
    """``--n`` requests on one stream, ``--concurrency`` of them in flight."""
    async with make_host(listen=False) as host, host.open(arguments.address, BENCH_RPC, confirm=True) as stream:
        room = asyncio.Semaphore(arguments.concurrency)

        async def send() -> None:
            for _ in range(arguments.n):
                await room.acquire()
                await stream.write_message(rpc_request())

        async def receive() -> None:
            for _ in range(arguments.n):
                await answered(stream)
                room.release()

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(send())
                group.create_task(receive())

        async def one_by_one() -> None:
            for _ in range(arguments.n):
                await ask(stream)

        return await timed(both() if arguments.concurrency > 1 else one_by_one()) | {"n": arguments.n}


async def bench_rpc_streams(arguments: argparse.Namespace) -> dict[str, Any]:
    """``--n`` requests, each on a stream of its own, ``--concurrency`` of them at once."""
    async with make_host(listen=False) as host:
        connection = await host.connect(arguments.address)

        async def one() -> None:
            async with host.open(connection.peer_id, BENCH_RPC) as stream:
                await ask(stream)

        return await timed(together(arguments.n, arguments.concurrency, one)) | {"n": arguments.n}


async def bench_connections(arguments: argparse.Namespace) -> dict[str, Any]:
    """``--n`` times a fresh connection: dial, secure, one request-response stream, close; ``--concurrency`` hosts at once."""
    hosts = [make_host(listen=False, identify=not arguments.no_identify) for _ in range(arguments.concurrency)]
    for host in hosts:
        await host.start()
    free = list(hosts)

    async def one() -> None:
        host = free.pop()
        connection = await host.connect(arguments.address)
        await echo_once(host, connection.peer_id, confirm=False)
        await host.disconnect(connection.peer_id)
        free.append(host)

    try:
        await together(2 * arguments.concurrency, arguments.concurrency, one)
        return await timed(together(arguments.n, arguments.concurrency, one)) | {"n": arguments.n}
    finally:
        for host in hosts:
            await host.close()


async def bench_idle(arguments: argparse.Namespace) -> dict[str, Any]:
    """Hold ``--n`` connections from as many hosts for ``--hold`` seconds; the harness watches the server."""
    hosts = [make_host(listen=False) for _ in range(arguments.n)]
    try:
        for host in hosts:
            await host.start()
            await host.connect(arguments.address)
        say(event="holding", n=arguments.n)
        await asyncio.sleep(arguments.hold)
        alive = sum(bool(host.connections()) for host in hosts)
    finally:
        for host in hosts:
            await host.close()
    return {"n": arguments.n, "connected_at_end": alive}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m interop.ours")
    parser.add_argument("command", choices=["listen", "dial", "bench", "kadbench"])
    parser.add_argument("address", nargs="?", default="")
    parser.add_argument("metric", nargs="?", default="")
    parser.add_argument("--negotiation", choices=["optimistic", "classic"], default="optimistic")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=256 << 20)
    parser.add_argument("--hold", type=float, default=15.0)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--puts", type=int, default=100)
    parser.add_argument("--gets", type=int, default=100)
    parser.add_argument("--no-identify", action="store_true")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    return parser.parse_args()


async def run(arguments: argparse.Namespace) -> int:
    """Run the command; a failure is one line and exit code 1."""
    command = {"listen": listen, "dial": dial, "bench": bench, "kadbench": kadbench}[arguments.command]
    try:
        async with asyncio.timeout(TOTAL_TIMEOUT_S if arguments.command == "dial" else None):
            await command(arguments)
    except (PeerstackError, TimeoutError, EOFError) as error:
        say(event="error", message=f"{type(error).__name__}: {error}")
        return 1
    return 0


async def kadbench(arguments: argparse.Namespace) -> None:
    """Measure a DHT of many nodes."""
    say(event="done", **await ours_kad_bench.bench(arguments))


def main() -> int:
    """Run on the loop asked for."""
    if sys.argv[1:2] == ["kad"]:
        logging.basicConfig(level=logging.INFO)
        return asyncio.run(ours_kad.run(sys.argv[2:], say, stdin_ended))
    arguments = parse()
    logging.basicConfig(level=logging.INFO if arguments.command == "dial" else logging.WARNING)
    if arguments.loop == "uvloop":
        import uvloop

        return uvloop.run(run(arguments))
    return asyncio.run(run(arguments))


if __name__ == "__main__":
    sys.exit(main())
