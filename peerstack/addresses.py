"""Addresses of peers (multiaddrs): parse, normalise, classify, resolve. The only module that imports `multiaddr`.

Source: https://github.com/multiformats/multiaddr
"""

from __future__ import annotations

import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

from peerstack._address_parts import (
    DNS,
    DNS4,
    DNS6,
    IP4,
    IP6,
    MEMORY,
    P2P,
    P2P_CIRCUIT,
    TCP,
    Part,
    UnknownProtocol,
    encode_parts,
    host_part,
    parts_from_bytes,
    parts_from_text,
    read_varint,
    text_of_parts,
    text_of_value,
)
from peerstack.environment import Resolver
from peerstack.errors import DialError, InvalidAddress
from peerstack.identity import PeerId

__all__ = ["MAX_ADDRESS_BYTES", "Address", "AddressCache", "expand_unspecified", "resolve"]

MAX_ADDRESS_BYTES = 1024
"""Longest binary address we accept; real ones stay under 200."""

_MAX_TEXT = 10 * MAX_ADDRESS_BYTES  # no protocol's text is ten times its bytes
_MAX_SHOWN = 100  # characters of a wrong text that its error repeats
_MAX_RESOLVED = 16  # answers taken from one DNS name
_HOSTS = {IP4: "ip4", IP6: "ip6", DNS: "dns", DNS4: "dns4", DNS6: "dns6"}
_DNS_ANSWERS = {"dns": (socket.AF_UNSPEC, ("ip4", "ip6")), "dns4": (socket.AF_INET, ("ip4",)), "dns6": (socket.AF_INET6, ("ip6",))}
_PRIVATE_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa")  # RFC 6761, 6762, 8375, and ICANN's .internal
_SENTINEL = encode_parts([(P2P_CIRCUIT, b"")])  # the library reads past the end of a value: one cut short swallows this

_Key = TypeVar("_Key", str, bytes)


