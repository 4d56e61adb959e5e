"""Which network a peer sends from: who holds a cheap address range is one party, however many keys it makes."""

from __future__ import annotations

import ipaddress

from peerstack.addresses import Address
from peerstack.errors import InvalidAddress

__all__ = ["network_group"]


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
