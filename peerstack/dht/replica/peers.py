"""Peers in messages and on disk: libp2p's Peer, which both DHTs use. Each one's encoding is kept with its contact and copied. Pure.

Source: https://github.com/libp2p/specs/tree/master/kad-dht#rpc-messages
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from peerstack.dht.replica.contacts import Contact
from peerstack.errors import InvalidPeerId
from peerstack.identity import PeerId
from peerstack.wire import varint

__all__ = ["ContactReader", "encode_peer", "encode_peers"]

_MAX_ADDRESSES: Final = 16
_MAX_ADDRESS_BYTES: Final = 1024
_MAX_CONTACTS_KEPT: Final = 4096


def encode_peers(tag: bytes, contacts: Iterable[Contact]) -> bytes:
    """Entries of one repeated field, ready to be appended to an encoded message."""
    return b"".join([tag + (contact.encoded or _encode_contact(contact)) for contact in contacts])


def encode_peer(contact: Contact, max_bytes: int) -> bytes:
    """One peer, with as many of its first addresses as there is room for.

    Args:
        contact: The peer.
        max_bytes: At least what its id takes.
    """
    addresses = contact.addresses[:_MAX_ADDRESSES]
    while len(body := _body(contact, addresses)) > max_bytes and addresses:
        addresses = addresses[:-1]
    return body


def _encode_contact(contact: Contact) -> bytes:
    body = _body(contact, contact.addresses[:_MAX_ADDRESSES])
    contact.encoded = varint.encode(len(body)) + body
    return contact.encoded


def _body(contact: Contact, addresses: tuple[bytes, ...]) -> bytes:
    from peerstack.dht.pb.peers_pb2 import Peer

    return Peer(id=contact.peer_id.to_bytes(), addrs=addresses, connection=Peer.CAN_CONNECT).SerializeToString()


class ContactReader:
    """Reads peers; the same bytes are the same object, so that nothing is parsed, hashed or encoded twice. Bounded."""

    def __init__(self) -> None:
        self._known: dict[bytes, Contact] = {}  # by the encoded peer, in order of reading

    def read_all(self, peers: Iterable[bytes], limit: int) -> tuple[Contact, ...]:
        """The first `limit` entries that are peers."""
        known = self._known
        found: list[Contact] = []
        for data in peers:
            if len(found) == limit:
                break
            contact = known.get(data) or self._read(data)
            if contact is not None:
                found.append(contact)
        return tuple(found)

    def read(self, data: bytes) -> Contact | None:
        """One peer; None if these bytes are none."""
        return self._known.get(data) or self._read(data)

    def _read(self, data: bytes) -> Contact | None:
        from google.protobuf.message import DecodeError

        from peerstack.dht.pb.peers_pb2 import Peer

        try:
            peer = Peer.FromString(data)
            peer_id = PeerId(peer.id)
        except (DecodeError, InvalidPeerId):
            return None
        addresses = tuple(address for address in peer.addrs[:_MAX_ADDRESSES] if len(address) <= _MAX_ADDRESS_BYTES)
        contact = self._known[data] = Contact.of(peer_id, addresses)
        if len(self._known) > _MAX_CONTACTS_KEPT:
            del self._known[next(iter(self._known))]
        return contact
