"""The key space that both DHTs share: 256 bits, SHA-256 of peer ids and wire keys; and the servers in it.

Positions are integers: comparing and measuring are then one machine operation each.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from peerstack.identity import PeerId

__all__ = ["KEY_BITS", "Contact", "key_bytes", "key_of", "note", "position_of"]

KEY_BITS: Final = 256


def position_of(wire_key: bytes) -> int:
    """Where a wire key lies: SHA-256 of its bytes."""
    return int.from_bytes(hashlib.sha256(wire_key).digest(), "big")


def key_of(peer_id: PeerId) -> int:
    """Where a peer lies: SHA-256 of its id's bytes."""
    return position_of(peer_id.to_bytes())


def key_bytes(key: int) -> bytes:
    """A position as 32 bytes."""
    return key.to_bytes(KEY_BITS // 8, "big")


@dataclass(slots=True, eq=False)
class Contact:
    """A server of the DHT as others are told of it: who, where in the key space, and how to reach it. Never changed once made."""

    peer_id: PeerId
    key: int
    addresses: tuple[bytes, ...] = ()
    """Binary multiaddrs, parsed only when they are dialled."""
    encoded: bytes | None = field(default=None, repr=False)
    """Its message, kept by the codec."""

    @classmethod
    def of(cls, peer_id: PeerId, addresses: tuple[bytes, ...] = ()) -> Contact:
        """Make the contact of a peer."""
        return cls(peer_id, key_of(peer_id), addresses)


def note(contacts: dict[PeerId, Contact], contact: Contact) -> None:
    """Keep how a peer is reached, by the first who knows that: others may name it without an address."""
    known = contacts.get(contact.peer_id)
    if known is None or (contact.addresses and not known.addresses):
        contacts[contact.peer_id] = contact
