"""A reader for DAG-CBOR, as strict as its specification, for what IPNS records carry: a map of text to values.

Every value has exactly one encoding: shortest lengths and numbers, definite lengths, map keys that are text, unique, and sorted by length
and then bytes; no tag but 42 (a link), no float but of 64 bits, nothing after the end.

Source: https://ipld.io/specs/codecs/dag-cbor/spec/, RFC 8949
"""

from __future__ import annotations

import math
import struct
from typing import Final

__all__ = ["Link", "Value", "decode"]

_MAX_DEPTH: Final = 32
_LINK_TAG: Final = 42


class Link(bytes):
    """The bytes of a CID."""


Value = int | bytes | str | float | bool | None | Link | list["Value"] | dict[str, "Value"]


def decode(data: bytes) -> Value:
    """Read one value.

    Raises:
        ValueError: The bytes are not DAG-CBOR.
    """
    reader = _Reader(data)
    value = reader.value(0)
    if reader.position != len(data):
        raise ValueError("bytes after the end")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.position = 0
        self._data = data

    def value(self, depth: int) -> Value:
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}")
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            return self._simple(info)
        number = self._number(info)
        match major:
            case 0:
                return number
            case 1:
                return -1 - number
            case 2:
                return self._take(number)
            case 3:
                return self._take(number).decode("utf-8")
            case 4:
                return [self.value(depth + 1) for _ in range(self._count(number))]
            case 5:
                return self._map(self._count(number), depth)
            case _:
                return self._link(number, depth)

    def _map(self, count: int, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        last: tuple[int, bytes] | None = None
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, str):
                raise ValueError("a map key is text")
            order = (len(key.encode()), key.encode())
            if last is not None and order <= last:
                raise ValueError("map keys are sorted, and each is there once")
            last = order
            found[key] = self.value(depth + 1)
        return found

    def _link(self, tag: int, depth: int) -> Link:
        inner = self.value(depth + 1) if tag == _LINK_TAG else None
        if not isinstance(inner, bytes) or not inner.startswith(b"\x00"):
            raise ValueError("the only tag is 42, around the bytes of a CID")
        return Link(inner[1:])

    def _simple(self, info: int) -> Value:
        match info:
            case 20:
                return False
            case 21:
                return True
            case 22:
                return None
            case 27:
                number = float(struct.unpack(">d", self._take(8))[0])
                if math.isfinite(number):
                    return number
        raise ValueError("only false, true, null and finite floats of 64 bits are simple values")

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise ValueError("lengths are definite")
        size = 1 << (info - 24)
        number = int.from_bytes(self._take(size), "big")
        if number < (24 if size == 1 else 1 << (4 * size)):
            raise ValueError("numbers are as short as can be")
        return number

    def _count(self, number: int) -> int:
        if number > len(self._data) - self.position:
            raise ValueError("more elements than bytes")
        return number

    def _take(self, size: int) -> bytes:
        taken = self._data[self.position : self.position + size]
        if len(taken) < size:
            raise ValueError("cut off")
        self.position += size
        return taken
