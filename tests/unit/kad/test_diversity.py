from __future__ import annotations

from peerstack_kad.buckets import RoutingTable
from peerstack_kad.diversity import diverse

from peerstack.addresses import Address
from peerstack.dht.replica.contacts import Contact
from peerstack.identity import PeerId


def at(*texts: str) -> tuple[bytes, ...]:
    return tuple(Address.parse(text).to_bytes() for text in texts)


def contact(number: int, key: int, address: str) -> Contact:
    return Contact(PeerId(b"\x00\x01" + bytes([number])), key, at(address))


def test_one_network_cannot_fill_a_bucket_nor_the_table() -> None:
    table = RoutingTable(0, admission=diverse(per_bucket=2, per_table=3))
    for number in range(10):
        table.heard(contact(number, 1 << 255 | number, f"/ip4/8.8.8.{number}/tcp/1"), 0.0)
    assert len(table) == 2
    for number in range(10, 20):
        table.heard(contact(number, 1 << (230 + number), f"/ip4/8.8.8.{number}/tcp/1"), 0.0)
    assert len(table) == 3
    table.heard(contact(99, 1 << 255 | 99, "/ip4/9.9.9.9/tcp/1"), 0.0)
    assert len(table) == 4
