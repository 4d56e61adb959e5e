from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import base58
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from peerstack.errors import InvalidKey, InvalidPeerId
from peerstack.identity import KeyType, PeerId, PrivateKey, PublicKey
from peerstack.pb import keys_pb2

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "libp2p_keys.json").read_text())["keys"]
KINDS = pytest.mark.parametrize("kind", ["ED25519", "RSA", "SECP256K1", "ECDSA"])
ED25519_ID = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
MULTIHASHES = st.one_of(
    st.binary(min_size=1, max_size=42).map(lambda key: bytes((0, len(key))) + key),
    st.binary(min_size=32, max_size=32).map(lambda digest: b"\x12\x20" + digest),
)


def vector(kind: str, half: str) -> bytes:
    return bytes.fromhex(VECTORS[kind][half])


def spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def base36(data: bytes) -> str:
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


# --- peer ids


def test_the_spec_s_two_text_forms_name_the_same_peer() -> None:
    # https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#string-representation
    legacy = PeerId.parse("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
    cid = PeerId.parse("bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe")
    assert legacy == cid
    assert str(cid) == "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
    assert legacy.to_cid() == "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe"


def test_the_all_zero_seed_has_its_published_peer_id() -> None:
    # The perf server of libp2p/test-plans.
    assert str(PrivateKey.from_seed(bytes(32)).peer_id) == "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


@given(MULTIHASHES)
def test_every_text_form_reads_back_as_the_same_peer(data: bytes) -> None:
    peer_id = PeerId(data)
    cid = b"\x01\x72" + data
    texts = [
        str(peer_id),
        peer_id.to_cid(),
        "b" + base64.b32encode(cid).decode().rstrip("=").lower(),
        "f" + cid.hex(),
        "k" + base36(cid),
        "z" + base58.b58encode(cid).decode(),
    ]
    for text in texts:
        assert PeerId.parse(text) == peer_id
    assert bytes(peer_id) == peer_id.to_bytes() == data


@given(MULTIHASHES, MULTIHASHES)
def test_peer_ids_compare_and_hash_as_their_bytes(left: bytes, right: bytes) -> None:
    a, b = PeerId(left), PeerId(right)
    assert (a == b, a < b, a <= b, a > b, a >= b) == (left == right, left < right, left <= right, left > right, left >= right)
    assert len({a, b, PeerId(left)}) == len({left, right})
    assert a != left


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "12D3KooW",
        f" {ED25519_ID}",
        f"{ED25519_ID}\n",
        ED25519_ID[:-1],
        ED25519_ID.replace("o", "0"),
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5NN",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",  # a CID, of dag-pb
        "b",
        "k_1",
        "k",
        "x12",
        "Ä" * 20,
        "1" * 10_000,
    ],
)
def test_text_that_is_no_peer_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidPeerId):
        PeerId.parse(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\x2b" + bytes(43),
        b"\x00\x05" + bytes(4),
        b"\x12\x1f" + bytes(31),
        b"\x12\x20" + bytes(33),
        b"\x13\x20" + bytes(32),
    ],
)
def test_bytes_that_are_no_peer_id_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidPeerId):
        PeerId(data)


@given(st.one_of(st.text(max_size=80), st.text("bfkz1Qm0123456789abcdefghijklmnopqrstuvwxyzABCDEF", max_size=80)))
def test_any_text_is_a_peer_id_or_refused(text: str) -> None:
    try:
        peer_id = PeerId.parse(text)
    except InvalidPeerId:
        return
    assert PeerId.parse(str(peer_id)) == peer_id


@given(st.binary(max_size=60))
def test_any_bytes_are_a_peer_id_or_refused(data: bytes) -> None:
    try:
        assert PeerId(data).to_bytes() == data
    except InvalidPeerId:
        return


# --- keys


