"""The Kademlia roles on ``/ipfs/kad/1.0.0`` (../README.md): bootstrap, provider and querier."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, TypeVar

import trio
from libp2p.abc import IHost
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.records.validator import BlankValidator, NamespacedValidator
from libp2p.tools.anyio_service import background_trio_service
from node import identify, open_node, peer_at

ROLES = ("bootstrap", "provider", "querier")
VALUE = b"hello from py"

_NAMESPACE = "example"
_OPERATION_DEADLINE_SECONDS = 8
_SHA2_256 = b"\x12\x20"

Result = TypeVar("Result")


@asynccontextmanager
async def open_kad(*, serve: bool) -> AsyncIterator[tuple[IHost, KadDHT]]:
    """Run a host with a DHT, a server if and only if it listens. The library adds its own ``pk`` and ``ipns`` validators."""
    async with open_node(listen=serve) as host:
        validator = NamespacedValidator({_NAMESPACE: BlankValidator()})
        dht = KadDHT(host, DHTMode.SERVER if serve else DHTMode.CLIENT, validator=validator)
        async with background_trio_service(dht):
            yield host, dht


async def provide(host: IHost, dht: KadDHT, bootstrap: str, key: bytes, multihash: bytes) -> dict[str, Any]:
    """Announce and put. The library tells of a put only that it raised nothing."""
    errors: dict[str, str] = {}
    await _attempt("connect", errors, lambda: _join(host, bootstrap))

    async def announce() -> None:
        if not await dht.provide(multihash.hex()):
            raise RuntimeError("no peer took ADD_PROVIDER")

    async def put() -> bool:
        await dht.put_value(key.decode(), VALUE)
        return True

    await _attempt("provide", errors, announce)
    done = await _attempt("put", errors, put)
    return {"put": done is True, "put_error": errors.get("put"), "errors": errors, "unsupported": {}}


async def query(host: IHost, dht: KadDHT, bootstrap: str, key: bytes, multihash: bytes) -> dict[str, Any]:
    """Find peers, providers and the value."""
    errors: dict[str, str] = {}
    await _attempt("connect", errors, lambda: _join(host, bootstrap))

    async def find_node() -> int:
        return len(_some(await dht.peer_routing.find_closest_peers_network(_SHA2_256 + sha256(os.urandom(32)).digest()), "no peers"))

    async def find_providers() -> list[str]:
        return [str(info.peer_id) for info in _some(await dht.find_providers(multihash.hex()), "no providers")]

    async def get() -> str:
        return _some(await dht.get_value(key.decode()), "no value").decode()

    found = await _attempt("find_node", errors, find_node)
    providers = await _attempt("providers", errors, find_providers)
    value = await _attempt("value", errors, get)
    return {"find_node": found or 0, "providers": providers or [], "value": value, "errors": errors, "unsupported": {}}


async def _join(host: IHost, bootstrap: str) -> None:
    """Connect, and wait for what makes the remote a server in our eyes."""
    target = peer_at(bootstrap)
    await host.connect(target)
    await identify(host, target.peer_id)


async def _attempt(name: str, errors: dict[str, str], work: Callable[[], Awaitable[Result]]) -> Result | None:
    """What ``work`` returns, or nothing and its error under ``name``."""
    try:
        with trio.fail_after(_OPERATION_DEADLINE_SECONDS):
            return await work()
    except Exception as error:  # noqa: BLE001 - whatever a library raises is a result here
        traceback.print_exc(file=sys.stderr)
        errors[name] = f"{type(error).__name__}: {error}"
        return None


def _some(result: Result | None, otherwise: str) -> Result:
    if not result:
        raise LookupError(otherwise)
    return result
