"""Who may connect and who may be dialled, by peer id and IP subnet."""

from __future__ import annotations

import ipaddress

from peerstack.addresses import Address
from peerstack.config import PeersConfig
from peerstack.errors import ConfigError, InvalidPeerId
from peerstack.identity import PeerId

__all__ = ["Gater", "ip_of"]

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def ip_of(address: Address) -> IP | None:
    """The numeric IP of an address (one mapped into IPv6 as plain IPv4), or None where it has none."""
    if address.host is None or address.host_kind not in ("ip4", "ip6"):
        return None
    ip = ipaddress.ip_address(address.host)
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


class Gater:
    """Denials beat permissions; where a list of permissions is not empty, only what it names is allowed."""

    def __init__(self, config: PeersConfig) -> None:
        """Read the lists.

        Raises:
            ConfigError: An entry is no subnet, or no peer id.
        """
        self._allow_subnets = _subnets("allow_subnets", config.allow_subnets)
        self._deny_subnets = _subnets("deny_subnets", config.deny_subnets)
        self._allow_peers = _peers("allow_peers", config.allow_peers)
        self._deny_peers = _peers("deny_peers", config.deny_peers)

    def allows_peer(self, peer_id: PeerId) -> bool:
        """Whether this peer may be connected."""
        return peer_id not in self._deny_peers and (not self._allow_peers or peer_id in self._allow_peers)

    def allows_address(self, address: Address) -> bool:
        """Whether this place may be connected. One without an IP address passes unless subnets are listed as allowed."""
        ip = ip_of(address)
        if ip is None:
            return not self._allow_subnets
        if any(ip in subnet for subnet in self._deny_subnets):
            return False
        return not self._allow_subnets or any(ip in subnet for subnet in self._allow_subnets)


def _subnets(field: str, texts: tuple[str, ...]) -> tuple[_Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"PeersConfig.{field}: {error}") from error


def _peers(field: str, texts: tuple[str, ...]) -> frozenset[PeerId]:
    try:
        return frozenset(PeerId.parse(text) for text in texts)
    except InvalidPeerId as error:
        raise ConfigError(f"PeersConfig.{field}: {error}") from error
