"""From a raw link to an encrypted one that speaks a muxer: the order of the steps.

::

    SECURITY    multistream-select for /noise, on the raw link
    HANDSHAKE   Noise XX; both identities are proven
    MUXER       multistream-select for /yamux/1.0.0, encrypted; skipped where the handshake settled it
    COMPLETED   records in both directions, and what arrived behind the last step

The dialer does not wait for the answer to ``/noise``: its proposal and the first Noise message share one write.
Sources: the libp2p connection specification ("Connection establishment") and its noise specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from peerstack.errors import PeerstackError
from peerstack.identity import PeerId, PublicKey
from peerstack.wire import multistream
from peerstack.wire.machine import Buffer, ConnectionFailed
from peerstack.wire.multistream import ProtocolSelected
from peerstack.wire.noise_handshake import HandshakeCompleted, NoiseHandshake
from peerstack.wire.noise_records import RecordReader, RecordWriter
from peerstack.wire.yamux_frames import PROTOCOL_ID

__all__ = ["MUXER", "SECURITY", "Upgrade", "Upgraded"]

SECURITY: Final = "/noise"
MUXER: Final = PROTOCOL_ID


@dataclass(slots=True)
class Upgraded:
    """The upgrade is done."""

    peer_id: PeerId
    public_key: PublicKey
    reader: RecordReader
    writer: RecordWriter
    rest: list[bytes]
    """Plaintext that arrived behind the negotiation: the muxer's first bytes."""


class _Step(Enum):
    SECURITY = 1
    HANDSHAKE = 2
    MUXER = 3
    COMPLETED = 4
    FAILED = 5


class Upgrade:
    """One side of one upgrade; a machine like those of `peerstack.wire`, made of them.

    Args:
        handshake: The Noise side, fresh.
        outbound: Whether we dialled (and so propose).

    Events: one `Upgraded`, or one `ConnectionFailed`.
    """

    def __init__(self, handshake: NoiseHandshake, *, outbound: bool) -> None:
        self._handshake = handshake
        self._outbound = outbound
        self._negotiation = self._negotiate(SECURITY, optimistic=True)
        self._secured: HandshakeCompleted | None = None
        self._reader: RecordReader | None = None
        self._writer: RecordWriter | None = None
        self._step = _Step.SECURITY
        self._output: list[Buffer] = []
        self._events: list[Upgraded | ConnectionFailed] = []
        self._collect()

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes of the link; each step hands its unread tail to the next."""
        if self._step is _Step.SECURITY:
            self._negotiation.feed(data, now)
            if self._selected(_Step.HANDSHAKE):
                self._feed_handshake(self._negotiation.take_rest(), now)
        elif self._step is _Step.HANDSHAKE:
            self._feed_handshake(data, now)
        elif self._step is _Step.MUXER:
            self._feed_muxer(data, now)
        self._collect()

    def feed_eof(self, now: float) -> None:
        """Take the news that no more bytes will arrive: too early, whatever the step."""
        if self._step is _Step.HANDSHAKE:
            self._handshake.feed_eof(now)
            self._handshake_completed()
        elif self._step in (_Step.SECURITY, _Step.MUXER):
            self._negotiation.feed_eof(now)
            self._selected(_Step.FAILED)

    def tick(self, now: float) -> None:
        """Nothing is ever due: the pump sets the time limit."""

    def deadline(self) -> float | None:
        """The upgrade waits for no time."""
        return None

    def take_output(self, limit: int) -> list[Buffer]:
        """Take what is to be sent on the link, encrypted where the step asks for it."""
        output, self._output = self._output, []
        return output

    def take_events(self) -> list[Upgraded | ConnectionFailed]:
        """Take what happened since the last call."""
        events, self._events = self._events, []
        return events

    def _negotiate(self, protocol: str, *, optimistic: bool) -> multistream.Dialer | multistream.Listener:
        if self._outbound:
            return multistream.Dialer([protocol], optimistic=optimistic)
        return multistream.Listener(lambda proposed: proposed == protocol)

    def _selected(self, then: _Step) -> bool:
        for event in self._negotiation.take_events():
            if isinstance(event, ProtocolSelected):
                self._step = then
                return True
            self._fail(event.error)
        return False

    def _feed_handshake(self, data: Buffer, now: float) -> None:
        self._output += self._negotiation.take_output(0)  # the echo goes before our handshake message
        self._handshake.feed(data, now)
        if self._handshake_completed():
            self._feed_muxer(self._handshake.take_rest(), now)

    def _handshake_completed(self) -> bool:
        self._output += self._handshake.take_output(0)
        for event in self._handshake.take_events():
            if isinstance(event, ConnectionFailed):
                self._fail(event.error)
                return False
            self._secured = event
            self._reader = RecordReader(event.receive_key)
            self._writer = RecordWriter(event.send_key)
            if event.muxer == MUXER:
                self._complete([])
            else:
                self._step = _Step.MUXER
                self._negotiation = self._negotiate(MUXER, optimistic=False)
            return True
        return False

    def _feed_muxer(self, data: Buffer, now: float) -> None:
        assert self._reader is not None
        plaintexts = self._reader.feed(data)
        for index, plaintext in enumerate(plaintexts):
            if self._step is _Step.MUXER:
                self._negotiation.feed(plaintext, now)
                if self._selected(_Step.COMPLETED):
                    rest = self._negotiation.take_rest()
                    self._complete([rest, *plaintexts[index + 1 :]] if rest else plaintexts[index + 1 :])
                    break
            elif self._step is _Step.COMPLETED:
                self._complete(plaintexts[index:])
                break
        if self._reader.error is not None and self._step is not _Step.COMPLETED:
            self._fail(self._reader.error)

    def _complete(self, rest: list[bytes]) -> None:
        assert self._secured is not None
        assert self._reader is not None
        assert self._writer is not None
        self._step = _Step.COMPLETED
        if self._events and isinstance(self._events[-1], Upgraded):  # the handshake settled the muxer, and records came with its tail
            self._events[-1].rest += rest
        else:
            self._events.append(Upgraded(self._secured.remote_peer, self._secured.remote_public_key, self._reader, self._writer, rest))

    def _collect(self) -> None:
        """Gather what the current step wants to send."""
        if self._step in (_Step.SECURITY, _Step.HANDSHAKE):
            self._output += self._negotiation.take_output(0)
            if self._outbound:
                self._output += self._handshake.take_output(0)
        elif self._step is not _Step.FAILED and self._writer is not None:
            sealed = self._writer.seal(self._negotiation.take_output(0))
            if sealed:
                self._output.append(sealed)

    def _fail(self, error: PeerstackError) -> None:
        self._step = _Step.FAILED
        self._events.append(ConnectionFailed(error))