@KINDS
def test_the_spec_s_keys_are_read_and_written(kind: str) -> None:
    private = PrivateKey.from_protobuf(vector(kind, "private"))
    public = PublicKey.from_protobuf(vector(kind, "public"))
    assert private.to_protobuf() == vector(kind, "private")
    assert public.to_protobuf() == vector(kind, "public")
    assert private.public_key == public
    assert hash(private.public_key) == hash(public)
    assert private.type is public.type is KeyType[kind]


@KINDS
def test_a_peer_id_is_short_keys_inlined_and_long_keys_hashed(kind: str) -> None:
    text = str(PublicKey.from_protobuf(vector(kind, "public")).peer_id())
    assert text.startswith({"ED25519": "12D3KooW", "SECP256K1": "16Uiu2HA"}.get(kind, "Qm"))
    assert text == str(PrivateKey.from_protobuf(vector(kind, "private")).peer_id)


@KINDS
def test_a_signature_verifies_and_nothing_else_does(kind: str) -> None:
    private = PrivateKey.from_protobuf(vector(kind, "private"))
    public = PublicKey.from_protobuf(vector(kind, "public"))
    signature = private.sign(b"message")
    assert public.verify(b"message", signature)
    assert not public.verify(b"another", signature)
    for wrong in (b"", b"\x00", signature[:-1], signature + b"\x00", bytes(len(signature)), b"\xff" * 10_000):
        assert not public.verify(b"message", wrong)
    assert not PrivateKey.generate().public_key.verify(b"message", signature)


def test_ed25519_signs_as_rfc_8032_says() -> None:
    # RFC 8032, section 7.1, test 2.
    key = PrivateKey.from_seed(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert key.sign(b"\x72") == signature
    assert key.public_key.verify(b"\x72", signature)


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200))
@settings(max_examples=30)
def test_a_generated_key_survives_its_serialized_form(seed: bytes, message: bytes) -> None:
    def entropy(size: int) -> bytes:
        return seed[:size]

    key = PrivateKey.generate(entropy)
    again = PrivateKey.from_protobuf(key.to_protobuf())
    assert again.peer_id == key.peer_id
    assert PublicKey.from_protobuf(key.public_key.to_protobuf()).verify(message, again.sign(message))
    assert seed.hex() not in repr(key) + str(key)
    assert repr(seed) not in repr(key)


def test_generated_keys_differ() -> None:
    assert PrivateKey.generate().peer_id != PrivateKey.generate().peer_id


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidKey):
        PrivateKey.from_seed(bytes(size))


def test_the_old_ed25519_form_is_read_and_written_as_the_new_one() -> None:
    pair = vector("ED25519", "private")[4:]
    old = keys_pb2.PrivateKey(Type=keys_pb2.Ed25519, Data=pair + pair[32:]).SerializeToString()
    assert PrivateKey.from_protobuf(old).to_protobuf() == vector("ED25519", "private")


@pytest.mark.parametrize(
    "damage",
    [
        lambda pair: pair[:32],
        lambda pair: pair[:63],
        lambda pair: pair + b"\x00",
        lambda pair: pair + bytes(32),
        lambda pair: pair + pair[32:] + b"\x00",
        lambda pair: pair[:32] + bytes(32),
        lambda pair: bytes(32) + pair[32:],
    ],
)
def test_an_inconsistent_ed25519_key_is_refused(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidKey):
        PrivateKey(KeyType.ED25519, damage(vector("ED25519", "private")[4:]))


def test_an_ecdsa_key_with_somebody_else_s_public_half_is_refused() -> None:
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with pytest.raises(InvalidKey):
        PrivateKey(KeyType.ECDSA, vector("ECDSA", "private")[4:-65] + stranger)


@KINDS
def test_other_serializations_of_a_key_are_the_same_peer(kind: str) -> None:
    canonical = vector(kind, "public")
    fields = canonical[:2], canonical[2:]
    expected = PublicKey.from_protobuf(canonical)
    for other in (fields[1] + fields[0], canonical + b"\x18\x01", b"\x08\x80" + b"\x00" + canonical):
        key = PublicKey.from_protobuf(other)
        assert key == expected
        assert key.to_protobuf() == canonical
        assert key.peer_id() == expected.peer_id()


