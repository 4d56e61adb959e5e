"""A node's surroundings as plain data, for people and drawings: what is the same in every DHT."""

from __future__ import annotations

from typing import Any

from peerstack.dht.replica.contacts import key_bytes
from peerstack.dht.replica.engine import Engine
from peerstack.dht.replica.routing import Known

__all__ = ["describe", "describe_peer"]


def describe(engine: Engine, kind: str) -> dict[str, Any]:
    """The shared half of `peerstack.dht.contract.Inspect.topology`."""
    hood = engine.hood
    return {
        "kind": kind,
        "peer": str(engine.own.peer_id),
        "position": key_bytes(engine.own.key).hex(),
        "serving": engine.serving,
        "authoritative": hood.settled,
        "taking_over": hood.taking_over,
        "counted": [str(member.contact.peer_id) for member in hood.members.values()],
        "peers": len(engine.routing),
    }


def describe_peer(engine: Engine, known: Known) -> dict[str, Any]:
    """One server of the routing table."""
    rtt = engine.trips.rtt(known.contact.key)
    return {
        "peer": str(known.contact.peer_id),
        "position": key_bytes(known.contact.key).hex(),
        "heard_s_ago": round(engine.outside.time() - known.last_heard, 3),
        "rtt_ms": None if rtt is None else round(rtt * 1000, 3),
        "failures": known.failures,
        "stale": known.stale,
    }
