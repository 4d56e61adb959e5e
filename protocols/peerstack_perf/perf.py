"""``/perf/1.0.0``: the client says how much it wants back, uploads, closes its side, and downloads.

The client's first 8 bytes are the size of the download, big-endian; then its upload; then FIN. The server reads to the end and only then
writes. Source: https://github.com/libp2p/specs/blob/master/perf/perf.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from peerstack import Address, PeerId, ProtocolLimits, ProtocolPlugin, Stream
from peerstack.errors import Closed, IncompleteRead, LimitExceeded, ProtocolViolation
from peerstack.plugin import PluginContext

__all__ = ["PERF", "Perf", "PerfResult"]

PERF: Final = "/perf/1.0.0"
_HEADER_BYTES: Final = 8
_BLOCK: Final = bytes(64 << 10)


@dataclass(frozen=True, kw_only=True, slots=True)
class PerfResult:
    """One transfer."""

    uploaded: int
    """Bytes."""
    downloaded: int
    """Bytes."""
    seconds: float
    """From opening the stream to the end of the download."""


class Perf(ProtocolPlugin):
    """Serves and runs transfers."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """What a client may ask for."""

        max_download_bytes: int = 1 << 34
        """A client that wants more back is reset."""

    ids = (PERF,)
    limits = ProtocolLimits(max_streams=64, max_streams_per_peer=16)

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or self.Config()
        self._context: PluginContext | None = None

    async def start(self, context: PluginContext) -> None:
        """Begin."""
        self._context = context

    async def stop(self) -> None:
        """End."""
        self._context = None

    async def handle(self, stream: Stream) -> None:
        """Read the client's upload to its end, then send what it asked for."""
        wanted = int.from_bytes(await stream.readexactly(_HEADER_BYTES), "big")
        if wanted > self._config.max_download_bytes:
            raise LimitExceeded("max_download_bytes", f"a client asked for {wanted} bytes")
        async for _ in stream:
            pass
        await _send(stream, wanted)

    async def transfer(self, target: PeerId | Address | str, *, upload: int = 0, download: int = 0) -> PerfResult:
        """Send `upload` bytes to a peer, then fetch `download` bytes, over one stream.

        Raises:
            DialError: The peer cannot be reached.
            ProtocolNotSupported: It does not serve perf.
            IncompleteRead: It sent less than asked for.
            ProtocolViolation: It sent more.
        """
        context = self._context
        if context is None:
            raise Closed("perf is not running: enable it in a host that is open")
        begun = context.time()
        async with context.open(target, PERF) as stream:
            await stream.write(download.to_bytes(_HEADER_BYTES, "big"))
            await _send(stream, upload)
            stream.write_eof()
            received = 0
            async for chunk in stream:
                received += len(chunk)
                if received > download:
                    raise ProtocolViolation(f"the peer sent more than the {download} bytes asked for")
            if received < download:
                raise IncompleteRead(f"the peer sent {received} of {download} bytes")
        return PerfResult(uploaded=upload, downloaded=received, seconds=context.time() - begun)


async def _send(stream: Stream, count: int) -> None:
    for _ in range(count // len(_BLOCK)):
        await stream.write(_BLOCK)
    if rest := count % len(_BLOCK):
        await stream.write(_BLOCK[:rest])
