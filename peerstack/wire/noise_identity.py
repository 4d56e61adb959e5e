"""What a libp2p Noise handshake says about identities: the payload, our credentials, and the signatures checked before.

Source: https://github.com/libp2p/specs/tree/master/noise, "The Noise Handshake Payload".
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from peerstack.errors import HandshakeFailed, InvalidKey
from peerstack.identity import PrivateKey, PublicKey
from peerstack.wire.noise_xx import KEY_BYTES, KeyPair25519
from peerstack.wire.pb.noise_pb2 import NoiseHandshakePayload

__all__ = ["MAX_MUXERS", "NoiseCredentials", "RemoteIdentity", "VerifiedKeys"]

MAX_MUXERS: Final = 100
"""Entries in a list of muxers; a longer list is ignored."""
_SIGNATURE_PREFIX: Final = b"noise-libp2p-static-key:"


@dataclass(slots=True)
class RemoteIdentity:
    """What a payload proved and offered."""

    public_key: PublicKey
    muxers: tuple[str, ...]


class NoiseCredentials:
    """What a host shows in each handshake: its Noise static key, signed by its identity.

    Args:
        identity: The host's key.
        static_key: 32 bytes of entropy for the X25519 static key.
        muxers: The one muxer offered early, or none. Implementations disagree on whose order counts, so there is no more than one.

    Raises:
        ValueError: The static key is not 32 bytes, or several muxers are offered.
    """

    def __init__(self, identity: PrivateKey, static_key: bytes, muxers: tuple[str, ...] = ("/yamux/1.0.0",)) -> None:
        if len(static_key) != KEY_BYTES:
            raise ValueError(f"a Noise static key needs {KEY_BYTES} bytes of entropy, not {len(static_key)}")
        if len(muxers) > 1:
            raise ValueError("offer at most one muxer early: implementations disagree on whose order counts")
        self.muxers = muxers
        self.static_keypair = KeyPair25519.from_private_bytes(static_key)
        payload = NoiseHandshakePayload(
            identity_key=identity.public_key.to_protobuf(),
            identity_sig=identity.sign(_SIGNATURE_PREFIX + self.static_keypair.public_bytes),
        )
        payload.extensions.stream_muxers.extend(muxers)
        self.payload: bytes = payload.SerializeToString(deterministic=True)


class VerifiedKeys:
    """Static keys whose signature by an identity was checked before: the most recently seen `capacity` of them.

    A signature covers the long-lived static key only, so a check that succeeded once holds. One instance belongs to one host.
    """

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._keys: OrderedDict[tuple[bytes, bytes, bytes], PublicKey] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def read_payload(self, payload: bytes, static_key: bytes) -> RemoteIdentity:
        """Read a handshake payload and check that its identity signed the sender's static key.

        Raises:
            HandshakeFailed: The payload does not parse, its key is none of a supported type, or the signature is wrong.
        """
        try:
            message = NoiseHandshakePayload.FromString(payload)
        except (DecodeError, ValueError) as error:
            raise HandshakeFailed("the payload of a Noise handshake message does not parse") from error
        muxers = message.extensions.stream_muxers
        return RemoteIdentity(
            self._verify(static_key, message.identity_key, message.identity_sig),
            tuple(muxers) if len(muxers) <= MAX_MUXERS else (),
        )

    def _verify(self, static_key: bytes, identity_key: bytes, signature: bytes) -> PublicKey:
        entry = (static_key, identity_key, signature)
        known = self._keys.get(entry)
        if known is not None:
            self._keys.move_to_end(entry)
            return known
        try:
            public_key = PublicKey.from_protobuf(identity_key)
        except InvalidKey as error:
            raise HandshakeFailed(f"the remote's identity key: {error}") from error
        if not public_key.verify(_SIGNATURE_PREFIX + static_key, signature):
            raise HandshakeFailed("the remote's identity did not sign its Noise static key")
        self._keys[entry] = public_key
        if len(self._keys) > self._capacity:
            self._keys.popitem(last=False)
        return public_key
