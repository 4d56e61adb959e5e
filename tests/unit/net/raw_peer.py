"""A remote that says exactly what a test tells it to: raw bytes, records, or yamux frames behind an honest handshake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peerstack.addresses import Address
from peerstack.identity import PeerId, PrivateKey
from peerstack.net.transport import Link, Transport
from peerstack.net.upgrade import Upgrade, Upgraded
from peerstack.wire import yamux_frames as wire
from peerstack.wire.machine import ConnectionFailed
from peerstack.wire.noise_handshake import NoiseCredentials, NoiseHandshake, Role, VerifiedKeys
from peerstack.wire.noise_records import RecordReader, RecordWriter
from tests.unit.wire.yamux_remote import Frame, parse

RAW_KEY = PrivateKey.from_seed(b"raw peer".ljust(32, b"."))


def make_upgrade(
    key: PrivateKey = RAW_KEY, *, outbound: bool, early: bool = True, expected_peer: PeerId | None = None, seed: int = 7
) -> Upgrade:
    """One side of an upgrade with fixed keys; without `early` it offers no muxer in the handshake."""
    credentials = NoiseCredentials(key, bytes([seed]) * 32, ("/yamux/1.0.0",) if early else ())
    role = Role.INITIATOR if outbound else Role.RESPONDER
    handshake = NoiseHandshake(role, credentials, ephemeral=bytes([seed + 1]) * 32, verified=VerifiedKeys(), expected_peer=expected_peer)
    return Upgrade(handshake, outbound=outbound)


class RawPeer:
    """A `LinkReceiver` under a test's thumb."""

    patience_s = 300.0

    def __init__(self, upgrade: Upgrade | None = None) -> None:
        self.received = bytearray()  # as it came, while there is no record layer
        self.plaintext = bytearray()
        self.eof = False
        self.lost = False
        self.writable = True
        self.failure: Exception | None = None
        self._upgrade = upgrade
        self._reader: RecordReader | None = None
        self._writer: RecordWriter | None = None
        self._link: Link | None = None
        self._changed = asyncio.Event()

    @classmethod
    async def dial(cls, transport: Transport, address: Address, upgrade: Upgrade | None = None) -> RawPeer:
        """Dial; with an upgrade wait until it is through."""
        peer = cls(upgrade)
        await transport.dial(address, peer)
        if upgrade is not None:
            await peer.until(lambda p: p.secured or p.ended)
        return peer

    @property
    def link(self) -> Link:
        assert self._link is not None
        return self._link

    @property
    def secured(self) -> bool:
        return self._writer is not None

    @property
    def ended(self) -> bool:
        return self.eof or self.lost

    @property
    def frames(self) -> list[Frame]:
        """The yamux frames that came so far."""
        return parse(bytes(self.plaintext))

    def payload(self, stream_id: int) -> bytes:
        return b"".join(frame.payload for frame in self.frames if frame.stream_id == stream_id)

    def write(self, data: bytes) -> None:
        """Write to the link, unencrypted."""
        self.link.write(data)

    def seal(self, data: bytes) -> bytes:
        assert self._writer is not None
        return bytes(self._writer.seal([data]))

    def send(self, *frames: bytes) -> None:
        """Send frames in as few records as possible, with one write."""
        self.link.write(self.seal(b"".join(frames)))

    def close(self) -> None:
        self.link.abort()

    async def until(self, condition: Callable[[RawPeer], bool], *, patience_s: float | None = None) -> None:
        async with asyncio.timeout(patience_s or self.patience_s):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    # what the link calls

    def link_made(self, link: Link) -> None:
        self._link = link
        self._pass_on_upgrade()

    def link_received(self, data: bytes | memoryview) -> None:
        if self._reader is not None:
            self._open(data)
        elif self._upgrade is not None:
            self._upgrade.feed(data, 0.0)
            self._pass_on_upgrade()
        else:
            self.received += data
        self._changed.set()

    def link_eof(self) -> None:
        self.eof = True
        self._changed.set()

    def link_writable(self, writable: bool) -> None:
        self.writable = writable
        self._changed.set()

    def link_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._changed.set()

    def _pass_on_upgrade(self) -> None:
        if self._upgrade is None:
            return
        output = b"".join(self._upgrade.take_output(1 << 20))
        if output:
            self.link.write(output)
        for event in self._upgrade.take_events():
            if isinstance(event, ConnectionFailed):
                self.failure = event.error
            elif isinstance(event, Upgraded):
                self._reader, self._writer = event.reader, event.writer
                for plaintext in event.rest:
                    self._take(plaintext)

    def _open(self, data: bytes | memoryview) -> None:
        assert self._reader is not None
        for plaintext in self._reader.feed(data):
            self._take(plaintext)

    def _take(self, plaintext: bytes) -> None:
        self.plaintext += plaintext


def ack_ping(peer: RawPeer) -> bytes:
    """The pong for the session's first ping."""
    ping = next(frame for frame in peer.frames if frame.kind == wire.PING and frame.flags == wire.SYN)
    return wire.encode_header(wire.PING, wire.ACK, 0, ping.length)
