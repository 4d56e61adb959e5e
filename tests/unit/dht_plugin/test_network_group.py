from __future__ import annotations

import pytest

from peerstack.addresses import Address
from peerstack.dht_plugin.network_group import network_group


def at(*texts: str) -> tuple[bytes, ...]:
    return tuple(Address.parse(text).to_bytes() for text in texts)


@pytest.mark.parametrize(
    ("addresses", "group"),
    [
        (("/ip4/8.8.4.4/tcp/1",), "8.8.4.0/24"),
        (("/ip6/2a00:1450:4001:81b::200e/tcp/1",), "2a00:1450:4001::/48"),
        (("/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1"), "8.8.8.0/24"),
        (("/ip4/127.0.0.1/tcp/1",), ""),
        (("/ip4/192.168.1.1/tcp/1",), ""),
        (("/memory/1",), ""),
        ((), ""),
    ],
)
def test_the_group_is_the_first_public_network(addresses: tuple[str, ...], group: str) -> None:
    assert network_group(at(*addresses)) == group


def test_bytes_that_are_no_address_have_no_group() -> None:
    assert network_group((b"\xff\xff\xff",)) == ""
