"""yamux frames: a 12-byte header, and behind a data frame's header its payload.

::

    version u8 | type u8 | flags u16 | stream id u32 | length u32        (big-endian)

`length` is the payload's size for data, credit for a window update (an error code when it carries RST), the value of a ping, the code of a
go-away. Only data payload consumes window.

Source: https://github.com/hashicorp/yamux/blob/master/spec.md and https://github.com/libp2p/specs/tree/master/yamux.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "ACK",
    "DATA",
    "FIN",
    "GO_AWAY",
    "GO_AWAY_INTERNAL_ERROR",
    "GO_AWAY_NORMAL",
    "GO_AWAY_PROTOCOL_ERROR",
    "HEADER",
    "HEADER_BYTES",
    "INITIAL_WINDOW_BYTES",
    "MAX_U32",
    "PING",
    "PROTOCOL_ID",
    "RST",
    "STREAM_GARBAGE_COLLECTED",
    "STREAM_RESOURCE_LIMIT_EXCEEDED",
    "SYN",
    "VERSION",
    "WINDOW_UPDATE",
    "encode_header",
]

PROTOCOL_ID: Final = "/yamux/1.0.0"
HEADER: Final = Struct(">BBHII")
HEADER_BYTES: Final = HEADER.size
VERSION: Final = 0
MAX_U32: Final = 0xFFFF_FFFF
INITIAL_WINDOW_BYTES: Final = 256 << 10
"""Each way, for every new stream; fixed by the protocol."""

# Types.
DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

# Flags, honoured on data and window updates alike, in this order around the payload: SYN and ACK before it, FIN and RST after it.
SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8

# Go-away codes.
GO_AWAY_NORMAL: Final = 0
GO_AWAY_PROTOCOL_ERROR: Final = 1
GO_AWAY_INTERNAL_ERROR: Final = 2

# Stream error codes, from https://github.com/libp2p/specs/tree/master/error-codes.
STREAM_RESOURCE_LIMIT_EXCEEDED: Final = 0x1002
STREAM_GARBAGE_COLLECTED: Final = 0x1006

_pack = HEADER.pack


def encode_header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """The 12 bytes of a frame's header."""
    return _pack(VERSION, kind, flags, stream_id, length)
