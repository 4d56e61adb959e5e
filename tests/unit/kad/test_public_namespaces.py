from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from peerstack_kad.pb.ipns_pb2 import IpnsEntry
from peerstack_kad.public_namespaces import IpnsNamespace, PublicKeyNamespace, read_ipns

from peerstack.errors import InvalidRecord
from peerstack.identity import KeyType, PeerId, PrivateKey

VECTORS = Path(__file__).parents[2] / "vectors"
RECORDS = json.loads((VECTORS / "ipns_records.json").read_text())["records"]
KEYS = json.loads((VECTORS / "libp2p_keys.json").read_text())["keys"]
NOW = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000
ALICE = PrivateKey.from_seed(b"alice".ljust(32, b"."))
BOB = PrivateKey.from_seed(b"bob".ljust(32, b"."))
RSA = PrivateKey.from_protobuf(bytes.fromhex(KEYS["RSA"]["private"]))
IPNS, PK = IpnsNamespace(), PublicKeyNamespace()


def key_of(name: PeerId, namespace: str = "ipns") -> bytes:
    return f"/{namespace}/".encode() + name.to_bytes()


def cbor(major: int, data: bytes) -> bytes:
    length = len(data)
    return bytes((major << 5 | length,)) + data if length < 24 else bytes((major << 5 | 24, length)) + data


def number(value: int) -> bytes:
    return bytes((value,)) if value < 24 else b"\x1b" + value.to_bytes(8, "big") if value >= 1 << 32 else b"\x19" + value.to_bytes(2, "big")


def record(
    writer: PrivateKey = ALICE,
    *,
    value: bytes = b"/ipfs/x",
    sequence: int = 1,
    until: bytes = b"2030-01-01T00:00:00.000000001Z",
    validity_type: int = 0,
    pb: dict[str, Any] | None = None,
) -> bytes:
    fields = [
        (b"TTL", number(0)),
        (b"Value", cbor(2, value)),
        (b"Sequence", number(sequence)),
        (b"Validity", cbor(2, until)),
        (b"ValidityType", number(validity_type)),
    ]
    data = bytes((0xA5,)) + b"".join(cbor(3, name) + encoded for name, encoded in fields)
    entry = IpnsEntry(data=data, signatureV2=writer.sign(b"ipns-signature:" + data))
    for name, changed in (pb or {}).items():
        setattr(entry, name, changed)
    return entry.SerializeToString()


@pytest.mark.parametrize("vector", RECORDS, ids=lambda vector: vector["kind"])
def test_the_specifications_records_are_judged_as_it_says(vector: dict[str, Any]) -> None:
    key, value = key_of(PeerId.parse(vector["name"])), bytes.fromhex(vector["record"])
    if not vector["valid"]:
        with pytest.raises(InvalidRecord):
            IPNS.validate(key, value, NOW)
        return
    IPNS.validate(key, value, NOW)
    assert read_ipns(value).value.decode() == vector.get("value", read_ipns(value).value.decode())
    with pytest.raises(InvalidRecord):
        IPNS.validate(key_of(ALICE.peer_id), value, NOW)


def test_a_record_signed_by_the_names_key_is_valid_and_by_another_is_not() -> None:
    IPNS.validate(key_of(ALICE.peer_id), record(), NOW)
    with pytest.raises(InvalidRecord, match="signature"):
        IPNS.validate(key_of(ALICE.peer_id), record(BOB), NOW)
    with pytest.raises(InvalidRecord, match="not the name's"):
        IPNS.validate(key_of(ALICE.peer_id), record(BOB, pb={"pubKey": BOB.public_key.to_protobuf()}), NOW)


def test_a_name_that_is_a_hash_needs_the_key_in_the_record() -> None:
    assert RSA.type is KeyType.RSA
    IPNS.validate(key_of(RSA.peer_id), record(RSA, pb={"pubKey": RSA.public_key.to_protobuf()}), NOW)
    with pytest.raises(InvalidRecord, match="not there"):
        IPNS.validate(key_of(RSA.peer_id), record(RSA), NOW)


