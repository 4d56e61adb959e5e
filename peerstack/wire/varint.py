"""Unsigned varints: seven bits per byte, least significant group first, the high bit says that more follow.

Source: https://github.com/multiformats/unsigned-varint. That text bounds them to nine bytes and wants the shortest encoding only.
"""

from __future__ import annotations

from peerstack.errors import InvalidMessage
from peerstack.wire.machine import Buffer

__all__ = ["MAX_BYTES", "decode", "encode"]

MAX_BYTES = 9
"""The longest varint allowed: 63 bits."""


def encode(value: int) -> bytes:
    """Write `value` in the shortest form.

    Raises:
        ValueError: `value` is negative or needs more than 63 bits.
    """
    if 0 <= value < 0x80:
        return value.to_bytes(1, "little")
    if value < 0 or value >> (7 * MAX_BYTES):
        raise ValueError(f"{value} does not fit an unsigned varint of {MAX_BYTES} bytes")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode(data: Buffer | bytearray, offset: int = 0, *, max_bytes: int = MAX_BYTES) -> tuple[int, int] | None:
    """Read one varint that starts at `offset`.

    Args:
        data: Bytes received so far; what stands behind the varint is not looked at.
        offset: Where the varint starts.
        max_bytes: The longest encoding accepted, at most `MAX_BYTES`.

    Returns:
        The value and the offset of the byte after it, or None while the varint is not complete.

    Raises:
        InvalidMessage: It is longer than `max_bytes`, or not in its shortest form.
    """
    value = 0
    available = len(data) - offset
    for index in range(min(available, max_bytes)):
        byte = data[offset + index]
        if byte < 0x80:
            if byte == 0 and index:
                raise InvalidMessage("a varint is not in its shortest form")
            return value | byte << (7 * index), offset + index + 1
        value |= (byte & 0x7F) << (7 * index)
    if available >= max_bytes:
        raise InvalidMessage(f"a varint is longer than {max_bytes} bytes")
    return None
