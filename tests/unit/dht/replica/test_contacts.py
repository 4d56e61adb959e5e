from __future__ import annotations

import hashlib

from peerstack.dht.replica.contacts import Contact, key_bytes, key_of, note, position_of
from peerstack.identity import PeerId

PEER = PeerId.parse("12D3KooWBmwkafWE2fqfzS96VoTZgpGp6aJsF4N6V6eAR5AHXCXZ")


def test_a_peer_lies_at_the_sha256_of_its_id_and_a_key_at_its_own() -> None:
    assert key_bytes(key_of(PEER)) == hashlib.sha256(PEER.to_bytes()).digest()
    assert key_bytes(position_of(b"/kv/key")) == hashlib.sha256(b"/kv/key").digest()
    assert Contact.of(PEER).key == key_of(PEER)


def test_of_a_peer_that_several_name_it_is_kept_how_it_is_reached() -> None:
    contacts: dict[PeerId, Contact] = {}
    for addresses in ((), (b"first",), (), (b"second",)):
        note(contacts, Contact.of(PEER, addresses))
    assert contacts[PEER].addresses == (b"first",)
