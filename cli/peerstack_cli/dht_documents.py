"""What commands about a DHT answer, as JSON. ``docs/reference/json.md`` lists every field."""

from __future__ import annotations

from collections.abc import Sequence

from peerstack import PeerId
from peerstack.addresses import Address
from peerstack.dht import Answer, Hop, Lookup, Provider, Record
from peerstack.errors import InvalidAddress
from peerstack_cli.documents import Document, key_document, milliseconds, moment
from peerstack_cli.values import as_document

__all__ = [
    "closest_document",
    "forget_document",
    "lookup_document",
    "nodes_document",
    "pong_document",
    "provide_document",
    "providers_document",
    "store_document",
    "value_document",
]


def lookup_document(dht: str, namespace: str, result: Lookup) -> Document:
    """Who is responsible, and the way there."""
    return {
        "dht": dht,
        "namespace": namespace,
        **key_document(namespace, result.key),
        "position": result.position.hex(),
        "peers": [str(peer) for peer in result.peers],
        "complete": result.complete,
        "hops": [_hop_document(hop) for hop in result.hops],
    }


def closest_document(dht: str, namespace: str, key: bytes, peers: Sequence[PeerId]) -> Document:
    """Whom this node knows near a key."""
    return {"dht": dht, "namespace": namespace, **key_document(namespace, key), "peers": [str(peer) for peer in peers]}


def forget_document(dht: str, forgotten: Sequence[PeerId]) -> Document:
    """Whom this node counts no more."""
    return {"dht": dht, "forgotten": [str(peer) for peer in forgotten]}


def pong_document(dht: str, answer: Answer) -> Document:
    """A peer that is there."""
    return {"dht": dht, "peer_id": str(answer.peer), "rtt_ms": milliseconds(answer.seconds)}


def nodes_document(dht: str, answer: Answer) -> Document:
    """Whom a peer named."""
    return {**pong_document(dht, answer), "peers": [str(peer) for peer in answer.peers]}


def value_document(dht: str, answer: Answer) -> Document:
    """What a peer holds."""
    records = [] if answer.record is None else [_record_document(answer.record)]
    return {**nodes_document(dht, answer), "authoritative": bool(answer.authoritative), "records": records}


def store_document(dht: str, answer: Answer) -> Document:
    """What a peer did with a value."""
    refusal = answer.refusal
    return {
        **pong_document(dht, answer),
        "authoritative": bool(answer.authoritative),
        "stored": refusal is None,
        "reason": None if refusal is None else refusal.reason.value,
        "message": "" if refusal is None else refusal.message,
    }


def provide_document(dht: str, key: bytes, told: Sequence[PeerId]) -> Document:
    """Who was told."""
    return {"dht": dht, **as_document("key", key), "told": [str(peer) for peer in told]}


def providers_document(dht: str, key: bytes, providers: Sequence[Provider]) -> Document:
    """Who has it."""
    found = [{"peer_id": str(provider.peer), "addrs": _addresses(provider)} for provider in providers]
    return {"dht": dht, **as_document("key", key), "providers": found}


def _hop_document(hop: Hop) -> Document:
    return {
        "peer_id": str(hop.peer),
        "distance": f"{hop.distance:064x}",
        "depth": hop.depth,
        "path": hop.path,
        "sent_ms": milliseconds(hop.sent_at),
        "ms": milliseconds(hop.seconds),
        "outcome": hop.outcome.value,
        "learned": hop.learned,
    }


def _record_document(record: Record) -> Document:
    return {
        **as_document("subkey", record.subkey),
        **as_document("value", record.value or b""),
        "has_value": record.value is not None,
        "version": record.version.time,
        "expires_at": moment(record.expires_at),
        "writer": str(record.writer.peer_id()),
    }


def _addresses(provider: Provider) -> list[str]:
    """A provider's addresses as text; what is no address is left out: strangers wrote it."""
    texts = []
    for data in provider.addresses:
        try:
            texts.append(str(Address.from_bytes(data).with_peer(provider.peer)))
        except InvalidAddress:
            continue
    return texts
