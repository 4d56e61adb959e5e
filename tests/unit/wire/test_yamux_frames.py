"""Byte vectors, worked out by hand from the yamux specification."""

from __future__ import annotations

import pytest

from peerstack.wire import yamux_frames as wire


@pytest.mark.parametrize(
    ("kind", "flags", "stream_id", "length", "expected"),
    [
        pytest.param(wire.WINDOW_UPDATE, wire.SYN, 1, 0, "000100010000000100000000", id="open 1"),
        pytest.param(wire.WINDOW_UPDATE, wire.ACK, 1, 0, "000100020000000100000000", id="accept 1"),
        pytest.param(wire.DATA, wire.SYN, 1, 20, "000000010000000100000014", id="open 1 with 20 bytes"),
        pytest.param(wire.WINDOW_UPDATE, wire.FIN, 1, 0, "000100040000000100000000", id="FIN as window update"),
        pytest.param(wire.DATA, wire.FIN, 1, 0, "000000040000000100000000", id="FIN as data"),
        pytest.param(wire.WINDOW_UPDATE, wire.RST, 1, 0, "000100080000000100000000", id="RST as window update"),
        pytest.param(wire.DATA, wire.RST, 1, 0, "000000080000000100000000", id="RST as data"),
        pytest.param(wire.PING, wire.SYN, 0, 7, "000200010000000000000007", id="ping 7"),
        pytest.param(wire.PING, wire.ACK, 0, 7, "000200020000000000000007", id="pong 7"),
        pytest.param(wire.GO_AWAY, 0, 0, 0, "000300000000000000000000", id="go away"),
        pytest.param(wire.WINDOW_UPDATE, 0, 1, 65536, "000100000000000100010000", id="65536 bytes of credit"),
    ],
)
def test_header_has_the_bytes_of_the_specification(kind: int, flags: int, stream_id: int, length: int, expected: str) -> None:
    encoded = wire.encode_header(kind, flags, stream_id, length)
    assert encoded.hex() == expected
    assert wire.HEADER.unpack(encoded) == (wire.VERSION, kind, flags, stream_id, length)


def test_protocol_constants_are_those_of_the_specification() -> None:
    assert wire.PROTOCOL_ID == "/yamux/1.0.0"
    assert wire.HEADER_BYTES == 12
    assert wire.INITIAL_WINDOW_BYTES == 262144
