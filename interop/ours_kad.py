"""Our own Kademlia roles on ``/ipfs/kad/1.0.0``: bootstrap, provider and querier (see peers/README.md)."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from peerstack_identify import Identify
from peerstack_kad import Kademlia

from peerstack import Host, preset
from peerstack.errors import PeerstackError

__all__ = ["run"]

PROTOCOL: Final = "/ipfs/kad/1.0.0"
VALUE: Final = b"hello from peerstack"
_OPERATION_TIMEOUT_S: Final = 8.0

ResultT = TypeVar("ResultT")


class AnyValue:
    """The namespace ``example``: everything is valid, and the first is as good as any."""

    name = "example"

    def validate(self, key: bytes, value: bytes, now: int) -> None:
        """Take it."""

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The first."""
        return 0


class _Node:
    """A host with the DHT, and what went wrong on it."""

    def __init__(self, *, serving: bool) -> None:
        self.kad = Kademlia(Kademlia.Config(preset="local", protocol_id=PROTOCOL), raw_namespaces=[AnyValue()])
        self.host = Host(listen=["/ip4/127.0.0.1/tcp/0"] if serving else [], protocols=["ping", self.kad], config=preset("local"))
        self.errors: dict[str, str] = {}

    async def attempt(self, name: str, work: Callable[[], Awaitable[ResultT]]) -> ResultT | None:
        """What `work` returns, or nothing and its error under `name`."""
        try:
            async with asyncio.timeout(_OPERATION_TIMEOUT_S):
                return await work()
        except (PeerstackError, LookupError, TimeoutError) as error:
            traceback.print_exc()
            self.errors[name] = f"{type(error).__name__}: {error}"
            return None

    async def join(self, bootstrap: str) -> None:
        """Connect, and wait for what makes the bootstrap a server in our eyes."""

        async def connect() -> None:
            connection = await self.host.connect(bootstrap)
            identify = self.host.plugin("identify")
            assert isinstance(identify, Identify)
            await identify.identify(connection.peer_id)

        await self.attempt("connect", connect)

    async def provide(self, multihash: bytes) -> bool:
        """Announce; whether anybody was told."""
        return bool(await self.kad.provide(multihash))

    async def put(self, key: bytes) -> bool:
        """Write."""
        await self.kad.put_raw(key, VALUE)
        return True

    async def find_node(self) -> int:
        """Look a random key up."""
        return len(_some((await self.kad.lookup(secrets.token_bytes(16))).peers, "no peers"))

    async def find_providers(self, multihash: bytes) -> list[str]:
        """Find who has it."""
        return [str(provider.peer) for provider in _some(await self.kad.find_providers(multihash), "no providers")]

    async def get(self, key: bytes) -> str:
        """Read."""
        return (await self.kad.get_raw(key)).decode()


async def run(argv: Sequence[str], say: Callable[..., None], stopped: Callable[[], Awaitable[None]]) -> int:
    """Play a role; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m interop.ours kad")
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("bootstrap")
    for name in ("provider", "querier"):
        role = roles.add_parser(name)
        role.add_argument("address")
        role.add_argument("key", type=bytes.fromhex)
        role.add_argument("multihash", type=bytes.fromhex)
    arguments = parser.parse_args(argv)
    node = _Node(serving=arguments.role != "querier")
    try:
        async with node.host as host:
            match arguments.role:
                case "bootstrap":
                    say(event="ready", addr=str(host.addrs[0]), agent=str(host.config.agent), unsupported={})
                    await stopped()
                case "provider":
                    say(event="provided", addr=str(host.addrs[0]), **await _provide(node, arguments))
                    await stopped()
                case _:
                    say(event="done", **await _query(node, arguments))
                    return int(bool(node.errors))
    except PeerstackError as error:
        say(event="error", message=f"{type(error).__name__}: {error}")
        return 1
    return 0


async def _provide(node: _Node, arguments: argparse.Namespace) -> dict[str, Any]:
    await node.join(arguments.address)
    await node.attempt("provide", lambda: node.provide(arguments.multihash))
    put = await node.attempt("put", lambda: node.put(arguments.key))
    return {"put": put is True, "put_error": node.errors.get("put"), "errors": node.errors, "unsupported": {}}


async def _query(node: _Node, arguments: argparse.Namespace) -> dict[str, Any]:
    await node.join(arguments.address)
    found = await node.attempt("find_node", node.find_node)
    providers = await node.attempt("providers", lambda: node.find_providers(arguments.multihash))
    value = await node.attempt("value", lambda: node.get(arguments.key))
    outcome: dict[str, Any] = {"find_node": found or 0, "providers": providers or [], "value": value}
    return outcome | {"errors": node.errors, "unsupported": {}}


def _some(result: ResultT, otherwise: str) -> ResultT:
    if not result:
        raise LookupError(otherwise)
    return result
