"""RSA, secp256k1 and ECDSA keys: encodings, bounds and signatures of the libp2p peer-id spec.

Apart from `peerstack.identity`, which loads this module when it meets such a key: most peers have Ed25519 keys.

Source: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#how-keys-are-encoded-and-messages-signed
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256K1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from peerstack.errors import InvalidKey
from peerstack.identity import KeyType

__all__ = ["OtherPrivateKey", "OtherPublicKey", "encode_private", "encode_public", "load_private", "load_public", "sign", "verify"]

OtherPublicKey = RSAPublicKey | EllipticCurvePublicKey
OtherPrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_MIN_RSA_DER = 2048 // 8  # a shorter one cannot hold the modulus; asked first, because the parser warns about weak keys
_MAX_RSA_EXPONENT_BITS = 31  # as Go's crypto/rsa: a huge exponent makes each check slow
_ECDSA_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_SECP256K1_SIZE = 32  # bytes of a private key


def load_public(key_type: KeyType, data: bytes) -> tuple[OtherPublicKey, bytes]:
    """Read a public key, and give the canonical encoding of it beside the key.

    Raises:
        InvalidKey: It is no such key, or one of a size or curve we do not accept.
    """
    key: object
    if key_type is KeyType.RSA:
        _check_rsa_length(data)
    try:
        if key_type is KeyType.SECP256K1:
            key = EllipticCurvePublicKey.from_encoded_point(SECP256K1(), bytes(data))
        else:
            key = load_der_public_key(bytes(data))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidKey(f"not a public key of type {key_type.name}: {error}") from error
    if isinstance(key, RSAPublicKey) and key_type is KeyType.RSA:
        _check_rsa(key)
    elif not isinstance(key, EllipticCurvePublicKey) or not _is_curve(key_type, key.curve.name):
        raise InvalidKey(f"not a public key of type {key_type.name} on a curve we accept")
    return key, encode_public(key_type, key)


def load_private(key_type: KeyType, data: bytes) -> OtherPrivateKey:
    """Read a private key.

    Raises:
        InvalidKey: It is no such key, its halves do not belong together, or its size or curve is one we do not accept.
    """
    key: object
    if key_type is KeyType.RSA:
        _check_rsa_length(data)
    if key_type is KeyType.SECP256K1 and len(data) != _SECP256K1_SIZE:
        raise InvalidKey(f"a secp256k1 private key has {_SECP256K1_SIZE} bytes, not {len(data)}")
    try:
        if key_type is KeyType.SECP256K1:
            key = derive_private_key(int.from_bytes(data, "big"), SECP256K1())
        else:
            key = load_der_private_key(bytes(data), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause stays out of it: a traceback is no place for details of a secret.
        raise InvalidKey(f"not a private key of type {key_type.name}") from None
    if isinstance(key, RSAPrivateKey) and key_type is KeyType.RSA:
        _check_rsa(key.public_key())
    elif not isinstance(key, EllipticCurvePrivateKey) or not _is_curve(key_type, key.curve.name):
        raise InvalidKey(f"not a private key of type {key_type.name} on a curve we accept")
    return key


def encode_public(key_type: KeyType, key: OtherPublicKey) -> bytes:
    """A public key in its type's own encoding."""
    if key_type is KeyType.SECP256K1:
        return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def encode_private(key_type: KeyType, key: OtherPrivateKey) -> bytes:
    """A private key in its type's own encoding: the bare number, PKCS #1 (RSA) or ECPrivateKey (ECDSA) DER."""
    if key_type is KeyType.SECP256K1 and isinstance(key, EllipticCurvePrivateKey):
        return key.private_numbers().private_value.to_bytes(_SECP256K1_SIZE, "big")
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def sign(key: OtherPrivateKey, data: bytes) -> bytes:
    """Sign: RSASSA-PKCS1-v1_5, or ECDSA with a DER signature, both over SHA-256."""
    if isinstance(key, RSAPrivateKey):
        return key.sign(data, PKCS1v15(), SHA256())
    return key.sign(data, ECDSA(SHA256()))


def verify(key: OtherPublicKey, data: bytes, signature: bytes) -> None:
    """Check a signature made as by `sign`.

    Raises:
        InvalidSignature: It is not this key's over `data` (``cryptography.exceptions``).
    """
    if isinstance(key, RSAPublicKey):
        key.verify(signature, data, PKCS1v15(), SHA256())
    else:
        key.verify(signature, data, ECDSA(SHA256()))


def _is_curve(key_type: KeyType, name: str) -> bool:
    if key_type is KeyType.SECP256K1:
        return name == SECP256K1.name
    return key_type is KeyType.ECDSA and name in _ECDSA_CURVES


def _check_rsa_length(data: bytes) -> None:
    if len(data) < _MIN_RSA_DER:
        raise InvalidKey(f"an RSA key of {len(data)} bytes has less than {_MIN_RSA_BITS} bits")


def _check_rsa(key: RSAPublicKey) -> None:
    if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        raise InvalidKey(f"an RSA key of {key.key_size} bits is refused: {_MIN_RSA_BITS} to {_MAX_RSA_BITS} are accepted")
    if key.public_numbers().e.bit_length() > _MAX_RSA_EXPONENT_BITS:
        raise InvalidKey("an RSA key with a public exponent over 31 bits is refused")
