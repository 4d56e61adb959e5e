from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstack.errors import InvalidMessage
from peerstack.wire import varint

SPEC_EXAMPLES = [(1, "01"), (127, "7f"), (128, "8001"), (255, "ff01"), (300, "ac02"), (16384, "808001")]


@pytest.mark.parametrize(("value", "encoded"), SPEC_EXAMPLES)
def test_examples_of_the_specification(value: int, encoded: str) -> None:
    assert varint.encode(value).hex() == encoded
    assert varint.decode(bytes.fromhex(encoded)) == (value, len(encoded) // 2)


@given(st.integers(0, 2**63 - 1), st.binary(max_size=4), st.binary(max_size=4))
def test_what_was_encoded_is_read_back_from_between_other_bytes(value: int, before: bytes, after: bytes) -> None:
    encoded = varint.encode(value)
    data = before + encoded + after
    for buffer in (data, bytearray(data), memoryview(data)):
        assert varint.decode(buffer, len(before)) == (value, len(before) + len(encoded))


@given(st.integers(0, 2**63 - 1))
def test_every_prefix_is_incomplete(value: int) -> None:
    encoded = varint.encode(value)
    assert all(varint.decode(encoded[:size]) is None for size in range(len(encoded)))


@pytest.mark.parametrize("value", [-1, 2**63])
def test_a_value_out_of_range_is_refused_when_encoding(value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        varint.encode(value)


@pytest.mark.parametrize("data", [b"\x80\x00", b"\x81\x80\x00", b"\xff\x00"])
def test_a_longer_form_than_needed_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage, match="shortest"):
        varint.decode(data)


@pytest.mark.parametrize("max_bytes", [1, 2, 9])
def test_too_long_is_known_without_waiting_for_the_end(max_bytes: int) -> None:
    assert varint.decode(b"\x80" * (max_bytes - 1), max_bytes=max_bytes) is None
    with pytest.raises(InvalidMessage, match="longer"):
        varint.decode(b"\x80" * max_bytes, max_bytes=max_bytes)


@given(st.binary(max_size=12))
def test_arbitrary_bytes_give_a_value_or_the_documented_error(data: bytes) -> None:
    try:
        found = varint.decode(data)
    except InvalidMessage:
        return
    if found is None:
        assert len(data) < varint.MAX_BYTES
        assert all(byte >= 0x80 for byte in data)
    else:
        assert varint.encode(found[0]) == data[: found[1]]
