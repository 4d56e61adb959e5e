from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peerstack_kad.dag_cbor import Link, Value, decode

SIMPLE = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.binary(max_size=300),
    st.text(max_size=30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.binary(max_size=40).map(Link),
)
VALUES = st.recursive(SIMPLE, lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=5)))


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    size = next(size for size in (1, 2, 4, 8) if number < 1 << 8 * size)
    return bytes((major << 5 | 23 + size.bit_length(),)) + number.to_bytes(size, "big")


def encode(value: Value) -> bytes:
    """As the specification has it, without any thought of speed."""
    match value:
        case bool() | None:
            return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case Link():
            return b"\xd8\x2a" + encode(b"\x00" + bytes(value))
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(encode(each) for each in value)
        case dict():
            keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
            return head(5, len(value)) + b"".join(encode(key) + encode(value[key]) for key in keys)


@given(VALUES)
def test_every_value_comes_back(value: Value) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=60))
def test_bytes_are_a_value_that_is_encoded_so_and_not_otherwise_or_none(data: bytes) -> None:
    try:
        value = decode(data)
    except ValueError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x18\x17",  # 23 in two bytes
        b"\x19\x00\xff",
        b"\x1a\x00\x00\xff\xff",
        b"\x1b" + bytes(4) + b"\xff" * 4,
        b"\x1c",
        b"\x5f\x41a\xff",  # indefinite length
        b"\xf9\x00\x00",  # a float of 16 bits
        b"\xfb" + struct.pack(">d", math.nan),
        b"\xfb" + struct.pack(">d", math.inf),
        b"\xf7",  # undefined
        b"\xc0\x00",  # another tag
        b"\xd8\x2a\x41\x01",  # a CID has a zero before it
        b"\xa1\x01\x02",  # a key that is no text
        b"\xa2\x61b\x00\x61a\x00",  # not sorted
        b"\xa2\x62aa\x00\x61b\x00",  # shorter ones first
        b"\xa2\x61a\x00\x61a\x01",  # twice
        b"\x61\xff",  # no UTF-8
        b"\x00\x00",
        b"\x42a",
        b"\x9b" + b"\xff" * 8,  # more elements than there can be
        b"\x81" * 40 + b"\x00",
        b"\x81" * 100_000,
    ],
)
def test_what_is_not_strictly_dag_cbor_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)
