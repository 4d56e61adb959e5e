"""The libp2p Noise handshake ``/noise``: three messages that agree on keys and prove both peers' identities.

Noise_XX_25519_ChaChaPoly_SHA256 with an empty prologue::

    initiator          responder
    e              ->                    exactly 32 bytes, no payload
                   <-  e, ee, s, es      payload
    s, se          ->                    payload

Each message has a two-byte big-endian length. The payload carries the sender's identity key, its signature over the Noise static key, and
the muxer it speaks (`noise_identity`). The cryptography is `noise_xx`; the records that follow are `noise_records`.

Source: https://github.com/libp2p/specs/tree/master/noise and https://noiseprotocol.org/noise.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final

from peerstack.errors import HandshakeFailed, PeerIdMismatch, SecurityError
from peerstack.identity import PeerId, PublicKey
from peerstack.wire.machine import Buffer, ConnectionFailed
from peerstack.wire.noise_identity import NoiseCredentials, RemoteIdentity, VerifiedKeys
from peerstack.wire.noise_xx import KEY_BYTES, TAG_BYTES, NoiseXX, Role

__all__ = ["MAX_MESSAGE", "HandshakeCompleted", "NoiseCredentials", "NoiseHandshake", "Role", "VerifiedKeys"]

MAX_MESSAGE: Final = 4096
"""Bytes of one handshake message; the largest honest one, with an RSA identity, has under 2 KiB."""
_LENGTH_BYTES: Final = 2


@dataclass(slots=True)
class HandshakeCompleted:
    """Both identities are proven; `take_rest` has the bytes behind the handshake: the first records."""

    remote_peer: PeerId
    remote_public_key: PublicKey
    send_key: bytes
    """32 bytes for `RecordWriter`."""
    receive_key: bytes
    """32 bytes for `RecordReader`."""
    muxer: str | None
    """The muxer both sides named in their payloads; None asks for a multistream negotiation."""


class _State(Enum):
    AWAITING_EPHEMERAL = 1  # the responder, before message 1
    AWAITING_RESPONSE = 2  # the initiator, before message 2
    AWAITING_PROOF = 3  # the responder, before message 3
    COMPLETED = 4
    FAILED = 5


@dataclass(frozen=True, slots=True)
class _Step:
    """One message to be received: how long it may be, what to do with it, and what follows."""

    min_bytes: int
    max_bytes: int
    take: Callable[[NoiseHandshake, bytes], None]
    then: _State


class NoiseHandshake:
    """One side of one handshake.

    Args:
        role: Which side.
        credentials: Our host's.
        ephemeral: 32 fresh bytes of entropy, never used twice.
        verified: Our host's cache of verified signatures.
        expected_peer: The peer dialled, or None to accept any.

    Raises:
        ValueError: `ephemeral` is not 32 bytes.

    Events: one `HandshakeCompleted`, or one `ConnectionFailed` with `HandshakeFailed` or `PeerIdMismatch`.
    """

    def __init__(
        self, role: Role, credentials: NoiseCredentials, *, ephemeral: bytes, verified: VerifiedKeys, expected_peer: PeerId | None = None
    ) -> None:
        self._credentials = credentials
        self._verified = verified
        self._expected_peer = expected_peer
        self._noise = NoiseXX(role, credentials.static_keypair, ephemeral)
        self._unread = b""
        self._output: list[Buffer] = []
        self._events: list[HandshakeCompleted | ConnectionFailed] = []
        self._state = _State.AWAITING_EPHEMERAL
        if role is Role.INITIATOR:
            self._state = _State.AWAITING_RESPONSE
            self._write(b"")

    def feed(self, data: Buffer, now: float) -> None:
        """Take bytes that arrived."""
        if self._state is _State.FAILED:
            return
        self._unread += data
        try:
            while (step := self._steps.get(self._state)) is not None:
                message = self._cut_message(step)
                if message is None:
                    return
                step.take(self, message)
                self._state = step.then
        except SecurityError as error:
            self._fail(error)

    def feed_eof(self, now: float) -> None:
        """Take the news that no more bytes will arrive."""
        if self._state in self._steps:
            self._fail(HandshakeFailed("the remote closed during the Noise handshake"))

    def tick(self, now: float) -> None:
        """Nothing is ever due: who upgrades the connection sets the time limit."""

    def deadline(self) -> float | None:
        """The handshake waits for no time."""
        return None

    def take_output(self, limit: int) -> list[Buffer]:
        """Take what is to be sent, one message however small the limit is."""
        output, self._output = self._output, []
        return output

    def take_events(self) -> list[HandshakeCompleted | ConnectionFailed]:
        """Take what happened since the last call."""
        events, self._events = self._events, []
        return events

    def take_rest(self) -> bytes:
        """Take the bytes that arrived behind the handshake: the first records."""
        if self._state is not _State.COMPLETED:
            raise RuntimeError("take_rest is for a handshake that completed")
        rest, self._unread = self._unread, b""
        return rest

    def _cut_message(self, step: _Step) -> bytes | None:
        if len(self._unread) < _LENGTH_BYTES:
            return None
        size = int.from_bytes(self._unread[:_LENGTH_BYTES], "big")
        if not step.min_bytes <= size <= step.max_bytes:
            raise HandshakeFailed(f"a Noise handshake message of {size} bytes is not within {step.min_bytes} to {step.max_bytes}")
        end = _LENGTH_BYTES + size
        if len(self._unread) < end:
            return None
        message, self._unread = self._unread[_LENGTH_BYTES:end], self._unread[end:]
        return message

    def _take_ephemeral(self, message: bytes) -> None:
        _refuse_zero_key(message)
        self._noise.read(message)
        self._write(self._credentials.payload)

    def _take_response(self, message: bytes) -> None:
        _refuse_zero_key(message[:KEY_BYTES])
        remote = self._read_identity(message)
        self._write(self._credentials.payload)
        self._complete(remote.public_key, _first_common(self._credentials.muxers, remote.muxers))

    def _take_proof(self, message: bytes) -> None:
        remote = self._read_identity(message)
        self._complete(remote.public_key, _first_common(remote.muxers, self._credentials.muxers))

    _steps: ClassVar[Mapping[_State, _Step]] = {
        _State.AWAITING_EPHEMERAL: _Step(KEY_BYTES, KEY_BYTES, _take_ephemeral, then=_State.AWAITING_PROOF),
        _State.AWAITING_RESPONSE: _Step(2 * (KEY_BYTES + TAG_BYTES), MAX_MESSAGE, _take_response, then=_State.COMPLETED),
        _State.AWAITING_PROOF: _Step(KEY_BYTES + 2 * TAG_BYTES, MAX_MESSAGE, _take_proof, then=_State.COMPLETED),
    }

    def _read_identity(self, message: bytes) -> RemoteIdentity:
        payload = self._noise.read(message)
        remote = self._verified.read_payload(payload, self._noise.remote_static_key)
        actual = remote.public_key.peer_id()
        if self._expected_peer is not None and actual != self._expected_peer:
            raise PeerIdMismatch(str(self._expected_peer), str(actual))
        return remote

    def _write(self, payload: bytes) -> None:
        message = self._noise.write(payload)
        self._output.append(len(message).to_bytes(_LENGTH_BYTES, "big") + message)

    def _complete(self, remote_key: PublicKey, muxer: str | None) -> None:
        completed = HandshakeCompleted(remote_key.peer_id(), remote_key, self._noise.send_key, self._noise.receive_key, muxer)
        self._events.append(completed)

    def _fail(self, error: SecurityError) -> None:
        self._state = _State.FAILED
        self._unread = b""
        error.__traceback__ = error.__cause__ = error.__context__ = None  # their frames would hold the buffer that was fed
        self._events.append(ConnectionFailed(error))


def _refuse_zero_key(ephemeral: bytes) -> None:
    if ephemeral == bytes(KEY_BYTES):
        raise HandshakeFailed("the remote's ephemeral key is all zero")


def _first_common(initiators: tuple[str, ...], responders: tuple[str, ...]) -> str | None:
    """The initiator's first choice that the responder has too."""
    return next((muxer for muxer in initiators if muxer in responders), None)
