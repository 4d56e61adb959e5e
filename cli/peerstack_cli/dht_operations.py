"""What commands do with a DHT, through its contract only: `Dht`, and where it has them `Inspect` and `Providers`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from peerstack import ConfigError, Host, PeerId
from peerstack.addresses import Address
from peerstack.dht import Answer, Inspect, Providers, Question
from peerstack_cli import dht_documents as documents
from peerstack_cli.documents import Document
from peerstack_cli.failures import CommandError
from peerstack_cli.operations import SLOT, Operation, chosen_dht, delete, get, put, slot
from peerstack_cli.requests import Request

__all__ = ["DHT_OPERATIONS"]

_KEY: Final = ("dht", "namespace", "key", "timeout_s")
_MAX_COUNT: Final = 1000
_RING: Final = "chord"  # the kind of topology


async def lookup(host: Host, fields: object) -> Document:
    """Find who is responsible. Raises as `Dht.lookup`."""
    request = Request(fields, allowed=(*_KEY, "trace"))
    name, dht = chosen_dht(host, request)
    given = _key(request)
    found = await dht.lookup(given["key"], namespace=given["namespace"], trace=request.flag("trace"), timeout=given["timeout"])
    return documents.lookup_document(name, given["namespace"], found)


async def closest(host: Host, fields: object) -> Document:
    """The closest peers known without asking anybody."""
    request = Request(fields, allowed=("dht", "namespace", "key", "count"))
    name, inspect = _inspect(host, request)
    given = _key(request)
    count = min(request.count("count") or 20, _MAX_COUNT)
    peers = inspect.closest(given["key"], namespace=given["namespace"], count=count)
    return documents.closest_document(name, given["namespace"], given["key"], peers)


async def table(host: Host, fields: object) -> Document:
    """The routing table."""
    name, topology = _topology(host, fields)
    if topology["kind"] == _RING:
        raise CommandError("usage", f"the DHT {name!r} is a ring: peerstack dht ring shows it")
    return {"dht": name, **topology}


async def ring(host: Host, fields: object) -> Document:
    """The ring as one member sees it."""
    name, topology = _topology(host, fields)
    if topology["kind"] != _RING:
        raise CommandError("usage", f"the DHT {name!r} is no ring: peerstack dht table shows what it knows")
    return {"dht": name, **topology}


async def forget(host: Host, fields: object) -> Document:
    """Count no server any more that does not answer now."""
    name, inspect = _inspect(host, Request(fields, allowed=("dht",)))
    return documents.forget_document(name, await inspect.forget())


async def ping(host: Host, fields: object) -> Document:
    """Ask one peer whether it is there. Raises as `Inspect.ask`."""
    request = Request(fields, allowed=("dht", "peer", "timeout_s"))
    name, answer = await _ask(host, request, Question(kind="ping"))
    return documents.pong_document(name, answer)


async def find_node(host: Host, fields: object) -> Document:
    """Ask one peer whom it knows near a key. Raises as `Inspect.ask`."""
    request = Request(fields, allowed=(*_KEY, "peer"))
    name, answer = await _ask(host, request, _question(request, "find-node"))
    return documents.nodes_document(name, answer)


async def find_value(host: Host, fields: object) -> Document:
    """Ask one peer what it holds. Raises as `Inspect.ask`."""
    request = Request(fields, allowed=(*SLOT, "peer"))
    name, answer = await _ask(host, request, _question(request, "find-value"))
    return documents.value_document(name, answer)


async def store(host: Host, fields: object) -> Document:
    """Have one peer store a value. Raises as `Inspect.ask`."""
    request = Request(fields, allowed=(*SLOT, "peer", "value", "ttl_s"))
    question = _question(request, "store", value=request.required_data("value"), ttl=request.number("ttl_s"))
    name, answer = await _ask(host, request, question)
    return documents.store_document(name, answer)


async def provide(host: Host, fields: object) -> Document:
    """Announce that this node has what a key names. Raises as `Providers.provide`."""
    request = Request(fields, allowed=("dht", "key", "timeout_s"))
    name, providers = _providers(host, request)
    key = request.required_data("key")
    return documents.provide_document(name, key, await providers.provide(key, timeout=request.number("timeout_s")))


async def find_providers(host: Host, fields: object) -> Document:
    """Find who has what a key names. Raises as `Providers.find_providers`."""
    request = Request(fields, allowed=("dht", "key", "limit", "timeout_s"))
    name, providers = _providers(host, request)
    key, limit = request.required_data("key"), min(request.count("limit") or 20, _MAX_COUNT)
    found = await providers.find_providers(key, limit=limit, timeout=request.number("timeout_s"))
    return documents.providers_document(name, key, found)


DHT_OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "put": put,
        "get": get,
        "delete": delete,
        "dht/lookup": lookup,
        "dht/closest": closest,
        "dht/table": table,
        "dht/ring": ring,
        "dht/forget": forget,
        "dht/ping": ping,
        "dht/find-node": find_node,
        "dht/find-value": find_value,
        "dht/store": store,
        "dht/provide": provide,
        "dht/providers": find_providers,
    }
)
"""By path: what the API and a command without a daemon can do."""


def _key(request: Request) -> dict[str, Any]:
    given = slot(request)
    del given["subkey"]
    return given


def _inspect(host: Host, request: Request) -> tuple[str, Inspect]:
    name, dht = chosen_dht(host, request)
    if not isinstance(dht, Inspect):
        raise ConfigError(f"the DHT {name!r} cannot be looked into")
    return name, dht


def _topology(host: Host, fields: object) -> tuple[str, Mapping[str, Any]]:
    name, inspect = _inspect(host, Request(fields, allowed=("dht",)))
    return name, inspect.topology()


def _providers(host: Host, request: Request) -> tuple[str, Providers]:
    name, dht = chosen_dht(host, request)
    if not isinstance(dht, Providers):
        raise ConfigError(f"the DHT {name!r} keeps no providers")
    return name, dht


def _question(
    request: Request, kind: Literal["find-node", "find-value", "store"], *, value: bytes = b"", ttl: float | None = None
) -> Question:
    given = slot(request)
    return Question(kind=kind, key=given["key"], namespace=given["namespace"], subkey=given["subkey"], value=value, ttl=ttl)


async def _ask(host: Host, request: Request, question: Question) -> tuple[str, Answer]:
    """Ask a peer given by its id, or by an address that ends in one."""
    name, inspect = _inspect(host, request)
    text, timeout = request.required_text("peer"), request.number("timeout_s")
    peer: PeerId | None
    if text.startswith("/"):
        peer = Address.parse(text).peer_id
        if peer is None:
            raise CommandError("usage", f"{text} names no peer: add /p2p/<peer id>")
        await host.connect(text, timeout=timeout)
    else:
        peer = PeerId.parse(text)
    return name, await inspect.ask(peer, question, timeout=timeout)
