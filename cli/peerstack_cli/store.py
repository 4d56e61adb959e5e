"""put, get and delete: through the daemon, or by a host of their own."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peerstack_cli.failures import CommandError
from peerstack_cli.session import Session
from peerstack_cli.values import parse_ack, parse_duration, read_value, text_argument

__all__ = ["Slot", "call", "delete", "get", "put", "write_value"]


@dataclass(frozen=True, slots=True)
class Slot:
    """What is meant, and how it is reached, as typed."""

    key: str
    namespace: str | None
    subkey: str | None
    dht: str | None
    timeout: str | None
    bootstrap: Sequence[str]

    def request(self) -> dict[str, Any]:
        """The fields that every request has."""
        return {
            "dht": self.dht,
            "namespace": self.namespace,
            **text_argument("key", self.key),
            **(text_argument("subkey", self.subkey) if self.subkey is not None else {}),
            "timeout_s": parse_duration(self.timeout, "--timeout"),
        }


def put(session: Session, slot: Slot, value: str, *, ttl: str | None, ack: str | None) -> None:
    """Write a value."""
    request = {"ttl_s": parse_duration(ttl, "--ttl"), "ack": parse_ack(ack), **slot.request()}
    request["value_base64"] = base64.b64encode(read_value(value)).decode("ascii")
    document = call(session, "put", slot, request)
    session.output.document(document, _stored(document))


def get(session: Session, slot: Slot, *, quorum: int | None) -> None:
    """Read a value: its bytes as they are."""
    document = call(session, "get", slot, {"quorum": quorum, **slot.request()})
    if session.output.json:
        session.output.document(document, "")
        return
    write_value(session, document)
    if not document["confirmed"]:
        session.output.say("note: not confirmed, it may be stale: too few of the responsible nodes answered")


def delete(session: Session, slot: Slot) -> None:
    """Delete a value."""
    document = call(session, "delete", slot, slot.request())
    session.output.document(document, _stored(document))


def write_value(session: Session, document: Mapping[str, Any]) -> None:
    """Write a document's value to stdout, byte for byte."""
    text = document.get("value")
    session.output.raw(base64.b64decode(document["value_base64"]) if text is None else text.encode())


def _stored(document: Mapping[str, Any]) -> str:
    done = "deleted" if document["expires_at"] is None else f"stored until {document['expires_at']}"
    return f"{done}, acknowledged by {len(document['acknowledged'])} of {len(document['targets'])} nodes ({document['dht']})"


def call(session: Session, operation: str, slot: Slot, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Have an operation done by the daemon, or, with bootstrap peers, by a host of our own."""
    if not slot.bootstrap:
        return session.client().post(f"/v1/{operation}", request, timeout_s=request.get("timeout_s"))
    if session.explicit_home:
        raise CommandError("usage", "--home and --bootstrap exclude each other", "--bootstrap works without a daemon, as a peer of its own")
    session.configure_logging()
    from peerstack_cli.oneshot import run_once

    return run_once(operation, slot.bootstrap, request)
