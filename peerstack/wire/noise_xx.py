"""Noise_XX_25519_ChaChaPoly_SHA256 through the package ``noiseprotocol``: its handshake only, never its transport phase.

This is the one importer of the package. It gives the handshake an ephemeral key from injected entropy and turns whatever the package raises
on a peer's bytes into `HandshakeFailed`.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidTag
from noise.backends.default import DefaultNoiseBackend
from noise.backends.default.diffie_hellmans import ED25519
from noise.backends.default.keypairs import KeyPair25519
from noise.connection import NoiseConnection
from noise.exceptions import NoiseValueError

from peerstack.errors import HandshakeFailed

__all__ = ["KEY_BYTES", "TAG_BYTES", "KeyPair25519", "NoiseXX", "Role"]

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
_FOREIGN_ERRORS: Final = (InvalidTag, ValueError, NoiseValueError)  # all that the handshake raises on bytes


class Role(Enum):
    """Which side of the handshake: the dialer of the transport initiates."""

    INITIATOR = 1
    RESPONDER = 2


class NoiseXX:
    """One side's cryptography of one handshake: write and read in the order of the pattern.

    Args:
        role: Which side.
        static: Our static key pair.
        ephemeral: 32 fresh bytes of entropy.
        prologue: What both sides must agree on beforehand; libp2p's is empty.

    Raises:
        ValueError: `ephemeral` is not 32 bytes.
    """

    __slots__ = ("_connection", "_exchange")

    def __init__(self, role: Role, static: KeyPair25519, ephemeral: bytes, prologue: bytes = b"") -> None:
        if len(ephemeral) != KEY_BYTES:
            raise ValueError(f"an ephemeral key needs {KEY_BYTES} bytes of entropy, not {len(ephemeral)}")
        connection = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_SHA256", backend=_Backend(ephemeral))
        connection.set_prologue(prologue)
        if role is Role.INITIATOR:
            connection.set_as_initiator()
        else:
            connection.set_as_responder()
        connection.noise_protocol.keypairs["s"] = static  # the package's setter would derive the public key each time
        connection.start_handshake()
        self._connection = connection
        self._exchange = connection.noise_protocol.handshake_state  # the package forgets it with the last message

    def write(self, payload: bytes) -> bytes:
        """Make our next message.

        Raises:
            HandshakeFailed: The remote's keys allow no secret (a point of low order).
        """
        try:
            return bytes(self._connection.write_message(payload))
        except _FOREIGN_ERRORS as error:
            raise HandshakeFailed(f"the remote's Noise keys allow no secret ({error})") from error

    def read(self, message: bytes) -> bytes:
        """Read the remote's next message and return its payload.

        Raises:
            HandshakeFailed: The message is malformed or does not authenticate.
        """
        try:
            return bytes(self._connection.read_message(message))
        except _FOREIGN_ERRORS as error:
            raise HandshakeFailed(f"a Noise handshake message is malformed or forged ({type(error).__name__})") from error

    @property
    def remote_static_key(self) -> bytes:
        """The remote's 32 bytes, once its message with them was read."""
        return self._exchange.rs.public_bytes

    @property
    def send_key(self) -> bytes:
        """The key of the records we send, once the last message was written or read."""
        return self._connection.noise_protocol.cipher_state_encrypt.k

    @property
    def receive_key(self) -> bytes:
        """The key of the records we receive, once the last message was written or read."""
        return self._connection.noise_protocol.cipher_state_decrypt.k

    @property
    def handshake_hash(self) -> bytes:
        """The channel binding (Noise section 11.2), once the last message was written or read."""
        return self._connection.get_handshake_hash()


class _InjectedX25519(ED25519):
    """X25519 whose one new key pair comes from bytes given."""

    def __init__(self, ephemeral: bytes) -> None:
        self._ephemeral = ephemeral

    def generate_keypair(self) -> KeyPair25519:
        ephemeral, self._ephemeral = self._ephemeral, b""  # a second use fails on its length
        return KeyPair25519.from_private_bytes(ephemeral)


class _Backend(DefaultNoiseBackend):
    """The package's own cryptography, but for the ephemeral key."""

    def __init__(self, ephemeral: bytes) -> None:
        super().__init__()
        self.diffie_hellmans = {"25519": partial(_InjectedX25519, ephemeral)}