def test_other_encodings_of_a_point_are_the_same_peer() -> None:
    compressed = vector("SECP256K1", "public")[4:]
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), compressed)
    assert PublicKey(KeyType.SECP256K1, point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)) == PublicKey(
        KeyType.SECP256K1, compressed
    )


def test_rsa_keys_of_unreasonable_size_are_refused() -> None:
    small = rsa.generate_private_key(65537, 1024)
    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    slow = rsa.RSAPublicNumbers(2**31 + 1, modulus).public_key()
    huge = rsa.RSAPublicNumbers(65537, 2**8192 + 1).public_key()
    for key in (small.public_key(), slow, huge):
        with pytest.raises(InvalidKey):
            PublicKey(KeyType.RSA, spki(key))
    with pytest.raises(InvalidKey):
        PrivateKey(KeyType.RSA, small.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()))


def test_a_key_of_another_type_or_curve_than_it_says_is_refused() -> None:
    ecdsa = vector("ECDSA", "public")[4:]
    rsa_der = vector("RSA", "public")[5:]
    bitcoin = spki(ec.generate_private_key(ec.SECP256K1()).public_key())
    small = spki(ec.generate_private_key(ec.SECP224R1()).public_key())
    for key_type, data in (
        (KeyType.RSA, ecdsa),
        (KeyType.ECDSA, rsa_der),
        (KeyType.ECDSA, bitcoin),
        (KeyType.ECDSA, small),
        (KeyType.SECP256K1, ecdsa),
        (KeyType.SECP256K1, bytes(33)),
        (KeyType.ED25519, bytes(33)),
    ):
        with pytest.raises(InvalidKey):
            PublicKey(key_type, data)


@pytest.mark.parametrize("data", [b"", b"\x08\x01", vector("ED25519", "public")[2:], b"\x08\x04" + vector("ED25519", "public")[2:]])
def test_a_message_without_type_or_data_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidKey):
        PublicKey.from_protobuf(data)
    with pytest.raises(InvalidKey):
        PrivateKey.from_protobuf(data)


def test_a_message_over_the_bound_is_refused() -> None:
    padding = b"\x1a\xff\xff\x03" + bytes(65535)
    with pytest.raises(InvalidKey, match="too many"):
        PublicKey.from_protobuf(vector("ED25519", "public") + padding)
    with pytest.raises(InvalidKey, match="too many"):
        PrivateKey.from_protobuf(vector("ED25519", "private") + padding)


@given(st.sampled_from(list(KeyType)), st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes_are_a_key_or_refused(key_type: KeyType, data: bytes) -> None:
    reads: list[Callable[[], PublicKey | PrivateKey]] = [
        lambda: PublicKey(key_type, data),
        lambda: PrivateKey(key_type, data),
        lambda: PublicKey.from_protobuf(data),
        lambda: PrivateKey.from_protobuf(data),
    ]
    for read in reads:
        try:
            key = read()
        except InvalidKey:
            continue
        assert type(key).from_protobuf(key.to_protobuf()).to_protobuf() == key.to_protobuf()


@KINDS
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_damaged_key_is_another_key_or_refused(kind: str, data: st.DataObject) -> None:
    for half, reader in (("public", PublicKey.from_protobuf), ("private", PrivateKey.from_protobuf)):
        original = vector(kind, half)
        at = data.draw(st.integers(0, len(original) - 1))
        damaged = original[:at] + bytes((original[at] ^ data.draw(st.integers(1, 255)),)) + original[at + 1 :]
        try:
            key = reader(damaged[: data.draw(st.integers(0, len(original)))] if data.draw(st.booleans()) else damaged)
        except InvalidKey:
            continue
        public = key if isinstance(key, PublicKey) else key.public_key
        assert not public.verify(b"message", bytes(64))
