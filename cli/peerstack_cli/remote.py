"""Commands about the running daemon and its peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peerstack_cli.failures import CommandError
from peerstack_cli.session import Session
from peerstack_cli.tables import columns
from peerstack_cli.values import parse_duration

__all__ = ["PingOptions", "connect", "disconnect", "peers", "ping", "status"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PingOptions:
    """As typed."""

    target: str
    count: int
    interval: str
    timeout: str | None


def status(session: Session) -> None:
    """Show how the daemon is."""
    document = session.client().get("/v1/status")
    rows = {
        "Peer ID": document["peer_id"],
        "Version": document["version"],
        "Home": document["home"],
        "Preset": document["preset"],
        "Running for": f"{document['uptime_s']:.0f} s (process {document['pid']})",
        "Listening": "\n".join(document["addrs"]) or "nowhere",
        "Peers": f"{document['peers']} ({document['connections']} connections)",
        "DHTs": ", ".join(document["dhts"]) or "none",
        "Plugins": ", ".join(document["plugins"]),
    }
    session.output.document(document, columns([[f"{name}:", line] for name, text in rows.items() for line in str(text).split("\n")]))


def peers(session: Session) -> None:
    """List the connected peers."""
    document = session.client().get("/v1/peers")
    rows = [_peer_row(peer) for peer in document["peers"]]
    session.output.document(document, columns(rows) if rows else "no peer is connected")


def connect(session: Session, target: str, timeout: str | None) -> None:
    """Connect to a peer."""
    timeout_s = parse_duration(timeout, "--timeout")
    document = session.client().post("/v1/connect", {"target": target, "timeout_s": timeout_s}, timeout_s=timeout_s)
    session.output.document(document, f"connected to {document['peer_id']} at {document['remote']}")


def disconnect(session: Session, target: str) -> None:
    """Close every connection to a peer."""
    document = session.client().post("/v1/disconnect", {"target": target})
    session.output.document(document, f"closed {document['closed']} connection(s) to {document['peer_id']}")


def ping(session: Session, options: PingOptions) -> None:
    """Ping, a line for each answer; with JSON one document at the end. Fails as soon as one answer fails."""
    interval_s = parse_duration(options.interval, "--interval")
    timeout_s = parse_duration(options.timeout, "--timeout")
    request = {"target": options.target, "count": options.count, "interval_s": interval_s, "timeout_s": timeout_s}
    times: list[float] = []
    for document in session.client().stream("/v1/ping", request, silence_s=(interval_s or 0.0) + (timeout_s or 0.0)):
        times.append(document["rtt_ms"])
        if not session.output.json:
            session.output.line(f"seq={document['seq']} time={document['rtt_ms']:.3f} ms")
    if len(times) < options.count:
        raise CommandError("not_running", f"the daemon ended after {len(times)} of {options.count} round trips")
    summary = {
        "target": options.target,
        "sent": len(times),
        "rtts_ms": times,
        "min_ms": min(times),
        "avg_ms": round(sum(times) / len(times), 3),
        "max_ms": max(times),
    }
    session.output.document(summary, f"min/avg/max = {summary['min_ms']:.3f}/{summary['avg_ms']:.3f}/{summary['max_ms']:.3f} ms")


def _peer_row(peer: Mapping[str, Any]) -> list[str]:
    connection = (peer["connections"] or [{"remote": "", "direction": "", "rtt_ms": None}])[0]
    rtt = connection["rtt_ms"]
    return [peer["peer_id"], connection["direction"], connection["remote"], "-" if rtt is None else f"{rtt:.1f} ms", peer["agent"] or "-"]
