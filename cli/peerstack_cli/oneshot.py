"""A DHT operation without a daemon: a client host for one operation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from peerstack import Host
from peerstack.addresses import Address
from peerstack.config import Preset, preset
from peerstack.errors import PeerstackError
from peerstack.host import entry_points
from peerstack_cli.dht_operations import DHT_OPERATIONS
from peerstack_cli.documents import Document
from peerstack_cli.settings import DEFAULT_DHTS

__all__ = ["run_once"]


def run_once(operation: str, bootstrap: Sequence[str], request: Mapping[str, Any]) -> Document:
    """Join through the bootstrap peers, do one thing, and go. Raises as the operation; `DialError` if no bootstrap peer can be reached."""
    return asyncio.run(_run_once(operation, [Address.parse(text) for text in bootstrap], request))


async def _run_once(operation: str, bootstrap: Sequence[Address], request: Mapping[str, Any]) -> Document:
    installed = entry_points.installed(entry_points.PROTOCOLS)
    dht = request.get("dht") or next((name for name in DEFAULT_DHTS if name in installed), DEFAULT_DHTS[0])
    async with Host(protocols=[dht], bootstrap=bootstrap, config=preset(_preset(bootstrap))) as host:
        await _reach_one(host, bootstrap)
        return await DHT_OPERATIONS[operation](host, request)


async def _reach_one(host: Host, bootstrap: Sequence[Address]) -> None:
    errors: list[PeerstackError] = []
    for address in bootstrap:
        try:
            await host.connect(address)
        except PeerstackError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def _preset(bootstrap: Sequence[Address]) -> Preset:
    """The narrowest that reaches them all: with ``wan``, private addresses that peers name are not dialled."""
    if all(address.is_loopback() for address in bootstrap):
        return "local"
    return "lan" if all(address.is_private() for address in bootstrap) else "wan"
