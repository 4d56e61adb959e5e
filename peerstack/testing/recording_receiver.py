"""A link receiver that keeps what it is told and notes every call that breaks the transport contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peerstack.net.transport import Link

__all__ = ["RecordingReceiver"]


class RecordingReceiver:
    """A `peerstack.net.transport.LinkReceiver` that keeps what it is told, and notes every call that breaks the contract."""

    def __init__(self, *, on_received: Callable[[RecordingReceiver], None] | None = None) -> None:
        self.received = bytearray()
        self.chunks = 0
        self.eof = False
        self.writable = True
        self.lost = False
        self.error: Exception | None = None
        self.reading = True
        self.violations: list[str] = []
        self._link: Link | None = None
        self._on_received = on_received
        self._changed = asyncio.Event()

    @property
    def link(self) -> Link:
        """The link this receiver was given."""
        assert self._link is not None, "link_made was not called"
        return self._link

    @property
    def made(self) -> bool:
        """Whether `link_made` was called."""
        return self._link is not None

    @property
    def ended(self) -> bool:
        """Whether nothing more can be received."""
        return self.eof or self.lost

    async def until(self, condition: Callable[[RecordingReceiver], bool], *, patience_s: float = 10.0) -> None:
        """Wait for a condition of this receiver, looked at after every call."""
        async with asyncio.timeout(patience_s):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    def pause(self) -> None:
        """Pause reading; from now on a delivery is a violation."""
        self.reading = False
        self.link.pause_reading()

    def resume(self) -> None:
        """Resume reading."""
        self.reading = True
        self.link.resume_reading()

    def link_made(self, link: Link) -> None:
        """Note the link."""
        self._expect(self._link is None, "link_made twice")
        self._link = link
        self._changed.set()

    def link_received(self, data: bytes | memoryview) -> None:
        """Keep the bytes."""
        self._expect(self.made and not self.eof, "link_received before link_made or after link_eof")
        self._expect(self.reading, "link_received while paused")
        self._expect(len(data) > 0, "link_received without bytes")
        self.received += data
        self.chunks += 1
        if self._on_received is not None:
            self._on_received(self)
        self._changed.set()

    def link_eof(self) -> None:
        """Note the end."""
        self._expect(self.made and not self.eof, "link_eof before link_made or twice")
        self.eof = True
        self._changed.set()

    def link_writable(self, writable: bool) -> None:
        """Note whether the link takes more."""
        self._expect(self.made and self.writable is not writable, f"link_writable({writable}) told twice")
        self.writable = writable
        self._changed.set()

    def link_lost(self, error: Exception | None) -> None:
        """Note that it is over."""
        self._expect(self.made, "link_lost before link_made")
        self.lost = True
        self.error = error
        self._changed.set()

    def _expect(self, holds: bool, violation: str) -> None:
        if self.lost:
            self.violations.append(f"called after link_lost: not ({violation})" if holds else violation)
        elif not holds:
            self.violations.append(violation)
