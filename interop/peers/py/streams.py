"""The three test protocols (../README.md), both sides of each."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from hashlib import sha256

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.io.utils import read_exactly
from libp2p.network.stream.exceptions import StreamEOF

INTEROP = TProtocol("/peerstack/interop/1.0.0")
PERF = TProtocol("/perf/1.0.0")
ECHO = TProtocol("/peerstack/bench-echo/1.0.0")
ECHO_BYTES = 64

_HASH_BYTES = 32
_CHUNK_BYTES = 64 * 1024
_MAX_TRANSFER_BYTES = 64 * 1024 * 1024
_STREAM_DEADLINE_SECONDS = 600
_ZEROS = bytes(_CHUNK_BYTES)


class _Pattern:
    """SHA-256(u64 BE 0) || SHA-256(u64 BE 1) || ..."""

    def __init__(self) -> None:
        self._counter = 0
        self._rest = b""

    def take(self, length: int) -> bytes:
        blocks = -(-max(0, length - len(self._rest)) // _HASH_BYTES)
        indices = range(self._counter, self._counter + blocks)
        self._counter += blocks
        joined = self._rest + b"".join(sha256(index.to_bytes(8)).digest() for index in indices)
        self._rest = joined[length:]
        return joined[:length]


async def _send(stream: INetStream, total: int, source: Callable[[int], bytes]) -> None:
    """Write ``total`` bytes in chunks."""
    for offset in range(0, total, _CHUNK_BYTES):
        await stream.write(source(min(_CHUNK_BYTES, total - offset)))


async def _drain(stream: INetStream, on_chunk: Callable[[bytes, int], None] | None = None) -> int:
    """Read to the end of the stream; return how many bytes came."""
    count = 0
    while True:
        try:
            chunk = await stream.read(_CHUNK_BYTES)
        except StreamEOF:
            return count
        if not chunk:
            return count
        count += len(chunk)
        if on_chunk is not None:
            on_chunk(chunk, count)


async def _receive_pattern(stream: INetStream, total: int) -> bytes:
    """Read to the end; fail unless exactly ``total`` bytes of the pattern came. Return their hash."""
    pattern, digest = _Pattern(), sha256()

    def check(chunk: bytes, so_far: int) -> None:
        if so_far > total:
            raise ValueError(f"more than the {total} bytes announced")
        if pattern.take(len(chunk)) != chunk:
            raise ValueError(f"content differs before byte {so_far}")
        digest.update(chunk)

    received = await _drain(stream, check)
    if received != total:
        raise ValueError(f"stream ended after {received} of {total} bytes")
    return digest.digest()


async def request_interop(stream: INetStream, upload: int, download: int) -> None:
    """Send the pattern, half-close, check its hash and the pattern that comes back."""
    await stream.write(upload.to_bytes(8) + download.to_bytes(8))
    await _send(stream, upload, _Pattern().take)
    await stream.close_write()
    if await read_exactly(stream, _HASH_BYTES) != sha256(_Pattern().take(upload)).digest():
        raise ValueError("the hash of the upload differs")
    await _receive_pattern(stream, download)


async def _serve_interop(stream: INetStream) -> None:
    header = await read_exactly(stream, 16)
    upload, download = int.from_bytes(header[:8]), int.from_bytes(header[8:])
    if max(upload, download) > _MAX_TRANSFER_BYTES:
        raise ValueError(f"{upload} bytes up and {download} down: the limit is {_MAX_TRANSFER_BYTES}")
    await stream.write(await _receive_pattern(stream, upload))
    await _send(stream, download, _Pattern().take)


async def request_perf(stream: INetStream, upload: int, download: int) -> None:
    """Be the client of https://github.com/libp2p/specs/blob/master/perf/perf.md."""
    await stream.write(download.to_bytes(8))
    await _send(stream, upload, _zeros)
    await stream.close_write()
    if (received := await _drain(stream)) != download:
        raise ValueError(f"stream ended after {received} of {download} bytes")


async def _serve_perf(stream: INetStream) -> None:
    download = int.from_bytes(await read_exactly(stream, 8))
    await _drain(stream)
    await _send(stream, download, _zeros)


def _zeros(length: int) -> bytes:
    return _ZEROS[:length]


async def request_echo(stream: INetStream) -> None:
    """Make one small request; both sides close."""
    await stream.write(_ZEROS[:ECHO_BYTES])
    await read_exactly(stream, ECHO_BYTES)
    await stream.close()


async def _serve_echo(stream: INetStream) -> None:
    await stream.write(await read_exactly(stream, ECHO_BYTES))


def _bounded(serve: Callable[[INetStream], Awaitable[None]]) -> Callable[[INetStream], Awaitable[None]]:
    """Run a handler, then close the stream, or reset it if the handler failed."""

    async def handle(stream: INetStream) -> None:
        try:
            with trio.fail_after(_STREAM_DEADLINE_SECONDS):
                await serve(stream)
                await stream.close()
        except Exception as error:  # noqa: BLE001 - the boundary of a stream's task
            print(f"{stream.get_protocol()}: {error!r}", file=sys.stderr)
            await stream.reset()

    return handle


def _handlers() -> Iterator[tuple[TProtocol, Callable[[INetStream], Awaitable[None]]]]:
    yield INTEROP, _bounded(_serve_interop)
    yield PERF, _bounded(_serve_perf)
    yield ECHO, _bounded(_serve_echo)


HANDLERS = dict(_handlers())
