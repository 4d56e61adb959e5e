"""What commands answer, as JSON. ``docs/reference/json.md`` lists every field."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from peerstack import PeerInfo
from peerstack.dht import GetResult, PutResult, parse_own_key, show_own_key
from peerstack.errors import InvalidRecord
from peerstack.plugin import ConnectionInfo
from peerstack_cli.failures import CommandError
from peerstack_cli.values import as_document

__all__ = ["get_document", "key_bytes", "key_document", "milliseconds", "moment", "peer_document", "put_document"]

Document = dict[str, Any]


def key_bytes(namespace: str, key: str) -> bytes:
    """The key that a text names: ``own`` is written ``<peer id>/<rest>``, ``hash`` in hexadecimal, others as they are.

    Raises:
        InvalidRecord: In ``own``, it does not start with a peer id and a slash.
        CommandError: In ``hash``, it is no SHA-256 in hexadecimal (``usage``).
    """
    if namespace == "own":
        return parse_own_key(key)
    if namespace == "hash":
        try:
            digest = bytes.fromhex(key)
        except ValueError:
            digest = b""
        if len(digest) != hashlib.sha256().digest_size:
            raise CommandError("usage", f"{key!r} is no key of 'hash': write the value's SHA-256 as 64 hexadecimal digits")
        return digest
    return key.encode(errors="surrogatepass")


def key_document(namespace: str, key: bytes) -> Document:
    """A key as it would be typed, or in base64."""
    if namespace == "own":
        try:
            return {"key": show_own_key(key)}
        except InvalidRecord:
            return as_document("key", key)
    return {"key": key.hex()} if namespace == "hash" else as_document("key", key)


def put_document(dht: str, result: PutResult) -> Document:
    """What became of a put or a delete."""
    return {
        "dht": dht,
        "namespace": result.namespace,
        **key_document(result.namespace, result.key),
        **as_document("subkey", result.subkey),
        "version": result.version.time,
        "expires_at": moment(result.expires_at),
        "targets": _texts(result.targets),
        "acknowledged": _texts(result.acknowledged),
        "stored": _texts(result.stored),
        "refused": [
            {"peer_id": str(peer), "reason": refusal.reason.value, "message": refusal.message} for peer, refusal in result.refused.items()
        ],
        "asked": result.asked,
        "needed": result.needed,
        "promised": result.promised,
    }


def get_document(dht: str, result: GetResult) -> Document:
    """A value that was found."""
    record = result.record
    return {
        "dht": dht,
        "namespace": record.namespace,
        **key_document(record.namespace, record.key),
        **as_document("subkey", record.subkey),
        **as_document("value", result.value),
        "version": record.version.time,
        "expires_at": moment(record.expires_at),
        "writer": str(record.writer.peer_id()),
        "confirmed": result.confirmed,
        "answers": result.answers,
        "asked": result.asked,
        "needed": result.needed,
        "repaired": result.repaired,
        "local": result.local,
    }


def peer_document(peer: PeerInfo, connections: Sequence[ConnectionInfo]) -> Document:
    """A connected peer."""
    return {
        "peer_id": str(peer.peer_id),
        "agent": peer.agent,
        "protocols": sorted(peer.protocols),
        "addrs": [str(address.with_peer(peer.peer_id)) for address in peer.addresses],
        "connections": [connection_document(connection) for connection in connections],
    }


def connection_document(connection: ConnectionInfo) -> Document:
    """One connection."""
    return {
        "remote": str(connection.remote_address),
        "direction": "outbound" if connection.outbound else "inbound",
        "rtt_ms": milliseconds(connection.rtt),
    }


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as milliseconds, to the microsecond."""
    return None if seconds is None else round(seconds * 1000, 3)


def _texts(peers: Sequence[object]) -> list[str]:
    return [str(peer) for peer in peers]


def moment(microseconds: int) -> str | None:
    """A time in UTC (RFC 3339); None for a delete, which has none."""
    if not microseconds:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat()
    except (OverflowError, ValueError, OSError):
        return None  # later than the year 9999
