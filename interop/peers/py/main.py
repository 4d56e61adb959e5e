"""The py-libp2p peer of the interop harness.

Its commands are ``listen``, ``dial ADDR``, ``bench ADDR METRIC``, ``kad ROLE`` and ``kadbench`` (../README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable
from functools import partial
from typing import Any, NoReturn

import kad
import trio
from bench import METRICS, Counts, bench
from kadbench import kadbench
from libp2p.host.ping import PingService
from libp2p.utils import get_agent_version
from node import identify, open_node, peer_at
from streams import INTEROP, request_interop

DIAL_DEADLINE_SECONDS = 60
BENCH_DEADLINE_SECONDS = 600
KAD_DEADLINE_SECONDS = 45
PINGS = 10
TRANSFER_BYTES = 8 * 1024 * 1024


def emit(event: dict[str, Any]) -> None:
    """Print one line of JSON."""
    print(json.dumps(event), flush=True)


async def listen() -> None:
    """Serve until stdin ends or SIGTERM arrives."""
    async with open_node(listen=True) as host:
        emit({"event": "ready", "addr": str(host.get_addrs()[0]), "agent": get_agent_version()})
        await stopped()


async def stopped() -> None:
    """Wait until stdin ends or SIGTERM arrives."""
    async with trio.open_nursery() as nursery:

        async def until_stdin_ends() -> None:
            # os.read: the interpreter cannot end while an abandoned thread holds the lock of sys.stdin
            while await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 1, abandon_on_cancel=True):
                pass
            nursery.cancel_scope.cancel()

        async def until_terminated() -> None:
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

        nursery.start_soon(until_stdin_ends)
        nursery.start_soon(until_terminated)


async def dial(address: str) -> dict[str, Any]:
    """Prove the whole stack against a listener: identify, pings and one large verified exchange.

    py-libp2p has no optimistic negotiation, so every choice of ``--negotiation`` is served by the classic one.
    """
    target = peer_at(address)
    async with open_node() as host:
        await host.connect(target)
        identity = await identify(host, target.peer_id)
        pings = []
        start = time.perf_counter()
        async for _ in PingService(host).ping_iter(target.peer_id, PINGS):  # the library tells whole milliseconds only
            pings.append(round((time.perf_counter() - start) * 1e6))
            start = time.perf_counter()
        stream = await host.new_stream(target.peer_id, [INTEROP])
        await request_interop(stream, TRANSFER_BYTES, TRANSFER_BYTES)
        await host.disconnect(target.peer_id)
    return {
        "remote_peer": str(target.peer_id),
        "agent": identity.agent_version,
        "protocols": list(identity.protocols),
        "pings_us": pings,
        "uploaded": TRANSFER_BYTES,
        "downloaded": TRANSFER_BYTES,
        "verified": True,
        "half_closed": True,
        "negotiation": "classic",
    }


async def kad_bootstrap() -> None:
    """Serve the DHT."""
    async with kad.open_kad(serve=True) as (host, _):
        emit({"event": "ready", "addr": str(host.get_addrs()[0]), "agent": get_agent_version()})
        await stopped()


async def kad_provider(arguments: argparse.Namespace) -> None:
    """Announce and put, then serve the DHT."""
    async with kad.open_kad(serve=True) as (host, dht):
        outcome = await within(KAD_DEADLINE_SECONDS, kad.provide(host, dht, arguments.address, arguments.key, arguments.multihash))
        emit({"event": "provided", "addr": str(host.get_addrs()[0]), **outcome})
        await stopped()


async def kad_querier(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find what a provider left."""
    async with kad.open_kad(serve=False) as (host, dht):
        return await kad.query(host, dht, arguments.address, arguments.key, arguments.multihash)


async def within(seconds: float, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Return what ``work`` returns, unless it takes too long."""
    try:
        with trio.fail_after(seconds):
            return await work
    except trio.TooSlowError as error:
        raise TimeoutError(f"not done after {seconds} s") from error


def done(result: dict[str, Any]) -> int:
    """Print the result; the exit code says whether every part of it worked."""
    emit({"event": "done", **result})
    return 1 if result.get("errors") else 0


class Parser(argparse.ArgumentParser):
    """Raises on bad arguments, so that they are reported like any other failure."""

    def error(self, message: str) -> NoReturn:
        """Raise with the usage."""
        raise ValueError(f"{message}; {self.format_usage().strip()}")


def positive(text: str) -> int:
    """Parse a whole number above zero."""
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("listen")
    dialing = commands.add_parser("dial")
    dialing.add_argument("address")
    dialing.add_argument("--negotiation", choices=["optimistic", "classic"], default="classic")
    benching = commands.add_parser("bench")
    benching.add_argument("address")
    benching.add_argument("metric", choices=METRICS)
    benching.add_argument("--n", type=positive, default=1000)
    benching.add_argument("--concurrency", type=positive, default=1)
    benching.add_argument("--bytes", type=positive, default=256 * 1024 * 1024)
    benching.add_argument("--streams", type=positive, default=1)
    kad_benching = commands.add_parser("kadbench")
    for option, default in (("--nodes", 20), ("--puts", 20), ("--gets", 20)):
        kad_benching.add_argument(option, type=positive, default=default)
    roles = commands.add_parser("kad").add_subparsers(dest="role", required=True)
    for name in kad.ROLES:
        role = roles.add_parser(name)
        if name != "bootstrap":
            role.add_argument("address")
            role.add_argument("key", type=bytes.fromhex)
            role.add_argument("multihash", type=bytes.fromhex)
    return parser.parse_args(argv)


async def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks; return the exit code."""
    match arguments.command, getattr(arguments, "role", None):
        case "listen", _:
            await listen()
        case "dial", _:
            return done(await within(DIAL_DEADLINE_SECONDS, dial(arguments.address)))
        case "bench", _:
            counts = Counts(arguments.n, arguments.concurrency, arguments.bytes, arguments.streams)
            return done(await within(BENCH_DEADLINE_SECONDS, bench(arguments.address, arguments.metric, counts)))
        case "kadbench", _:
            work = kadbench(arguments.nodes, arguments.puts, arguments.gets)
            return done(await within(BENCH_DEADLINE_SECONDS, work))
        case _, "bootstrap":
            await kad_bootstrap()
        case _, "provider":
            await kad_provider(arguments)
        case _, "querier":
            return done(await within(KAD_DEADLINE_SECONDS, kad_querier(arguments)))
    return 0


def first_cause(error: BaseException) -> BaseException:
    """Look into the groups that trio wraps around an exception."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> int:
    """Run one command; report whatever stops it as a line of JSON."""
    try:
        return trio.run(partial(run, parse(sys.argv[1:])))
    except Exception as error:  # noqa: BLE001 - the boundary of the program
        traceback.print_exception(error)
        cause = first_cause(error)
        emit({"event": "error", "message": f"{type(cause).__name__}: {cause}"})
        return 1


if __name__ == "__main__":
    sys.exit(main())
