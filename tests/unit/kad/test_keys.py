from __future__ import annotations

import hashlib

from peerstack_kad.keys import Contact, closest, common_prefix, key_bytes, key_of, position_of, spread

from peerstack.identity import PeerId

PEER = PeerId.parse("12D3KooWBmwkafWE2fqfzS96VoTZgpGp6aJsF4N6V6eAR5AHXCXZ")


def test_a_peer_lies_at_the_sha256_of_its_id_and_a_key_at_its_own() -> None:
    assert key_bytes(key_of(PEER)) == hashlib.sha256(PEER.to_bytes()).digest()
    assert key_bytes(position_of(b"/kv/key")) == hashlib.sha256(b"/kv/key").digest()
    assert Contact.of(PEER).key == key_of(PEER)


def test_the_common_prefix_counts_leading_bits() -> None:
    top = 1 << 255
    assert common_prefix(0, 0) == 256
    assert common_prefix(0, 1) == 255
    assert common_prefix(0, top) == 0
    assert common_prefix(top | 1, top) == 255


def test_the_closest_come_first_by_xor() -> None:
    assert closest([0b1000, 0b0001, 0b0111], 0b0110, 2) == [0b0111, 0b0001]


def test_a_spread_position_shares_exactly_the_prefix() -> None:
    own = position_of(b"own")
    for prefix in (0, 1, 7, 100, 254, 255):
        for noise in (0, (1 << 256) - 1, position_of(b"noise")):
            assert common_prefix(own, spread(own, prefix, noise)) == prefix
