"""What commands do with a host: the same for the daemon's API and for a command that starts its own host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, Protocol, cast

from peerstack import ConfigError, Host, PeerId
from peerstack.addresses import Address
from peerstack.dht import Dht
from peerstack.host.deadlines import deadline
from peerstack_cli.documents import Document, get_document, key_bytes, milliseconds, peer_document, put_document
from peerstack_cli.failures import CommandError
from peerstack_cli.requests import Request

__all__ = ["SLOT", "Operation", "chosen_dht", "connect", "delete", "dhts", "disconnect", "get", "peers", "ping", "put", "slot"]

SLOT: Final = ("dht", "namespace", "key", "subkey", "timeout_s")
_MAX_PINGS: Final = 100_000

Operation = Callable[[Host, object], Awaitable[Document]]


class _Pings(Protocol):
    """What is needed of the ping plugin."""

    def ping(self, target: PeerId | Address | str, *, count: int = 1, interval_s: float = 0.0) -> AsyncGenerator[float, None]:
        """Measure round trips, in seconds."""


def dhts(host: Host) -> list[str]:
    """The names of the DHTs enabled; the first one is the default."""
    return [name for name, plugin in host.plugins.items() if isinstance(plugin, Dht)]


async def put(host: Host, fields: object) -> Document:
    """Write a value. Raises as `Dht.put`."""
    request = Request(fields, allowed=(*SLOT, "value", "ttl_s", "ack"))
    name, dht = chosen_dht(host, request)
    result = await dht.put(
        value=request.required_data("value"), ttl=request.number("ttl_s"), ack=request.ack("ack") or "majority", **slot(request)
    )
    return put_document(name, result)


async def get(host: Host, fields: object) -> Document:
    """Read a value. Raises as `Dht.get`."""
    request = Request(fields, allowed=(*SLOT, "quorum"))
    name, dht = chosen_dht(host, request)
    return get_document(name, await dht.get(quorum=request.count("quorum"), **slot(request)))


async def delete(host: Host, fields: object) -> Document:
    """Delete a value. Raises as `Dht.delete`."""
    request = Request(fields, allowed=SLOT)
    name, dht = chosen_dht(host, request)
    return put_document(name, await dht.delete(**slot(request)))


async def peers(host: Host) -> Document:
    """The connected peers."""
    return {"peers": [peer_document(peer, host.connections(peer.peer_id)) for peer in host.peers()]}


async def connect(host: Host, fields: object) -> Document:
    """Connect to a peer. Raises as `Host.connect`."""
    request = Request(fields, allowed=("target", "timeout_s"))
    connection = await host.connect(request.required_text("target"), timeout=request.number("timeout_s"))
    return {"peer_id": str(connection.peer_id), "remote": str(connection.remote_address)}


async def disconnect(host: Host, fields: object) -> Document:
    """Close every connection to a peer."""
    text = Request(fields, allowed=("target",)).required_text("target")
    peer_id = Address.parse(text).peer_id if text.startswith("/") else PeerId.parse(text)
    if peer_id is None:
        raise CommandError("usage", f"{text} names no peer: add /p2p/<peer id>")
    closed = await host.disconnect(peer_id)
    if not closed:
        raise CommandError("not_found", f"there is no connection to {peer_id}", "`peerstack peers` lists the connected ones")
    return {"peer_id": str(peer_id), "closed": closed}


async def ping(host: Host, fields: object) -> AsyncGenerator[Document, None]:
    """Measure round trips: one document each. Raises as `peerstack_ping.Ping.ping`, and `DeadlineExceeded`."""
    request = Request(fields, allowed=("target", "count", "interval_s", "timeout_s"))
    target, timeout = request.required_text("target"), request.number("timeout_s")
    count, interval_s = min(request.count("count") or 1, _MAX_PINGS), request.number("interval_s") or 0.0
    loop = asyncio.get_running_loop()
    ends = None if timeout is None else loop.time() + timeout
    async with aclosing(cast("_Pings", host.plugin("ping")).ping(target, count=count, interval_s=interval_s)) as times:
        for sequence in range(1, count + 1):
            async with deadline(None if ends is None else max(0.0, ends - loop.time()), f"pinging {target}"):
                seconds = await anext(times)
            yield {"seq": sequence, "rtt_ms": milliseconds(seconds)}


def chosen_dht(host: Host, request: Request) -> tuple[str, Dht]:
    """The DHT that a request names, or the default one. Raises `ConfigError` where there is none."""
    name = request.text("dht") or next(iter(dhts(host)), None)
    if name is None:
        raise ConfigError("no DHT is enabled: add a table such as [protocols.kad] to the configuration")
    return name, host.dht(name)


def slot(request: Request) -> dict[str, Any]:
    """The arguments that every DHT call takes."""
    namespace, text = request.text("namespace") or "kv", request.text("key")
    return {
        "namespace": namespace,
        "key": request.required_data("key") if text is None else key_bytes(namespace, text),
        "subkey": request.data("subkey") or b"",
        "timeout": request.number("timeout_s"),
    }