def test_a_record_ends_to_the_nanosecond() -> None:
    at = b"2026-01-01T23:59:59.999999999Z"
    for until, valid in (
        (b"2026-01-02T00:00:00Z", True),
        (at, False),
        (b"2026-01-02T02:00:00.5+02:00", True),
        (b"2026-01-02T00:00:00+00:01", False),
    ):
        if valid:
            IPNS.validate(key_of(ALICE.peer_id), record(until=until), NOW)
        else:
            with pytest.raises(InvalidRecord, match="any more"):
                IPNS.validate(key_of(ALICE.peer_id), record(until=until), NOW)
    assert read_ipns(record(until=at)).valid_until_ns == NOW * 1000 - 1


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff",
        bytes(10 * 1024 + 1),
        record(pb={"signatureV2": b""}),
        record(pb={"data": b""}),
        record(pb={"data": b"\xa0"}),
        record(pb={"data": b"\x00"}),
        record(validity_type=1),
        record(until=b"tomorrow"),
        record(until=b"2030-02-30T00:00:00Z"),
        record(until=b"2030-01-01 00:00:00Z"),
        record(pb={"pubKey": b"no key"}),
    ],
)
def test_what_breaks_a_rule_is_invalid(bad: bytes) -> None:
    with pytest.raises(InvalidRecord):
        IPNS.validate(key_of(ALICE.peer_id), bad, NOW)


def test_fields_of_version_1_have_to_be_copies_of_what_is_signed() -> None:
    copies: dict[str, Any] = {
        "value": b"/ipfs/x",
        "signatureV1": b"whatever",
        "validityType": 0,
        "validity": b"2030-01-01T00:00:00.000000001Z",
        "sequence": 1,
        "ttl": 0,
    }
    IPNS.validate(key_of(ALICE.peer_id), record(pb=copies), NOW)
    for name, other in {"value": b"/ipfs/y", "validityType": 1, "validity": b"2031-01-01T00:00:00Z", "sequence": 2, "ttl": 1}.items():
        with pytest.raises(InvalidRecord, match=r"version 1|validity"):
            IPNS.validate(key_of(ALICE.peer_id), record(pb={**copies, name: other}), NOW)


@pytest.mark.parametrize("key", [b"/ipns/", b"/ipns/no peer id", b"/pk/" + ALICE.peer_id.to_bytes(), ALICE.peer_id.to_bytes()])
def test_a_key_is_the_namespace_and_a_peer_ids_bytes(key: bytes) -> None:
    with pytest.raises(InvalidRecord):
        IPNS.validate(key, record(), NOW)


def test_the_highest_sequence_wins_then_the_latest_validity_whatever_the_order() -> None:
    old = record(sequence=1, until=b"2031-01-01T00:00:00Z")
    new = record(sequence=2, until=b"2030-01-01T00:00:00Z")
    newest = record(sequence=2, until=b"2030-01-01T00:00:00.000000001Z")
    for values in permutations([old, new, newest]):
        assert values[IPNS.select(key_of(ALICE.peer_id), values)] == newest
    one, other = record(value=b"/ipfs/1"), record(value=b"/ipfs/2")
    key = key_of(ALICE.peer_id)
    assert [one, other][IPNS.select(key, [one, other])] == [other, one][IPNS.select(key, [other, one])]


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_a_public_key_stands_under_its_own_peer_id(kind: str) -> None:
    serialized = bytes.fromhex(KEYS[kind]["public"])
    own = PeerId.from_public_key(PrivateKey.from_protobuf(bytes.fromhex(KEYS[kind]["private"])).public_key)
    PK.validate(key_of(own, "pk"), serialized, NOW)
    assert PK.select(key_of(own, "pk"), [serialized, serialized]) == 0
    for key, value in (
        (key_of(ALICE.peer_id, "pk"), serialized),
        (key_of(own, "pk"), serialized + b"\x18\x01"),
        (key_of(own, "pk"), b""),
        (b"/pk/x", serialized),
    ):
        with pytest.raises(InvalidRecord):
            PK.validate(key, value, NOW)
