from __future__ import annotations

from peerstack_kad.keys import closest, common_prefix, spread

from peerstack.dht.replica.contacts import position_of


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
