"""Keys and peer ids, as the libp2p peer-id spec defines them.

A peer is known by its public key; its `PeerId` is a multihash of that key's serialized form. Ed25519, the default, needs nothing but this
module; the other key types and protobuf are loaded when the first such key is met.

Source: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
"""

from __future__ import annotations

import base64
import binascii
import enum
import functools
import hashlib
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from peerstack.errors import InvalidKey, InvalidPeerId

if TYPE_CHECKING:
    from peerstack._key_formats import OtherPrivateKey, OtherPublicKey

__all__ = ["KeyType", "PeerId", "PrivateKey", "PublicKey"]

_MAX_INLINED_KEY = 42  # longer serialized keys are hashed
_IDENTITY, _SHA2_256 = 0x00, 0x12  # multihash codes
_CID_PREFIX = b"\x01\x72"  # CIDv1, multicodec libp2p-key
_MAX_PEER_ID_TEXT = 128  # base16, the longest form, needs 93 characters
_MAX_PUBLIC_KEY = 2048  # bytes serialized; RSA of 8192 bits needs 1065
_MAX_PRIVATE_KEY = 8192  # bytes serialized; RSA of 8192 bits needs about 4700
_ED25519_PUBLIC_PREFIX = bytes.fromhex("08011220")
_ED25519_PRIVATE_PREFIX = bytes.fromhex("08011240")
_ED25519_SIZE = 32  # bytes of a seed, and of a public key


class KeyType(enum.IntEnum):
    """The type of a key, by its number in the key messages."""

    RSA = 0
    ED25519 = 1
    SECP256K1 = 2
    ECDSA = 3


@functools.total_ordering
class PeerId:
    """The name of a peer: a multihash of its public key. Immutable, hashable, and ordered by its bytes."""

    __slots__ = ("_data", "_text")

    def __init__(self, data: bytes) -> None:
        """Take a peer id's binary form.

        Args:
            data: A multihash: identity with 1 to 42 bytes of serialized key, or sha2-256 with 32 bytes.

        Raises:
            InvalidPeerId: It is anything else.
        """
        size = len(data) - 2
        if not (
            0 < size <= _MAX_INLINED_KEY
            and data[1] == size
            and (data[0] == _IDENTITY or (data[0] == _SHA2_256 and size == hashlib.sha256().digest_size))
        ):
            raise InvalidPeerId(f"{len(data)} bytes starting {bytes(data[:4]).hex() or '(empty)'} are no peer id multihash")
        self._data = bytes(data)
        self._text = ""

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """Read a peer id's text: base58btc (``12D3Koo…``, ``Qm…``), or a CIDv1 in base16, 32, 36 or 58 (``f``, ``b``, ``k``, ``z``).

        Raises:
            InvalidPeerId: The text is neither.
        """
        # isalnum: the decoders below would pass over whitespace, signs and underscores.
        if not (0 < len(text) <= _MAX_PEER_ID_TEXT and text.isascii() and text.isalnum()):
            raise InvalidPeerId(f"{text[:_MAX_PEER_ID_TEXT]!r} is no peer id: expected text like 12D3Koo… or Qm…")
        try:
            if text.startswith(("1", "Qm")):
                return cls(base58.b58decode(text))
            cid = _decode_multibase(text)
        except ValueError as error:
            raise InvalidPeerId(f"{text!r} is no peer id: {error}") from error
        if not cid.startswith(_CID_PREFIX):
            raise InvalidPeerId(f"{text!r} is no peer id: not a CIDv1 of a libp2p key")
        return cls(cid[len(_CID_PREFIX) :])

    @classmethod
    def from_public_key(cls, key: PublicKey) -> PeerId:
        """The peer id of a public key."""
        serialized = key.to_protobuf()
        if len(serialized) <= _MAX_INLINED_KEY:
            return cls(bytes((_IDENTITY, len(serialized))) + serialized)
        digest = hashlib.sha256(serialized).digest()
        return cls(bytes((_SHA2_256, len(digest))) + digest)

    def to_bytes(self) -> bytes:
        """The multihash, as it goes on the wire."""
        return self._data

    def to_cid(self) -> str:
        """The text form as CIDv1 in base32 (``bafz…``)."""
        return "b" + base64.b32encode(_CID_PREFIX + self._data).decode("ascii").rstrip("=").lower()

    def __bytes__(self) -> bytes:
        return self._data

    def __str__(self) -> str:
        if not self._text:
            self._text = base58.b58encode(self._data).decode("ascii")
        return self._text

    def __repr__(self) -> str:
        return f"<PeerId {self}>"

    def __hash__(self) -> int:
        return hash(self._data)

    def __eq__(self, other: object) -> bool:
        return self._data == other._data if isinstance(other, PeerId) else NotImplemented

    def __lt__(self, other: PeerId) -> bool:
        return self._data < other._data if isinstance(other, PeerId) else NotImplemented


