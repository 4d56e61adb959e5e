"""``/ipfs/ping/1.0.0``: 32 random bytes, echoed, as often as the dialer likes on one stream.

Source: https://github.com/libp2p/specs/blob/master/ping/ping.md
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from peerstack import Address, PeerId, ProtocolLimits, ProtocolPlugin, Stream
from peerstack.errors import Closed, DeadlineExceeded, ProtocolViolation
from peerstack.plugin import PluginContext

__all__ = ["PING", "Ping"]

PING: Final = "/ipfs/ping/1.0.0"
_SIZE: Final = 32


class Ping(ProtocolPlugin):
    """Answers pings, and pings."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """How long to wait."""

        timeout_s: float = 10.0
        """For one answer."""
        idle_timeout_s: float = 60.0
        """A ping stream on which the dialer says nothing for this long is closed."""

    ids = (PING,)
    limits = ProtocolLimits(max_streams=1024, max_streams_per_peer=4)

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
        """Echo 32-byte blocks until the dialer closes."""
        try:
            while True:
                async with asyncio.timeout(self._config.idle_timeout_s):
                    block = await stream.readexactly(_SIZE)
                await stream.write(block)
        except (EOFError, TimeoutError):
            return

    async def ping(self, target: PeerId | Address | str, *, count: int = 1, interval_s: float = 0.0) -> AsyncGenerator[float, None]:
        """Measure round trips over one stream.

        Args:
            target: The peer.
            count: How many.
            interval_s: Pause between them.

        Yields:
            Seconds per round trip.

        Raises:
            DialError: The peer cannot be reached.
            ProtocolNotSupported: It does not answer pings.
            DeadlineExceeded: An answer took longer than ``Config.timeout_s``.
            ProtocolViolation: It answered something else.
        """
        context = self._context
        if context is None:
            raise Closed("ping is not running: enable it in a host that is open")
        async with context.open(target, PING) as stream:
            for number in range(count):
                if number and interval_s:
                    await asyncio.sleep(interval_s)
                yield await self._once(context, stream)

    async def _once(self, context: PluginContext, stream: Stream) -> float:
        block = context.environment.entropy(_SIZE)
        begun = context.time()
        try:
            async with asyncio.timeout(self._config.timeout_s):
                await stream.write(block)
                answer = await stream.readexactly(_SIZE)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no pong from {stream.peer_id} within {self._config.timeout_s:g} s") from error
        if answer != block:
            raise ProtocolViolation(f"{stream.peer_id} answered a ping with other bytes")
        seconds = context.time() - begun
        context.metrics.observe("rtt_seconds", seconds)
        return seconds