class Address:
    """A multiaddr: where, and by which transport, a peer is reached. Immutable and hashable; equality is by the normalised bytes."""

    __slots__ = ("_data", "_parts", "_text")

    def __init__(self, parts: Iterable[Part]) -> None:
        """Use `parse`, `from_bytes`, `from_tcp` or `from_memory` instead."""
        self._parts = tuple(parts)
        self._data = encode_parts(self._parts)
        self._text = ""
        if not 0 < len(self._data) <= MAX_ADDRESS_BYTES:
            raise InvalidAddress(f"an address has 1 to {MAX_ADDRESS_BYTES} bytes, not {len(self._data)}")

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address' text, such as ``/ip4/127.0.0.1/tcp/4001/p2p/12D3Koo…``. Trailing slashes are passed over.

        Raises:
            InvalidAddress: The text is no multiaddr, or names a protocol that is not known.
        """
        if len(text) > _MAX_TEXT:
            raise InvalidAddress(f"an address of {len(text)} characters is too long")
        stripped = text.rstrip("/")
        if not stripped.startswith("/") or "//" in stripped or not _is_clean(stripped):
            raise InvalidAddress(f"{text[:_MAX_SHOWN]!r} is no address: expected text like /ip4/127.0.0.1/tcp/4001")
        try:
            return cls(parts_from_text(stripped))
        except UnknownProtocol:
            return cls.from_bytes(_bytes_by_library(stripped))
        except (ValueError, OSError) as error:
            raise InvalidAddress(f"{text[:_MAX_SHOWN]!r} is no address: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Address:
        """Read an address' binary form; a ``/p2p`` part that holds a CID is normalised to the multihash.

        Raises:
            InvalidAddress: The bytes are no multiaddr, or name a protocol that is not known.
        """
        if not 0 < len(data) <= MAX_ADDRESS_BYTES:
            raise InvalidAddress(f"an address has 1 to {MAX_ADDRESS_BYTES} bytes, not {len(data)}")
        data = bytes(data)
        try:
            return cls(parts_from_bytes(data))
        except UnknownProtocol:
            return cls(_parts_by_library(data))
        except ValueError as error:
            raise InvalidAddress(f"{len(data)} bytes are no address: {error}") from error

    @classmethod
    def from_tcp(cls, host: str, port: int) -> Address:
        """Make the address of a TCP endpoint, as socket names give it.

        Args:
            host: A numeric IP address. An IPv6 scope (``%eth0``) is left out; an IPv4 address mapped into IPv6 becomes plain again.
            port: 0 to 65535.

        Raises:
            InvalidAddress: The host is no IP address, or the port is out of range.
        """
        try:
            ip = _plain(ipaddress.ip_address(host.partition("%")[0]))
            return cls(((IP4 if ip.version == 4 else IP6, ip.packed), (TCP, port.to_bytes(2, "big"))))
        except (ValueError, OverflowError) as error:
            raise InvalidAddress(f"{host!r} port {port} is no TCP endpoint: {error}") from error

    @classmethod
    def from_memory(cls, number: int) -> Address:
        """Make the address ``/memory/<number>`` (0 to 2**64 - 1) of the in-process transport.

        Raises:
            InvalidAddress: The number is out of range.
        """
        try:
            return cls(((MEMORY, number.to_bytes(8, "big")),))
        except OverflowError as error:
            raise InvalidAddress(f"{number} is no memory address: {error}") from error

    def to_bytes(self) -> bytes:
        """The binary form, as it goes on the wire."""
        return self._data

    @property
    def peer_id(self) -> PeerId | None:
        """The peer named by a ``/p2p`` part at the end; through a relay that is the target."""
        code, value = self._parts[-1]
        return PeerId(value) if code == P2P else None

    def without_peer(self) -> Address:
        """The same address without the ``/p2p`` part at its end.

        Raises:
            InvalidAddress: Nothing would be left: the address names a peer, and no place.
        """
        return Address(self._parts[:-1]) if self._parts[-1][0] == P2P else self

    def with_peer(self, peer_id: PeerId) -> Address:
        """The same address with this peer as the ``/p2p`` part at its end, in place of any other."""
        parts = self._parts[:-1] if self._parts[-1][0] == P2P else self._parts
        return Address((*parts, (P2P, peer_id.to_bytes())))

    def with_host(self, host: str) -> Address:
        """The same address with this numeric IP address in place of its host.

        Raises:
            InvalidAddress: This address has no host, or `host` is no IP address.
        """
        part = host_part(host)
        if part is None or self.host_kind is None:
            raise InvalidAddress(f"{host!r} cannot be the host of {self}: not an IP address, or nothing to put it in place of")
        return Address((part, *self._parts[1:]))

    @property
    def host_kind(self) -> str | None:
        """``ip4``, ``ip6``, ``dns``, ``dns4`` or ``dns6``, or None where the address starts with something else."""
        return _HOSTS.get(self._parts[0][0])

    @property
    def host(self) -> str | None:
        """The numeric IP address or DNS name it starts with, or None."""
        code, value = self._parts[0]
        return text_of_value(code, value) if code in _HOSTS else None

    @property
    def port(self) -> int | None:
        """The TCP port right after the host, or None."""
        if len(self._parts) < 2 or self._parts[1][0] != TCP:
            return None
        return int.from_bytes(self._parts[1][1], "big")

    @property
    def memory(self) -> int | None:
        """The number of a ``/memory`` address, or None."""
        code, value = self._parts[0]
        return int.from_bytes(value, "big") if code == MEMORY else None

    def is_tcp(self) -> bool:
        """Whether it is plain TCP: a host, a port, nothing on top but perhaps the peer."""
        return self._length() == 2 and self._parts[0][0] in _HOSTS and self._parts[1][0] == TCP

    def is_memory(self) -> bool:
        """Whether it is of the in-process transport: ``/memory/<number>``, and perhaps the peer."""
        return self._length() == 1 and self._parts[0][0] == MEMORY

    def is_relayed(self) -> bool:
        """Whether the way leads through a relay (``/p2p-circuit``)."""
        return any(code == P2P_CIRCUIT for code, _ in self._parts)

    def is_unspecified(self) -> bool:
        """Whether its host stands for all interfaces (``0.0.0.0`` or ``::``)."""
        ip = self._ip()
        return ip is not None and ip.is_unspecified

    def is_loopback(self) -> bool:
        """Whether its host is this machine (127.0.0.0/8, ``::1``, ``localhost``)."""
        ip = self._ip()
        return self._has_domain(".localhost") if ip is None else ip.is_loopback

    def is_private(self) -> bool:
        """Whether its host cannot be reached from the public internet.

        True for loopback, unspecified, RFC 1918, shared (RFC 6598), link-local, unique local and other addresses that IANA's registries
        call not globally reachable, and for DNS names that only a local network resolves. False where there is no host.
        """
        ip = self._ip()
        return self._has_domain(*_PRIVATE_DOMAINS) if ip is None else not ip.is_global

    def __bytes__(self) -> bytes:
        return self._data

    def __str__(self) -> str:
        if not self._text:
            try:
                self._text = text_of_parts(self._parts)
            except UnknownProtocol:
                from multiaddr import Multiaddr

                self._text = str(Multiaddr(self._data))
        return self._text

    def __repr__(self) -> str:
        return f"<Address {self}>"

    def __hash__(self) -> int:
        return hash(self._data)

    def __eq__(self, other: object) -> bool:
        return self._data == other._data if isinstance(other, Address) else NotImplemented

    def _length(self) -> int:
        """Protocols apart from the peer at the end."""
        return len(self._parts) - int(self._parts[-1][0] == P2P)

    def _ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        code, value = self._parts[0]
        return _plain(ipaddress.ip_address(value)) if code in (IP4, IP6) else None

    def _has_domain(self, *suffixes: str) -> bool:
        host = self.host
        return host is not None and ("." + host.rstrip(".").lower()).endswith(suffixes)


class AddressCache:
    """Addresses read before: bounded, the least recently used go first. Each host owns one."""

    def __init__(self, capacity: int = 4096) -> None:
        """Make an empty cache.

        Args:
            capacity: Addresses kept, of texts and of binary forms each.
        """
        if capacity < 1:
            raise ValueError(f"a cache needs a capacity of at least 1, not {capacity}")
        self._capacity = capacity
        self._by_text: OrderedDict[str, Address] = OrderedDict()
        self._by_bytes: OrderedDict[bytes, Address] = OrderedDict()

    def parse(self, text: str) -> Address:
        """`Address.parse`, remembered.

        Raises:
            InvalidAddress: As `Address.parse` does; failures are not remembered.
        """
        return self._recall(self._by_text, text, Address.parse)

    def from_bytes(self, data: bytes) -> Address:
        """`Address.from_bytes`, remembered.

        Raises:
            InvalidAddress: As `Address.from_bytes` does; failures are not remembered.
        """
        return self._recall(self._by_bytes, data, Address.from_bytes)

    def __len__(self) -> int:
        return len(self._by_text) + len(self._by_bytes)

    def _recall(self, known: OrderedDict[_Key, Address], key: _Key, read: Callable[[_Key], Address]) -> Address:
        address = known.get(key)
        if address is not None:
            known.move_to_end(key)
            return address
        address = known[key] = read(key)
        if len(known) > self._capacity:
            known.popitem(last=False)
        return address


async def resolve(address: Address, resolver: Resolver) -> list[Address]:
    """Turn an address with a DNS name into addresses with IP addresses.

    Args:
        address: Any address; one whose host is no DNS name is given back as it is.
        resolver: As in `peerstack.environment.Environment`.

    Returns:
        At most 16 addresses, in the resolver's order.

    Raises:
        DialError: The name does not resolve, or to no address of the kind asked for.
    """
    name, kind = address.host, address.host_kind
    if name is None or kind not in _DNS_ANSWERS:
        return [address]
    family, wanted = _DNS_ANSWERS[kind]
    try:
        answers = await resolver(name, family)
    except (OSError, UnicodeError) as error:
        raise DialError(f"the name {name} does not resolve", causes={str(address): error}) from error
    resolved = [found for found in _with_hosts(address, answers) if found.host_kind in wanted]
    if not resolved:
        raise DialError(f"the name {name} has no IP address of the kind that {address} asks for")
    return resolved[:_MAX_RESOLVED]


def expand_unspecified(bound: Address, hosts: Iterable[str]) -> list[Address]:
    """Turn a listener's ``0.0.0.0`` or ``::`` into the addresses at which others reach it.

    Args:
        bound: The address a listener is bound to.
        hosts: Numeric IP addresses of this machine's interfaces; those of the other family are passed over.

    Returns:
        One address per fitting host, or only `bound` where it names an interface already.
    """
    if not bound.is_unspecified():
        return [bound]
    return [found for found in _with_hosts(bound, hosts) if found.host_kind == bound.host_kind]


def _with_hosts(address: Address, hosts: Iterable[str]) -> list[Address]:
    """The address once for each numeric host; link-local ones, which need a scope that no multiaddr of ours has, are left out."""
    return [address.with_host(host) for host in dict.fromkeys(hosts) if host_part(host) is not None]


def _plain(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 address mapped into IPv6 is the IPv4 address."""
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _parts_by_library(data: bytes) -> list[Part]:
    """Split an address that has protocols only the library knows; the parts that we know are normalised all the same."""
    from multiaddr import Multiaddr

    try:
        *split, _ = Multiaddr(data + _SENTINEL).split()
        # The text checks every value. One by one, because the library's splitting and its decoding disagree on some (ip6zone): refused.
        text = "".join(map(str, split))
    except Exception as error:  # whatever the library's many codecs raise on foreign bytes
        raise InvalidAddress(f"{len(data)} bytes are no address: {error}") from error
    components = [component.to_bytes() for component in split]
    if b"".join(components) != data or not _is_clean(text):
        raise InvalidAddress(f"{len(data)} bytes are no address: cut short, not in shortest form, or with control characters")
    parts: list[Part] = []
    for component in components:
        try:
            parts += parts_from_bytes(component)
        except UnknownProtocol:
            parts.append((read_varint(component, 0)[0], component))
        except ValueError as error:
            raise InvalidAddress(f"{text[:_MAX_SHOWN]!r} is no address: {error}") from error
    return parts


def _bytes_by_library(text: str) -> bytes:
    from multiaddr import Multiaddr

    try:
        return Multiaddr(text).to_bytes()
    except Exception as error:  # as above
        raise InvalidAddress(f"{text[:_MAX_SHOWN]!r} is no address: {error}") from error


def _is_clean(text: str) -> bool:
    return text.isprintable() and " " not in text