class PublicKey:
    """A peer's public key. Immutable; equal keys have equal serialized forms, whatever form they were read from.

    Attributes:
        type: The type of the key.
    """

    __slots__ = ("_data", "_loaded", "_peer_id", "type")

    def __init__(self, type: KeyType, data: bytes) -> None:  # noqa: A002 - the spec's name
        """Take a key in its type's own encoding.

        Args:
            type: The type of the key.
            data: Ed25519: 32 bytes; RSA and ECDSA: PKIX DER; secp256k1: a point in Bitcoin's encoding, compressed or not.

        Raises:
            InvalidKey: It is no such key, or one of a size or curve we do not accept.
        """
        self._loaded: Ed25519PublicKey | OtherPublicKey | None = None
        if type is KeyType.ED25519:
            if len(data) != _ED25519_SIZE:
                raise InvalidKey(f"an Ed25519 public key has {_ED25519_SIZE} bytes, not {len(data)}")
            self._data = bytes(data)
        else:
            from peerstack import _key_formats

            self._loaded, self._data = _key_formats.load_public(type, data)
        self.type = type
        self._peer_id: PeerId | None = None

    @classmethod
    def from_protobuf(cls, data: bytes) -> PublicKey:
        """Read a key's serialized form (message PublicKey of the spec).

        Raises:
            InvalidKey: The bytes are no key, or one of a type, size or curve we do not accept.
        """
        if len(data) == len(_ED25519_PUBLIC_PREFIX) + _ED25519_SIZE and data[:4] == _ED25519_PUBLIC_PREFIX:
            return cls(KeyType.ED25519, data[4:])
        return cls(*_parse_message("PublicKey", data, _MAX_PUBLIC_KEY))

    def to_protobuf(self) -> bytes:
        """The serialized form: always the canonical one, from which peer ids are made."""
        if self.type is KeyType.ED25519:
            return _ED25519_PUBLIC_PREFIX + self._data
        return _make_message("PublicKey", self.type, self._data)

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `data`. No bytes make it raise."""
        if self._loaded is None:
            self._loaded = Ed25519PublicKey.from_public_bytes(self._data)
        try:
            if isinstance(self._loaded, Ed25519PublicKey):
                self._loaded.verify(signature, data)
            else:
                from peerstack import _key_formats

                _key_formats.verify(self._loaded, data, signature)
        except (InvalidSignature, ValueError):
            return False
        return True

    def peer_id(self) -> PeerId:
        """The id of the peer that owns the key (computed once)."""
        if self._peer_id is None:
            self._peer_id = PeerId.from_public_key(self)
        return self._peer_id

    def __repr__(self) -> str:
        return f"<PublicKey {self.type.name} {self.peer_id()}>"

    def __hash__(self) -> int:
        return hash(self._data)

    def __eq__(self, other: object) -> bool:
        return self.type is other.type and self._data == other._data if isinstance(other, PublicKey) else NotImplemented


class PrivateKey:
    """A key pair: who we are. Immutable; no text form shows the secret.

    Attributes:
        type: The type of the key.
        public_key: The public half.
    """

    __slots__ = ("_key", "public_key", "type")

    def __init__(self, type: KeyType, data: bytes) -> None:  # noqa: A002 - the spec's name
        """Take a key in its type's own encoding.

        Args:
            type: The type of the key.
            data: Ed25519: seed and public key (64 bytes), the public key once more in the old form (96); RSA: PKCS #1 DER; secp256k1:
                32 bytes; ECDSA: ECPrivateKey DER.

        Raises:
            InvalidKey: It is no such key, its halves do not belong together, or its size or curve is one we do not accept.
        """
        self._key: Ed25519PrivateKey | OtherPrivateKey
        if type is KeyType.ED25519:
            self._key = _load_ed25519_pair(data)
            self.public_key = PublicKey(type, self._key.public_key().public_bytes_raw())
        else:
            from peerstack import _key_formats

            self._key = _key_formats.load_private(type, data)
            self.public_key = PublicKey(type, _key_formats.encode_public(type, self._key.public_key()))
        self.type = type

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes] = secrets.token_bytes) -> PrivateKey:
        """Make a new Ed25519 key.

        Args:
            entropy: ``entropy(n)`` gives n secret random bytes.
        """
        return cls.from_seed(entropy(_ED25519_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> PrivateKey:
        """Make the Ed25519 key of a seed (the private key of RFC 8032, section 5.1.5).

        Raises:
            InvalidKey: The seed does not have 32 bytes.
        """
        if len(seed) != _ED25519_SIZE:
            raise InvalidKey(f"an Ed25519 seed has {_ED25519_SIZE} bytes, not {len(seed)}")
        return cls(KeyType.ED25519, seed + Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())

    @classmethod
    def from_protobuf(cls, data: bytes) -> PrivateKey:
        """Read a key's serialized form (message PrivateKey of the spec).

        Raises:
            InvalidKey: The bytes are no key, its halves do not belong together, or its type, size or curve is one we do not accept.
        """
        return cls(*_parse_message("PrivateKey", data, _MAX_PRIVATE_KEY))

    def to_protobuf(self) -> bytes:
        """The serialized form. It is the secret itself: see `peerstack.keyfile` for keeping it."""
        if isinstance(self._key, Ed25519PrivateKey):
            return _ED25519_PRIVATE_PREFIX + self._key.private_bytes_raw() + self._key.public_key().public_bytes_raw()
        from peerstack import _key_formats

        return _make_message("PrivateKey", self.type, _key_formats.encode_private(self.type, self._key))

    def sign(self, data: bytes) -> bytes:
        """Sign `data` as the spec says for the key's type."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(data)
        from peerstack import _key_formats

        return _key_formats.sign(self._key, data)

    @property
    def peer_id(self) -> PeerId:
        """The id of the peer that owns the key."""
        return self.public_key.peer_id()

    def __repr__(self) -> str:
        return f"<PrivateKey {self.type.name} of {self.peer_id}>"


