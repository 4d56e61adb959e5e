"""Noise transport messages ("records"): a two-byte big-endian length, then ChaCha20-Poly1305 ciphertext with its 16-byte tag.

Each direction has its own key and its own counter, so a connection holds one `RecordReader` and one `RecordWriter`. The nonce is four zero
bytes and the counter as 64 bits, little-endian; the last counter value is reserved.

Source: https://noiseprotocol.org/noise.html sections 5.1 and 12.1, and the libp2p noise specification, "Wire format".
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peerstack.errors import LimitExceeded, ProtocolViolation
from peerstack.wire.machine import Buffer

__all__ = ["MAX_PLAINTEXT", "RecordReader", "RecordWriter"]

_LENGTH: Final = Struct(">H")
_NONCE: Final = Struct("<4xQ")
_LENGTH_BYTES: Final = 2
_TAG_BYTES: Final = 16
_RESERVED_COUNTER: Final = 2**64 - 1
_COPY_UP_TO: Final = 16384  # bytes of plaintext: up to here one more copy costs less than encrypting in place

MAX_PLAINTEXT: Final = 0xFFFF - _TAG_BYTES
"""Plaintext bytes one record can carry."""


class RecordReader:
    """Opens the records of one direction.

    Args:
        key: 32 bytes from the handshake (`HandshakeCompleted.receive_key`).

    Attributes:
        error: Set once the remote broke the rules; all later input is ignored.
    """

    __slots__ = ("_counter", "_decrypt", "_partial", "error")

    def __init__(self, key: bytes) -> None:
        self.error: ProtocolViolation | None = None
        self._decrypt = ChaCha20Poly1305(key).decrypt
        self._counter = 0
        self._partial = bytearray()  # the head of the one record that has not arrived whole

    def feed(self, data: Buffer) -> list[bytes]:
        """Open every record that is complete with `data`, which is only read during the call.

        Returns:
            The plaintexts in order, without empty ones; those before a violation are still good.
        """
        plaintexts: list[bytes] = []
        if self.error is not None or not data:
            return plaintexts
        view = memoryview(data)
        size = len(view)
        offset = self._complete(view, plaintexts) if self._partial else 0
        while size - offset >= _LENGTH_BYTES and self.error is None:
            end = offset + _LENGTH_BYTES + (view[offset] << 8 | view[offset + 1])
            if end > size:
                break
            self._open(view[offset + _LENGTH_BYTES : end], plaintexts)
            offset = end
        if offset < size and self.error is None:
            self._partial += view[offset:]
        return plaintexts

    def feed_eof(self) -> None:
        """Take the news that no more bytes will arrive: within a record that is a violation."""
        if self._partial:
            self._fail("the connection ended inside a Noise record")

    def _complete(self, view: memoryview, plaintexts: list[bytes]) -> int:
        """Fill the partial record up, open it when whole, and return how many bytes of `view` that took."""
        partial = self._partial
        taken = max(0, _LENGTH_BYTES - len(partial))
        partial += view[:taken]
        missing = _LENGTH_BYTES + (partial[0] << 8 | partial[1]) - len(partial) if len(partial) >= _LENGTH_BYTES else 0
        rest = view[taken : taken + missing]
        partial += rest
        if len(rest) == missing:
            self._partial = bytearray()
            self._open(memoryview(partial)[_LENGTH_BYTES:], plaintexts)
        return taken + len(rest)

    def _open(self, ciphertext: memoryview, plaintexts: list[bytes]) -> None:
        if self._counter == _RESERVED_COUNTER:
            self._fail("the remote used up its Noise nonces")
            return
        try:
            plaintext = self._decrypt(_NONCE.pack(self._counter), ciphertext, None)
        except InvalidTag:
            self._fail("a Noise record is shorter than its tag" if len(ciphertext) < _TAG_BYTES else "a Noise record does not authenticate")
            return
        self._counter += 1
        if plaintext:
            plaintexts.append(plaintext)

    def _fail(self, reason: str) -> None:
        self._partial = bytearray()
        self.error = ProtocolViolation(reason)


class RecordWriter:
    """Seals the records of one direction.

    Args:
        key: 32 bytes from the handshake (`HandshakeCompleted.send_key`).
    """

    __slots__ = ("_cipher", "_counter")

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._counter = 0

    def seal(self, pieces: Sequence[Buffer]) -> Buffer:
        """Seal `pieces`, joined, into as few records as possible.

        Returns:
            The records with their lengths, for one write to the transport; empty if there is nothing to seal. The buffer is never reused,
            so the transport may keep it.

        Raises:
            LimitExceeded: 2**64 - 1 records were sealed with this key.
        """
        plaintext = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        size = len(plaintext)
        if size > _COPY_UP_TO:
            return self._seal_in_place(memoryview(plaintext), size)
        if size == 0:
            return b""
        return _LENGTH.pack(size + _TAG_BYTES) + self._cipher.encrypt(self._next_nonce(), plaintext, None)

    def _seal_in_place(self, plaintext: memoryview, size: int) -> memoryview:
        records = -(-size // MAX_PLAINTEXT)
        sealed = memoryview(bytearray(size + records * (_LENGTH_BYTES + _TAG_BYTES)))
        start = 0
        for offset in range(0, size, MAX_PLAINTEXT):
            piece = plaintext[offset : offset + MAX_PLAINTEXT]
            length = len(piece) + _TAG_BYTES
            _LENGTH.pack_into(sealed, start, length)
            start += _LENGTH_BYTES
            self._cipher.encrypt_into(self._next_nonce(), piece, None, sealed[start : start + length])
            start += length
        return sealed

    def _next_nonce(self) -> bytes:
        counter = self._counter
        if counter == _RESERVED_COUNTER:
            raise LimitExceeded("noise_nonces", "this connection's Noise nonces are used up: reconnect")
        self._counter = counter + 1
        return _NONCE.pack(counter)
