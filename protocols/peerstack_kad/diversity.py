"""Caps on routing table contacts that share a network: a cheap address range must not fill a table.

As go-libp2p and py-libp2p do: at most so many contacts of one IPv4 /24 or IPv6 /48 in a bucket, and so many in the whole table.
"""

from __future__ import annotations

from typing import Final

from peerstack.dht.replica.contacts import Contact
from peerstack.dht_plugin.network_group import network_group
from peerstack_kad.buckets import Admission, RoutingTable

__all__ = ["diverse"]

_PER_BUCKET: Final = 2
_PER_TABLE: Final = 3


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
