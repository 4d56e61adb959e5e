from __future__ import annotations

import pytest

from peerstack.errors import HandshakeFailed
from peerstack.identity import PrivateKey
from peerstack.wire.noise_identity import MAX_MUXERS, NoiseCredentials, VerifiedKeys
from peerstack.wire.pb.noise_pb2 import NoiseHandshakePayload

IDENTITY = PrivateKey.from_seed(bytes(32))
YAMUX = "/yamux/1.0.0"


def credentials(number: int) -> NoiseCredentials:
    return NoiseCredentials(PrivateKey.from_seed(bytes([number]) * 32), bytes([number]) * 32)


def test_the_payload_is_key_signature_and_muxer_in_the_specs_fields() -> None:
    ours = NoiseCredentials(IDENTITY, b"s" * 32)
    signed = bytes.fromhex("6e6f6973652d6c69627032702d7374617469632d6b65793a") + ours.static_keypair.public_bytes
    signature = IDENTITY.sign(signed)
    key = bytes.fromhex("080112203b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29")
    extensions = b"\x12\x0c/yamux/1.0.0"
    assert ours.payload == b"\x0a\x24" + key + b"\x12\x40" + signature + b"\x22\x0e" + extensions


def test_a_host_may_offer_no_muxer() -> None:
    payload = NoiseHandshakePayload.FromString(NoiseCredentials(IDENTITY, b"s" * 32, ()).payload)
    assert list(payload.extensions.stream_muxers) == []


def test_several_early_muxers_are_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="at most one"):
        NoiseCredentials(IDENTITY, b"s" * 32, (YAMUX, "/mplex/6.7.0"))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_static_key_of_another_size_is_our_own_mistake(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        NoiseCredentials(IDENTITY, bytes(size))


def test_a_payload_proves_who_signed_the_static_key() -> None:
    theirs = credentials(1)
    remote = VerifiedKeys().read_payload(theirs.payload, theirs.static_keypair.public_bytes)
    assert remote.public_key == PrivateKey.from_seed(b"\x01" * 32).public_key
    assert remote.muxers == (YAMUX,)


def test_unknown_fields_and_the_old_data_field_are_ignored() -> None:
    theirs = credentials(1)
    payload = theirs.payload + b"\x1a\x03abc" + b"\xfa\x01\x02xy"  # fields 3 and 31
    assert VerifiedKeys().read_payload(payload, theirs.static_keypair.public_bytes).muxers == (YAMUX,)


@pytest.mark.parametrize("count", [1, MAX_MUXERS, MAX_MUXERS + 1])
def test_a_list_of_more_than_100_muxers_is_ignored(count: int) -> None:
    theirs = credentials(1)
    payload = NoiseHandshakePayload.FromString(theirs.payload)
    payload.extensions.stream_muxers.extend(["/m"] * (count - 1))
    muxers = VerifiedKeys().read_payload(payload.SerializeToString(), theirs.static_keypair.public_bytes).muxers
    assert len(muxers) == (count if count <= MAX_MUXERS else 0)


def test_a_muxer_that_is_no_text_is_no_muxer_of_ours() -> None:
    theirs = credentials(1)
    payload = NoiseHandshakePayload.FromString(theirs.payload)
    payload.ClearField("extensions")
    forged = payload.SerializeToString() + b"\x22\x04\x12\x02\xff\xfe"
    try:
        muxers = VerifiedKeys().read_payload(forged, theirs.static_keypair.public_bytes).muxers
    except HandshakeFailed:
        return  # some protobuf runtimes refuse it outright
    assert YAMUX not in muxers


def broken(change: str) -> bytes:
    payload = NoiseHandshakePayload.FromString(credentials(1).payload)
    if change == "another identity":
        payload.identity_key = IDENTITY.public_key.to_protobuf()
    elif change == "no key":
        payload.ClearField("identity_key")
    elif change == "no signature":
        payload.ClearField("identity_sig")
    elif change == "key is garbage":
        payload.identity_key = b"\x08\x01\x12\x03abc"
    elif change == "unsupported key type":
        payload.identity_key = b"\x08\x09\x12\x03abc"
    elif change == "signature cut":
        payload.identity_sig = payload.identity_sig[:-1]
    elif change == "no protobuf":
        return b"\xff\xff\xff"
    elif change == "empty":
        return b""
    return payload.SerializeToString()


CHANGES = [
    "another identity",
    "no key",
    "no signature",
    "key is garbage",
    "unsupported key type",
    "signature cut",
    "no protobuf",
    "empty",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_payload_that_proves_nothing_fails_the_handshake_and_is_not_remembered(change: str) -> None:
    theirs, verified = credentials(1), VerifiedKeys()
    with pytest.raises(HandshakeFailed):
        verified.read_payload(broken(change), theirs.static_keypair.public_bytes)
    assert len(verified) == 0


def test_a_foreign_static_key_fails_even_when_the_payload_was_verified_with_its_own() -> None:
    theirs, verified = credentials(1), VerifiedKeys()
    verified.read_payload(theirs.payload, theirs.static_keypair.public_bytes)
    with pytest.raises(HandshakeFailed, match="did not sign"):
        verified.read_payload(theirs.payload, credentials(2).static_keypair.public_bytes)


def test_a_signature_seen_before_is_not_checked_again() -> None:
    theirs, verified = credentials(1), VerifiedKeys()
    first = verified.read_payload(theirs.payload, theirs.static_keypair.public_bytes)
    second = verified.read_payload(theirs.payload, theirs.static_keypair.public_bytes)
    assert second.public_key is first.public_key  # kept, not parsed and verified anew


def test_the_cache_is_bounded_and_forgets_the_least_recently_seen() -> None:
    verified = VerifiedKeys(capacity=2)
    peers = [credentials(number) for number in range(3)]

    def see(number: int) -> object:
        return verified.read_payload(peers[number].payload, peers[number].static_keypair.public_bytes).public_key

    kept, forgotten = see(0), see(1)
    assert see(0) is kept
    see(2)
    assert len(verified) == 2
    assert see(0) is kept
    assert see(1) is not forgotten


def test_a_cache_without_room_still_verifies() -> None:
    verified, theirs = VerifiedKeys(capacity=0), credentials(1)
    verified.read_payload(theirs.payload, theirs.static_keypair.public_bytes)
    assert len(verified) == 0
