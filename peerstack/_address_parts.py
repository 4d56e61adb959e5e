"""The multiaddr protocols PeerStack reads by itself: IP, DNS, TCP, memory, peer ids and relays.

They are what hosts dial and pass on all the time, so they are read in a few microseconds, and strictly. `peerstack.addresses` gives an
address with any other protocol to the `multiaddr` library.

Source: https://github.com/multiformats/multiaddr and its ``protocols.csv``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from peerstack.identity import PeerId

__all__ = [
    "DNS",
    "DNS4",
    "DNS6",
    "IP4",
    "IP6",
    "MEMORY",
    "P2P",
    "P2P_CIRCUIT",
    "TCP",
    "Part",
    "UnknownProtocol",
    "encode_parts",
    "host_part",
    "parts_from_bytes",
    "parts_from_text",
    "read_varint",
    "text_of_parts",
    "text_of_value",
]

IP4, TCP, IP6, DNS, DNS4, DNS6, P2P_CIRCUIT, P2P, MEMORY = 0x04, 0x06, 0x29, 0x35, 0x36, 0x37, 0x0122, 0x01A5, 0x0309

Part = tuple[int, bytes]
"""One protocol of an address: its code and value. Of a protocol not listed here: the whole component, code and all."""

_VARIABLE = -1  # size of a value that carries its length
_MAX_VARINT = 3  # bytes; every code and length we could use fits
_CID_PREFIX = b"\x01\x72"  # CIDv1, multicodec libp2p-key: some stacks put the whole CID on the wire
_MAX_DNS_NAME = 253  # characters, RFC 1035 section 2.3.4 without the root's dot
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


class UnknownProtocol(Exception):
    """An address has a protocol that is not listed here."""


@dataclass(frozen=True, slots=True)
class _Protocol:
    name: str
    code: int
    size: int
    """Bytes of a value; 0 where there is none."""
    to_value: Callable[[str], bytes]
    to_text: Callable[[bytes], str]
    normalise: Callable[[bytes], bytes] | None = None
    """Checks a value that came in binary and gives its normal form; None where every value of the right size is one."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned varint.

    Returns:
        Its value and the index after it.

    Raises:
        ValueError: It is cut short, too long or not in its shortest form.
    """
    number = 0
    for index, byte in enumerate(data[at : at + _MAX_VARINT]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                break
            return number, at + index + 1
    raise ValueError(f"no varint at byte {at}")


def _number(text: str, size: int) -> bytes:
    if not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) < 1 << (8 * size)):
        raise ValueError(f"{text!r} is no number of {8 * size} bits")
    return int(text).to_bytes(size, "big")


def _dns_name(text: str) -> bytes:
    if len(text) > _MAX_DNS_NAME or not _DNS_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no DNS name (an international one is written in its xn-- form)")
    return text.encode("ascii")


def _peer(value: bytes) -> bytes:
    return PeerId(value[2:] if value[:2] == _CID_PREFIX else value).to_bytes()


def _ip_protocol(name: str, code: int, family: socket.AddressFamily, size: int) -> _Protocol:
    return _Protocol(name, code, size, lambda text: socket.inet_pton(family, text), lambda value: socket.inet_ntop(family, value))


def _number_protocol(name: str, code: int, size: int) -> _Protocol:
    return _Protocol(name, code, size, lambda text: _number(text, size), lambda value: str(int.from_bytes(value, "big")))


def _dns_protocol(name: str, code: int) -> _Protocol:
    return _Protocol(name, code, _VARIABLE, _dns_name, lambda value: value.decode("ascii"), lambda value: _dns_name(value.decode("ascii")))


_PROTOCOLS = (
    _ip_protocol("ip4", IP4, socket.AF_INET, 4),
    _ip_protocol("ip6", IP6, socket.AF_INET6, 16),
    _number_protocol("tcp", TCP, 2),
    _number_protocol("memory", MEMORY, 8),
    _dns_protocol("dns", DNS),
    _dns_protocol("dns4", DNS4),
    _dns_protocol("dns6", DNS6),
    _Protocol("p2p", P2P, _VARIABLE, lambda text: PeerId.parse(text).to_bytes(), lambda value: str(PeerId(value)), _peer),
    _Protocol("p2p-circuit", P2P_CIRCUIT, 0, lambda _: b"", lambda _: ""),
)
_BY_CODE = {protocol.code: protocol for protocol in _PROTOCOLS}
_BY_NAME = {protocol.name: protocol for protocol in _PROTOCOLS}
_BY_NAME["ipfs"] = _BY_CODE[P2P]  # its old name, still met in configurations
_PREFIXES = {protocol.code: _varint(protocol.code) for protocol in _PROTOCOLS}


def parts_from_text(text: str) -> list[Part]:
    """Split an address' text, which starts with a slash and does not end with one.

    Raises:
        UnknownProtocol: It has a protocol that is not listed here.
        ValueError: A value is missing or wrong.
        OSError: An IP address is wrong.
    """
    parts: list[Part] = []
    tokens = iter(text[1:].split("/"))
    for name in tokens:
        protocol = _BY_NAME.get(name)
        if protocol is None:
            raise UnknownProtocol(name)
        value = next(tokens, None) if protocol.size else ""
        if value is None:
            raise ValueError(f"/{name} needs a value")
        parts.append((protocol.code, protocol.to_value(value)))
    return parts


def parts_from_bytes(data: bytes) -> list[Part]:
    """Split an address' binary form; peer ids and DNS names are checked, and a CID becomes the peer id it holds.

    Raises:
        UnknownProtocol: It has a protocol that is not listed here.
        ValueError: It is cut short, or a value is wrong.
    """
    parts: list[Part] = []
    at, end = 0, len(data)
    while at < end:
        code, at = read_varint(data, at)
        protocol = _BY_CODE.get(code)
        if protocol is None:
            raise UnknownProtocol(code)
        size = protocol.size
        if size == _VARIABLE:
            size, at = read_varint(data, at)
        value = data[at : at + size]
        if len(value) != size:
            raise ValueError(f"it ends inside its {protocol.name} part")
        parts.append((code, value if protocol.normalise is None else protocol.normalise(value)))
        at += size
    return parts


def encode_parts(parts: Iterable[Part]) -> bytes:
    """The binary form of parts."""
    pieces: list[bytes] = []
    for code, value in parts:
        protocol = _BY_CODE.get(code)
        if protocol is not None:
            pieces.append(_PREFIXES[code])
            if protocol.size == _VARIABLE:
                pieces.append(_varint(len(value)))
        pieces.append(value)
    return b"".join(pieces)


def text_of_parts(parts: Iterable[Part]) -> str:
    """The text of parts.

    Raises:
        UnknownProtocol: One is of a protocol that is not listed here.
    """
    pieces: list[str] = []
    for code, value in parts:
        protocol = _BY_CODE.get(code)
        if protocol is None:
            raise UnknownProtocol(code)
        pieces.append(f"/{protocol.name}/{protocol.to_text(value)}" if protocol.size else f"/{protocol.name}")
    return "".join(pieces)


def text_of_value(code: int, value: bytes) -> str:
    """The text of one value of a protocol listed here, without the protocol's name."""
    return _BY_CODE[code].to_text(value)


def host_part(host: str) -> Part | None:
    """The part for a numeric IP address, or None for any other text."""
    for code, family in ((IP4, socket.AF_INET), (IP6, socket.AF_INET6)):
        try:
            return code, socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
    return None