def _load_ed25519_pair(data: bytes) -> Ed25519PrivateKey:
    seed, public, repeated = data[:32], data[32:64], data[64:]
    if len(public) != _ED25519_SIZE or (repeated and repeated != public):
        raise InvalidKey("an Ed25519 private key is its seed and its public key (64 bytes), or that with the same public key again (96)")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if key.public_key().public_bytes_raw() != public:
        raise InvalidKey("the public half of this Ed25519 key does not belong to its private half")
    return key


def _decode_multibase(text: str) -> bytes:
    base, digits = text[0], text[1:]
    if base == "b" and digits == digits.lower():
        return base64.b32decode(digits.upper() + "=" * (-len(digits) % 8))
    if base == "f":
        return binascii.unhexlify(digits)
    if base == "k" and digits == digits.lower():
        number = int(digits, 36)  # a CIDv1 starts with 0x01: no leading zero bytes to lose
        return number.to_bytes((number.bit_length() + 7) // 8, "big")
    if base == "z":
        return base58.b58decode(digits)
    raise ValueError("it starts with neither 1, Qm nor a multibase prefix of a CIDv1")


def _parse_message(name: str, data: bytes, limit: int) -> tuple[KeyType, bytes]:
    if len(data) > limit:
        raise InvalidKey(f"{len(data)} bytes are too many for a {name} (at most {limit})")
    from google.protobuf.message import DecodeError

    from peerstack.pb import keys_pb2

    message = keys_pb2.PublicKey() if name == "PublicKey" else keys_pb2.PrivateKey()
    try:
        message.ParseFromString(bytes(data))
    except DecodeError as error:
        raise InvalidKey(f"these {len(data)} bytes are no {name} message") from error
    # The parser does not insist on proto2's required fields; an unknown type counts as absent too.
    if not (message.HasField("Type") and message.HasField("Data")):
        raise InvalidKey(f"this {name} message lacks its data or a known key type")
    return KeyType(message.Type), message.Data


def _make_message(name: str, key_type: KeyType, data: bytes) -> bytes:
    from peerstack.pb import keys_pb2

    kind = keys_pb2.PublicKey if name == "PublicKey" else keys_pb2.PrivateKey
    return kind(Type=keys_pb2.KeyType.Name(key_type), Data=data).SerializeToString(deterministic=True)
