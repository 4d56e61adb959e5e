"""``/peerstack/interop/1.0.0``, the test protocol that every peer program speaks; see peers/README.md."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from typing import Final

from peerstack_kad.pb.kad_pb2 import Message

from peerstack import ProtocolLimits, ProtocolPlugin, Stream
from peerstack.dht.pb.peers_pb2 import Peer
from peerstack.errors import LimitExceeded, ProtocolViolation

__all__ = ["BENCH_ECHO", "BENCH_RPC", "INTEROP", "BenchEcho", "BenchRpc", "Interop", "exchange", "pattern", "rpc_request"]

INTEROP: Final = "/peerstack/interop/1.0.0"
BENCH_ECHO: Final = "/peerstack/bench-echo/1.0.0"
BENCH_RPC: Final = "/peerstack/bench-rpc/1.0.0"
MAX_BYTES: Final = 64 << 20
_HEADER: Final = struct.Struct(">QQ")
_WRITE_BYTES: Final = 64 << 10
_ECHO_BYTES: Final = 64
_UNLIMITED: Final = ProtocolLimits(max_streams=1 << 20, max_streams_per_peer=1 << 20)


def pattern(size: int) -> bytes:
    """The first `size` bytes of SHA-256(0) SHA-256(1) SHA-256(2) ..., the numbers as 64 bits, big-endian."""
    sha256 = hashlib.sha256
    blocks = -(-size // 32)
    return b"".join(sha256(i.to_bytes(8, "big")).digest() for i in range(blocks))[:size]


async def exchange(stream: Stream, upload: int, download: int) -> None:
    """Be the client: upload, half-close, and check what comes back, its hash, its content and its end.

    Raises:
        ProtocolViolation: The server got or sent something else.
    """
    sent = await asyncio.to_thread(pattern, max(upload, download))
    await stream.write(_HEADER.pack(upload, download))
    await _write_all(stream, sent[:upload])
    stream.write_eof()
    if await stream.readexactly(32) != hashlib.sha256(sent[:upload]).digest():
        raise ProtocolViolation("the server got other bytes than we sent")
    if await stream.readexactly(download) != sent[:download]:
        raise ProtocolViolation("the server sent other bytes than the pattern")
    if await stream.read(1):
        raise ProtocolViolation("the server sent more than was asked for")


class Interop(ProtocolPlugin):
    """The server's side of the test protocol."""

    ids = (INTEROP,)

    async def handle(self, stream: Stream) -> None:
        """Take the upload, check it, answer with its hash, and send what was asked for."""
        upload, download = _HEADER.unpack(await stream.readexactly(_HEADER.size))
        if max(upload, download) > MAX_BYTES:
            raise LimitExceeded("interop", f"a client asked for {max(upload, download)} bytes")
        digest = hashlib.sha256()
        received = 0
        async for chunk in stream:
            received += len(chunk)
            digest.update(chunk)
        expected = await asyncio.to_thread(pattern, max(upload, download))
        if received != upload or digest.digest() != hashlib.sha256(expected[:upload]).digest():
            raise ProtocolViolation(f"the client sent {received} bytes that are not the {upload} of the pattern it announced")
        await stream.write(digest.digest())
        await _write_all(stream, expected[:download])


class BenchEcho(ProtocolPlugin):
    """64 bytes there, the same 64 bytes back."""

    ids = (BENCH_ECHO,)
    limits = _UNLIMITED

    async def handle(self, stream: Stream) -> None:
        """Echo once."""
        await stream.write(await stream.readexactly(_ECHO_BYTES), eof=True)


def rpc_request() -> Message:
    """A request of about a hundred bytes, as a lookup sends it."""
    return Message(type=Message.FIND_NODE, key=bytes(34), position=bytes(56))


class BenchRpc(ProtocolPlugin):
    """Requests and answers as a lookup has them: a small question, twenty peers with two addresses each as the answer."""

    ids = (BENCH_RPC,)
    limits = _UNLIMITED

    async def handle(self, stream: Stream) -> None:
        """Answer in order until the client is done; each answer is built and encoded anew."""
        peers = [(b"\x00\x24\x08\x01\x12\x20" + bytes([number]) * 32, [bytes([number]) * 24, bytes([number]) * 30]) for number in range(20)]
        while await stream.read_message(Message, limit=4096) is not None:
            answer = Message(type=Message.FIND_NODE)
            for peer_id, addresses in peers:
                answer.closerPeers.append(Peer(id=peer_id, addrs=addresses).SerializeToString())
            await stream.write_message(answer)


async def _write_all(stream: Stream, data: bytes) -> None:
    for offset in range(0, len(data), _WRITE_BYTES):
        await stream.write(data[offset : offset + _WRITE_BYTES])
