"""Caps on routing table contacts that share a network: a cheap address range must not fill a table.

As go-libp2p and py-libp2p do: at most so many contacts of one IPv4 /24 or IPv6 /48 in a bucket, and so many in the whole table.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from peerstack.addresses import Address
from peerstack.dht.replica.contacts import Contact
from peerstack.errors import InvalidAddress
from peerstack_kad.buckets import Admission, RoutingTable

__all__ = ["diverse", "network_group"]

_PER_BUCKET: Final = 2
_PER_TABLE: Final = 3


def network_group(addresses: tuple[bytes, ...]) -> str:
    """The /24 or /48 of the first IP address that is not private; "" where there is none."""
    for data in addresses:
        try:
            address = Address.from_bytes(data)
        except InvalidAddress:
            continue
        if address.host_kind not in ("ip4", "ip6") or address.host is None or address.is_private() or address.is_loopback():
            continue
        ip = ipaddress.ip_address(address.host)
        return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))
    return ""


def diverse(per_bucket: int = _PER_BUCKET, per_table: int = _PER_TABLE) -> Admission:
    """Admit a contact only while its network has room. Private networks are not capped."""

    def admit(newcomer: Contact, table: RoutingTable, index: int) -> bool:
        group = network_group(newcomer.addresses)
        if not group:
            return True
        in_bucket = sum(network_group(entry.contact.addresses) == group for entry in table.bucket(index))
        if in_bucket >= per_bucket:
            return False
        return sum(network_group(entry.contact.addresses) == group for entry in table) < per_table

    return admit
