"""The routing table and the neighbourhood as plain data, for people and drawings."""

from __future__ import annotations

from typing import Any

from peerstack.dht.replica.contacts import key_bytes
from peerstack_kad.buckets import Entry
from peerstack_kad.engine import Engine

__all__ = ["topology"]


def topology(engine: Engine) -> dict[str, Any]:
    """What a node knows of its network: `peerstack.dht.contract.Inspect.topology`."""
    table, hood = engine.table, engine.hood
    buckets = [{"prefix": index, "peers": [_peer(engine, entry) for entry in table.bucket(index)]} for index in range(table.depth)]
    return {
        "kind": "kademlia",
        "peer": str(engine.own.peer_id),
        "position": key_bytes(engine.own.key).hex(),
        "serving": engine.serving,
        "authoritative": hood.settled,
        "taking_over": hood.taking_over,
        "counted": [str(member.contact.peer_id) for member in hood.members.values()],
        "peers": len(table),
        "buckets": [bucket for bucket in buckets if bucket["peers"]],
    }


def _peer(engine: Engine, entry: Entry) -> dict[str, Any]:
    rtt = engine.trips.rtt(entry.contact.key)
    return {
        "peer": str(entry.contact.peer_id),
        "position": key_bytes(entry.contact.key).hex(),
        "heard_s_ago": round(engine.outside.time() - entry.last_heard, 3),
        "rtt_ms": None if rtt is None else round(rtt * 1000, 3),
        "failures": entry.failures,
        "stale": entry.stale,
    }
