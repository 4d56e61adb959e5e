"""The commands under ``peerstack dht``: asked of the daemon, or of a host of their own."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from peerstack_cli.failures import CommandError
from peerstack_cli.session import Session
from peerstack_cli.store import Slot, call, write_value
from peerstack_cli.tables import columns
from peerstack_cli.values import parse_duration, read_value

__all__ = ["closest", "find_node", "find_value", "forget", "lookup", "ping", "provide", "providers", "ring", "store", "table"]


def lookup(session: Session, slot: Slot, *, trace: bool) -> None:
    """Who is responsible; with a trace, every request on the way first."""
    document = call(session, "dht/lookup", slot, {**_fields(slot, "subkey"), "trace": trace})
    lines = [columns([_TRACE, *map(_hop, document["hops"])]), ""] if document["hops"] else []
    session.output.document(document, "\n".join([*lines, *document["peers"]]))
    if not document["complete"]:
        session.output.say("note: the lookup is not complete: its time was over, or nobody was left to ask")


def closest(session: Session, slot: Slot, *, count: int) -> None:
    """Whom the daemon knows near a key."""
    document = call(session, "dht/closest", slot, {**_fields(slot, "subkey", "timeout_s"), "count": count})
    session.output.document(document, _peers(document["peers"], "the daemon knows no other server"))


def table(session: Session, dht: str | None) -> None:
    """The routing table, bucket by bucket."""
    document = session.client().post("/v1/dht/table", {"dht": dht})
    session.output.document(document, _table(document))


def ring(session: Session, dht: str | None) -> None:
    """The ring: who stands before this node and who after it."""
    document = session.client().post("/v1/dht/ring", {"dht": dht or "chord"})
    session.output.document(document, _ring(document))


def forget(session: Session, dht: str | None) -> None:
    """Count nobody any more who does not answer: a line for each."""
    document = session.client().post("/v1/dht/forget", {"dht": dht})
    lines = [f"forgot {peer} ({document['dht']})" for peer in document["forgotten"]]
    session.output.document(document, "\n".join(lines) or f"every server known answered: nobody was forgotten ({document['dht']})")


def ping(session: Session, peer: str, slot: Slot) -> None:
    """One round trip."""
    document = call(session, "dht/ping", slot, {**_fields(slot, "namespace", "key", "key_base64", "subkey"), "peer": peer})
    session.output.document(document, f"{document['peer_id']} time={document['rtt_ms']:.3f} ms")


def find_node(session: Session, peer: str, slot: Slot) -> None:
    """Whom one peer names."""
    document = call(session, "dht/find-node", slot, {**_fields(slot, "subkey"), "peer": peer})
    session.output.document(document, _peers(document["peers"], "it names nobody"))


def find_value(session: Session, peer: str, slot: Slot) -> None:
    """What one peer holds."""
    document = call(session, "dht/find-value", slot, {**slot.request(), "peer": peer})
    if session.output.json:
        session.output.document(document, "")
        return
    for record in document["records"]:
        write_value(session, record)
    if not document["records"]:
        session.output.say(f"note: it holds nothing, and names {len(document['peers'])} peers")
    elif not document["authoritative"]:
        session.output.say("note: its word does not count for this key")


def store(session: Session, peer: str, slot: Slot, value: str, *, ttl: str | None) -> None:
    """Have one peer store a value."""
    request = {**slot.request(), "peer": peer, "ttl_s": parse_duration(ttl, "--ttl")}
    request["value_base64"] = base64.b64encode(read_value(value)).decode("ascii")
    document = call(session, "dht/store", slot, request)
    if not document["stored"]:
        raise CommandError("failure", f"{document['peer_id']} refused it ({document['reason']}): {document['message']}")
    session.output.document(document, f"stored by {document['peer_id']}")


def provide(session: Session, slot: Slot) -> None:
    """Announce."""
    document = call(session, "dht/provide", slot, _fields(slot, "namespace", "subkey"))
    session.output.document(document, f"announced to {len(document['told'])} nodes ({document['dht']})")


def providers(session: Session, slot: Slot, *, limit: int) -> None:
    """Who has it."""
    document = call(session, "dht/providers", slot, {**_fields(slot, "namespace", "subkey"), "limit": limit})
    rows = [[provider["peer_id"], " ".join(provider["addrs"])] for provider in document["providers"]]
    session.output.document(document, columns(rows) if rows else "nobody was found")


_TRACE = ("", "peer", "distance", "sent", "took", "outcome", "new")


def _hop(hop: Mapping[str, Any]) -> list[str]:
    depth = f"{hop['depth']}" if not hop["path"] else f"{hop['depth']} (path {hop['path'] + 1})"
    times = [f"{hop['sent_ms']:.1f} ms", f"{hop['ms']:.1f} ms"]
    return [depth, hop["peer_id"], f"{hop['distance'][:8]}..", *times, hop["outcome"], str(hop["learned"])]


def _table(document: Mapping[str, Any]) -> str:
    """A Kademlia table for people; any other topology field by field."""
    if document.get("kind") != "kademlia":
        return columns([[f"{name}:", str(value)] for name, value in document.items()])
    lines = [_standing(document)]
    rows = [
        [f"{bucket['prefix']}" if not number else "", peer["peer"], _milliseconds(peer["rtt_ms"]), f"{peer['heard_s_ago']:.0f} s ago"]
        for bucket in document["buckets"]
        for number, peer in enumerate(bucket["peers"])
    ]
    return "\n".join([*lines, columns([["bits", "peer", "rtt", "heard"], *rows])] if rows else lines)


def _ring(document: Mapping[str, Any]) -> str:
    """A member's place on the ring: clockwise from its predecessor, then its fingers."""
    lines = [_standing(document), _MODES[document["mode"]]]
    known = {peer["peer"]: peer for peer in document["known"]}
    rows = [["predecessor", document["predecessor"]]] if document["predecessor"] else []
    rows += [["this node", document["peer"]]]
    for role in ("successor", "finger"):
        rows += [[role if not number else "", peer] for number, peer in enumerate(document[f"{role}s"])]
    rows = [[*row, _milliseconds(known[row[1]]["rtt_ms"]) if row[1] in known else "-"] for row in rows]
    return "\n".join([*lines, columns([["", "peer", "rtt"], *rows])])


_MODES = {
    "outside": "it stands on no ring",
    "forming": "the ring is forming: it is so small that every member knows all others",
    "ring": "it stands on the ring",
}


def _standing(document: Mapping[str, Any]) -> str:
    if not document["serving"]:
        return f"{document['peers']} servers known; this node is a client"
    word = "counts" if document["authoritative"] else "does not count yet"
    return f"{document['peers']} servers known, {len(document['counted'])} counted near this node; as a server, its word {word}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _peers(peers: Sequence[str], nobody: str) -> str:
    return "\n".join(peers) if peers else nobody


def _fields(slot: Slot, *without: str) -> dict[str, Any]:
    """The fields of a request, but for those that it has no use for."""
    return {name: value for name, value in slot.request().items() if name not in without}
